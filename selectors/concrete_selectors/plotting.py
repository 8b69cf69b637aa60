"""Plot of a selection path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from concrete_selectors.selection_path import SelectionPath


def plot_path(path: SelectionPath, *, names: Sequence[str] | None = None, first: int = 10, ax: Any = None) -> Any:
    """Plot the held-out loss of the surrogate over the number of features kept.

    Args:
        path: result of ``fit_path``.
        names: (N,) names of the features, in the order in which the model embeds them; None = their numbers.
        first: number of best features to list.
        ax: matplotlib axes to draw on; None = new ones.

    Returns:
        The axes.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: the path contains no losses, because no feature was eliminated.
    """
    if not path.heldout_loss:
        raise ValueError("path: contains no losses, because no feature was eliminated; lower k_min or raise k_max")
    if ax is None:
        from matplotlib import pyplot

        ax = pyplot.subplots(figsize=(7, 4), layout="constrained")[1]
    sizes = sorted(path.heldout_loss)
    ax.plot(sizes, [path.heldout_loss[k] for k in sizes], marker="o", color="#1f5fa8")
    ax.set(xscale="log", xlabel="features kept (K)", ylabel="held-out loss of the surrogate")
    ax.set_xticks(sizes, [str(k) for k in sizes])
    ax.minorticks_off()
    best = [str(index) if names is None else str(names[index]) for index in path.ranking[:first].tolist()]
    ax.text(0.98, 0.96, "\n".join(["best first:", *best]), transform=ax.transAxes, ha="right", va="top", fontsize=8)
    return ax

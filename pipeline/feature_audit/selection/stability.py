"""Agreement of several selectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def selection_frequency(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of the selectors that keep each feature; masks (M, N) to (N,)."""
    return masks.mean(axis=0)


def nogueira_index(masks: NDArray[np.bool_]) -> float | None:
    """Stability of M selections: 1 = always the same set, 0 = no better than chance.

    Nogueira, Sechidis, Brown (2018), "On the Stability of Feature Selection Algorithms", JMLR 18, equation 4:
    ``1 - mean_f s_f^2 / (kbar/N (1 - kbar/N))`` with the unbiased variance ``s_f^2 = M/(M-1) p_f (1 - p_f)``.

    Args:
        masks: bool (M, N).

    Returns:
        The index, or None if it is undefined: fewer than two selections, or all features kept (or none).
    """
    n_selections = len(masks)
    kept = float(masks.mean())
    if n_selections < 2 or kept in (0.0, 1.0):
        return None
    frequency = masks.mean(axis=0)
    variance = n_selections / (n_selections - 1) * frequency * (1 - frequency)
    return float(1 - variance.mean() / (kept * (1 - kept)))

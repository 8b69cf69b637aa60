"""Run any selector by name; the result is always a ``SelectionPath``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from concrete_selectors.baselines import networks, tables
from concrete_selectors.context import Progress, SelectionContext
from concrete_selectors.fit_path import fit_path
from concrete_selectors.selection_path import SelectionPath
from concrete_selectors.settings import PathSettings
from concrete_selectors.task import SelectionTask

#: Rankers that use only the table; they require ``matrix``.
TABLE_RANKERS: dict[str, Callable[[tables.TableTask], np.ndarray]] = {
    "random": tables.random_scores,
    "mutual_information": tables.mutual_information,
    "f_test": tables.f_test,
    "lightgbm_gain": tables.lightgbm_gain,
    "lassonet": tables.lassonet,
}
#: Rankers that use the trained network.
NETWORK_RANKERS: dict[str, Callable[[SelectionContext], np.ndarray]] = {
    "permutation": networks.permutation,
    "gradient": networks.gradient,
    "l1_gates": networks.l1_gates,
    "stg": networks.stg,
    "sequential_attention": networks.sequential_attention,
}
#: Every name that ``rank_with`` accepts.
SELECTORS: tuple[str, ...] = ("ip_cae", "cae", *NETWORK_RANKERS, *TABLE_RANKERS)

#: Rankers that ignore row weights, although their ranking would depend on them.
UNWEIGHTED: tuple[str, ...] = tuple(name for name in TABLE_RANKERS if name != "random")


def rank_with(
    name: str,
    task: SelectionTask,
    settings: PathSettings,
    *,
    matrix: Callable[[], Sequence[Any]] | None = None,
    progress: Progress | None = None,
) -> SelectionPath:
    """Rank the features of a task with any selector.

    Args:
        name: one of ``SELECTORS``.
        task: model, rows and constraints; only ``ip_cae`` and ``cae`` read its prior.
        settings: as in ``concrete_selectors.fit_path``; ``name`` overrides ``selector``.
        matrix: returns a ``concrete_selectors.baselines.Matrix``, or just X (rows, N) and y (rows,) of train rows;
            called only for rankers of the table.
        progress: as in ``concrete_selectors.fit_path``.

    Raises:
        ValueError: the name is unknown, or an argument does not fit the model.
        ImportError: the ranker's library is not installed; the message names the extra to install.
    """
    if name not in SELECTORS:
        raise ValueError(f"selector={name}: unknown selector; choose {', '.join(SELECTORS)}")
    if name in ("ip_cae", "cae"):
        return fit_path(task, replace(settings, selector=cast(Any, name)), progress=progress)
    context = SelectionContext(task, settings, progress)
    groups = context.groups
    scores = NETWORK_RANKERS[name](context) if name in NETWORK_RANKERS else _table_scores(context, name, matrix)
    scores = np.where(groups.excluded, -np.inf, scores)
    order = groups.ranked(scores)
    return SelectionPath(
        ranking=groups.features(order),
        scores=scores[groups.of_feature],
        heldout_loss={},
        row_passes=context.row_passes,
        _groups=groups,
        _order=order,
    )


def _table_scores(context: SelectionContext, name: str, matrix: Callable[[], Sequence[Any]] | None) -> np.ndarray:
    """Scores per group from a ranker of the table."""
    if matrix is None:
        raise ValueError(f"selector={name}: this selector ranks the columns of a table; give matrix")
    task, groups = tables.table_task(*matrix(), seed=context.settings.seed), context.groups
    given = int(task.feature.max()) + 1
    if given != groups.n_features:
        raise ValueError(f"matrix: X covers {given} features, but the model embeds {groups.n_features}; give the same")
    try:
        return tables.group_scores(TABLE_RANKERS[name], task, groups.of_feature)
    except ImportError as error:
        raise ImportError(
            f"selector={name}: {error.name} is not installed; pip install mlflow-feature-audit[peers]"
        ) from None

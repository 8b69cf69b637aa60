"""One call for every selector by name, with the same result: a :class:`SelectionPath`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from torch import Tensor

from concrete_selectors.baselines import networks, tables
from concrete_selectors.context import Diagnosis, Run
from concrete_selectors.elimination.backward import stages
from concrete_selectors.fit_path import learn_path
from concrete_selectors.protocols import Batches, EmbeddingModel, Loss, TeacherProtocol
from concrete_selectors.selection_path import SelectionPath
from concrete_selectors.settings import PathSettings

#: Rankers of the table alone; they need ``matrix``.
TABLE_RANKERS: dict[str, Callable[[tables.TableTask], np.ndarray]] = {
    "random": tables.random_scores,
    "mutual_information": tables.mutual_information,
    "f_test": tables.f_test,
    "lightgbm_gain": tables.lightgbm_gain,
    "lassonet": tables.lassonet,
}
#: Rankers of the trained network.
NETWORK_RANKERS: dict[str, Callable[[Run], np.ndarray]] = {
    "permutation": networks.permutation,
    "gradient": networks.gradient,
    "surgeon": networks.surgeon,
    "l1_gates": networks.l1_gates,
    "stg": networks.stg,
    "sequential_attention": networks.sequential_attention,
}
#: Every name that :func:`rank_with` knows.
SELECTORS: tuple[str, ...] = ("ip_cae", "cae", *NETWORK_RANKERS, *TABLE_RANKERS)


def rank_with(
    name: str,
    model: EmbeddingModel,
    train: Batches,
    validation: Batches,
    *,
    loss: Loss,
    steps_per_epoch: int,
    settings: PathSettings,
    matrix: Callable[[], Sequence[Any]],
    protected: Sequence[int] = (),
    groups: Sequence[int] | None = None,
    prior: Tensor | None = None,
    progress: Callable[[dict[str, Any]], None] | None = None,
    should_stop: Callable[[int, float], bool] | None = None,
    expect: TeacherProtocol | None = None,
) -> SelectionPath:
    """Ranks with any selector; peers get the same brief fine-tuning for all K as the concrete path.

    Args:
        name: one of ``SELECTORS``.
        matrix: gives a :class:`concrete_selectors.baselines.Matrix`, or just X (rows, N) and y (rows,) of train rows;
            called only for rankers of the table.
        model, train, validation, loss, steps_per_epoch, settings, protected, groups, progress, should_stop, expect:
            as in :func:`concrete_selectors.learn_path`; of the settings, ``selector`` is overruled by ``name``.
        prior: only ``ip_cae`` and ``cae`` take one.

    Raises:
        ValueError: unknown name, or an argument does not fit.
        ImportError: the ranker's library is not installed; the text names the extra to install.
        SelectionStopped: ``should_stop`` returned True.
    """
    if name not in SELECTORS:
        raise ValueError(f"selector={name}: no such selector; choose {', '.join(SELECTORS)}")
    common: dict[str, Any] = {
        "loss": loss,
        "steps_per_epoch": steps_per_epoch,
        "protected": protected,
        "groups": groups,
        "progress": progress,
        "should_stop": should_stop,
        "expect": expect,
    }
    if name in ("ip_cae", "cae"):
        settings = replace(settings, selector=cast(Any, name))
        return learn_path(model, train, validation, settings=settings, prior=prior, **common)
    run = Run(model, train, validation, settings=settings, **common)
    scores = NETWORK_RANKERS[name](run) if name in NETWORK_RANKERS else _table_scores(run, name, matrix)
    order = np.lexsort((np.arange(len(scores)), -scores, ~run.units.protected))
    run.fit_nested(order, steps=run.finetuning_steps)
    run.ask_to_stop(2, order[: run.k_max])
    first = np.array([run.units.features([unit])[0] for unit in range(run.units.n_units)], dtype=np.int64)
    return run.path(order, Diagnosis(scores, first), grid=[run.k_max, *stages(run.k_max, run.k_min)])


def _table_scores(run: Run, name: str, matrix: Callable[[], Sequence[Any]]) -> np.ndarray:
    """Scores per unit from a ranker of the table."""
    task = tables.table_task(*matrix(), seed=run.settings.seed)
    given = int(task.feature.max()) + 1
    if given != run.units.n_features:
        raise ValueError(f"matrix: X has columns of {given} features, the model embeds {run.units.n_features}")
    try:
        return tables.feature_scores(TABLE_RANKERS[name], task, run.units.of_feature)
    except ImportError as error:
        raise ImportError(
            f"selector={name}: {error.name} is not installed; pip install mlflow-feature-audit[peers]"
        ) from None

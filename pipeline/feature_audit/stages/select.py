"""select: rank the features in several trials, choose K on validation, and keep what was found."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from concrete_selectors import PathSettings

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store
from feature_audit.fitting.cache import StageFolder
from feature_audit.fitting.progress import SelectionProgress
from feature_audit.fitting.trained import active, load_model, open_store
from feature_audit.fitting.trainings import Trainings
from feature_audit.models.training import Pace, batch_rows
from feature_audit.results import CurvePoint
from feature_audit.selection import (
    Constraints,
    Criterion,
    FullModel,
    SearchSpace,
    Selection,
    SelectionPlan,
    TrialRow,
    build_constraints,
    select_features,
)
from feature_audit.stages.baseline import Baseline
from feature_audit.stages.load import locate

KEYS = (
    "k", "k_min", "margin", "confidence", "trials", "selector", "selection", "never_drop", "always_drop", "groups",
    "whole_groups", "seed", "metric", "cost", "training",
)  # fmt: skip
#: Confirmations train with seeds of their own: the retrain stage's seeds stay unseen.
CONFIRMATION_SEED = 90_000


def constraints_of(config: AuditConfig, prepared: Prepared) -> Constraints:
    """What the configuration lets a selection keep of the usable features.

    Raises:
        AuditError: it cannot be met; see ``selection.build_constraints``.
    """
    return build_constraints(
        prepared.schema.names,
        prepared.columns,
        k=config.k,
        k_min=config.k_min,
        most_candidates=config.selection.max_candidates,
        whole_groups=config.whole_groups,
        table_costs=prepared.table_costs,
    )


def plan_of(config: AuditConfig, store: Store, constraints: Constraints) -> SelectionPlan:
    """How the selection goes about it."""
    assert config.metric is not None  # the audit resolves metric and task before the first training
    chosen, rows = config.selection, store.rows("train")
    # A selector needs a number of steps, however few the rows: batches as large as the full model's would pass over a
    # small table more often for that than `selection.epochs` says, and cost as much as its full training.
    batch_size = min(
        Pace.of(rows, config.training, store.schema).batch_size,
        batch_rows(rows * chosen.epochs, PathSettings.fewest_steps),
    )
    most_slots = min(4 * constraints.max_k, constraints.n_selectable)
    return SelectionPlan(
        selector=config.selector,
        trials=config.trials,
        space=SearchSpace(
            # Two to four slots for each feature of the largest K, so that the elimination has a choice at every K: with
            # 1.2 of them, test quality over K is .008 lower on the demo than with 4.8 (docs/results/selection.md).
            slots=(min(2 * constraints.max_k, most_slots), most_slots),
            temperature_start=chosen.temperature_start,
            temperature_end=chosen.temperature_end,
            anneal_share=chosen.anneal_share,
        ),
        criterion=Criterion(
            metric=config.metric,
            margin=config.absolute_margin,
            confidence=config.confidence,
            test_ratio=math.sqrt(store.effective_rows("validation") / max(store.effective_rows("test"), 1)),
        ),
        seed=config.seed,
        batch_size=batch_size,
        epochs=chosen.epochs,
        learning_rate=config.training.learning_rate,
    )


def select(
    config: AuditConfig,
    prepared: Prepared,
    full: Baseline,
    constraints: Constraints,
    folder: StageFolder,
    on_trial: Callable[[TrialRow], None] | None = None,
) -> Selection:
    """Run the selection, or open what was found before; a killed one goes on where it stopped."""
    if folder.done:
        return _restore(folder)
    store = open_store(config, prepared)
    plan = plan_of(config, store, constraints)
    trainings = Trainings(locate(config), prepared, folder, full.rate)
    model = FullModel(
        load_model(config, full.gated),
        full.gated.validation_scores(),
        active(config, full.schema),
        full.validation_scores(),
    )
    names = np.asarray(prepared.schema.names)
    with SelectionProgress(plan.trials if plan.searches else 1) as progress:

        def retrain(kept: np.ndarray, number: int) -> tuple[np.ndarray, float]:
            schema = prepared.schema.keep(names[kept])
            seed = CONFIRMATION_SEED + config.seed + number
            watch = progress.confirming(len(kept))
            name, label = f"confirmation_{number}", f"select: K = {len(kept)}"
            facts = trainings.fit(schema, name, seed=seed, label=label, progress=watch)
            return trainings.validation_scores(name), facts.compute

        selection = select_features(
            model,
            store,
            constraints,
            plan,
            retrain=retrain,
            journal=folder.path / "study.journal",
            workers=config.workers,
            progress=progress,
            on_trial=on_trial,
        )
    _keep(folder, selection)
    return selection


def _keep(folder: StageFolder, selection: Selection) -> None:
    arrays: dict[str, Any] = {"order": selection.order, "orders": selection.orders, "scores": selection.scores}
    np.savez(folder.path / "selection.npz", **arrays)
    content = {**asdict(selection), **dict.fromkeys(arrays)}
    for row in content["trials"]:
        row["notes"] = {"compute": row["notes"].get("compute", 0.0)}
    folder.finish(content)


def _restore(folder: StageFolder) -> Selection:
    content = folder.result()
    arrays = np.load(folder.path / "selection.npz")
    lists = {
        "curve": [CurvePoint(**point) for point in content["curve"]],
        "trials": [TrialRow(**row) for row in content["trials"]],
    }
    content["rungs"] = tuple(content["rungs"])
    return Selection(**{**content, **lists, **{name: arrays[name] for name in arrays.files}})

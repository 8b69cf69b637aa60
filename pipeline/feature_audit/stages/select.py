"""select: rank the features in several trials, choose K on validation, and store the result."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from concrete_selectors import PathSettings

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store, pick_rows, share_of_rows, write_sample
from feature_audit.engine import Engine, LocalEngine
from feature_audit.fitting.cache import StageFolder
from feature_audit.fitting.progress import SelectionProgress
from feature_audit.fitting.trained import open_store
from feature_audit.fitting.trainings import Trainings, Wanted
from feature_audit.models.training import Pace, batch_rows
from feature_audit.results import CurvePoint
from feature_audit.selection import (
    Constraints,
    Criterion,
    Draw,
    SearchSpace,
    Selection,
    SelectionPlan,
    TrialResult,
    TrialRow,
    build_constraints,
    select_features,
)
from feature_audit.stages.baseline import Baseline
from feature_audit.stages.load import locate
from feature_audit.stages.trials import TRAIN_SCORES, Trials, adopt_trials

log = logging.getLogger(__name__)

KEYS = (
    "k", "k_min", "margin", "confidence", "trials", "selector", "selection", "never_drop", "always_drop", "groups",
    "whole_groups", "seed", "metric", "cost", "training", "targets", "rows",
)  # fmt: skip
#: Confirmations use separate seeds: the retrain stage's seeds remain unused until then.
CONFIRMATION_SEED = 90_000


def constraints_of(config: AuditConfig, prepared: Prepared) -> Constraints:
    """The configuration's constraints on the selection of the usable features.

    Raises:
        AuditError: they cannot be met; see ``selection.build_constraints``.
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


def selected_share(config: AuditConfig, store: Store) -> float:
    """Share of the train and validation rows that the selection reads."""
    return share_of_rows(config.rows, store.rows("train") + store.rows("validation"))


def plan_of(config: AuditConfig, store: Store, constraints: Constraints) -> SelectionPlan:
    """The selection's plan; ``store`` contains all rows."""
    assert config.metric is not None  # the audit resolves metric and task before the first training
    chosen, rows = config.selection, math.ceil(store.rows("train") * selected_share(config, store))
    # A selector needs a minimum number of steps, however few the rows. With batches as large as the full model's, that
    # would take more epochs of a small table than `selection.epochs`, and cost as much as its full training.
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
        further={
            name: (str(rule.metric), config.absolute_target_margin(name))
            for name, rule in config.further.items()
            if rule.mode == "not_worse"
        },
    )


def select(
    config: AuditConfig,
    prepared: Prepared,
    full: Baseline,
    constraints: Constraints,
    folder: StageFolder,
    on_trial: Callable[[TrialRow], None] | None = None,
    engine: Engine | None = None,
) -> Selection:
    """Run the selection, or load an earlier result; a killed selection continues where it stopped.

    ``on_trial`` is called for every trial as soon as it finishes. Trials that ``engine`` runs in parallel may finish in
    any order; the selection is the same.
    """
    if folder.done:
        return _restore(folder)
    engine = engine or LocalEngine()
    store = open_store(config, prepared)
    sample = selection_store(config, store, folder)
    plan = plan_of(config, store, constraints)
    adopt_trials(folder)
    trainings = Trainings(locate(config), prepared, folder, full.rate, engine)
    trials = Trials.of(
        config, prepared, full.gated, constraints, plan, folder.path, None if sample is store else sample
    )
    names = np.asarray(prepared.schema.names)
    with SelectionProgress(plan.trials if plan.searches else 1) as progress:

        def on_result(draw: Draw, result: TrialResult, before: bool) -> None:
            if before:
                progress.trial_found()
                return
            progress.trial_done()
            if on_trial is not None and result.value is not None:
                on_trial(TrialRow.of(draw, result))

        def retrain(kept: Sequence[np.ndarray], first: int) -> list[tuple[np.ndarray, float]]:
            wanted = [
                Wanted(
                    prepared.schema.keep(names[one]),
                    f"confirmation_{number}",
                    CONFIRMATION_SEED + config.seed + number,
                    f"select: K = {len(one)}",
                    progress.confirming(len(one)),
                )
                for number, one in enumerate(kept, first)
            ]
            facts = trainings.fit_all(wanted)
            return [
                (trainings.validation_scores(one.name), found.compute) for one, found in zip(wanted, facts, strict=True)
            ]

        selection = select_features(
            replace(trials.model(), compared_with=full.validation_scores()),
            sample,
            constraints,
            plan,
            retrain=retrain,
            judged=store,
            run_round=lambda draws: trials.run(draws, engine, on_result, progress.trial_step),
            progress=progress.trial_step,
        )
    (folder.path / TRAIN_SCORES).unlink()
    if sample is not store:
        sentence = sample_sentence(config, *(_selectable(one) for one in (sample, store)))
        selection = replace(selection, reason=f"{selection.reason}; {sentence}")
        shutil.rmtree(sample.directory)
    _keep(folder, selection)
    return selection


def foresee(config: AuditConfig, store: Store) -> None:
    """Refuse, before the full model is trained, a configuration with which the selection would fail.

    Raises:
        AuditError: the sample is too small for a selection.
    """
    share = selected_share(config, store)
    if share < 1:
        pick_rows(store, share=share, seed=config.seed)


def selection_store(config: AuditConfig, store: Store, folder: StageFolder) -> Store:
    """The rows for the selection: a temporary sample in the stage's folder, or the store itself."""
    share = selected_share(config, store)
    if share < 1:
        directory = folder.path / "sample"
        if not (directory / "layout.json").is_file():
            write_sample(store, directory, pick_rows(store, share=share, seed=config.seed))
        sample = Store.open(directory, device=store.device)
        log.info("select: %s", sample_sentence(config, _selectable(sample), _selectable(store)))
        return sample
    if config.rows is not None:
        there = f"{_selectable(store):,}"
        log.info("select: rows=%s has no effect: train and validation have only %s rows", config.rows, there)
    return store


def sample_sentence(config: AuditConfig, rows: int, of: int) -> str:
    """The number of rows used by the selection, without a full stop."""
    unit = f"sampled by {config.group}" if config.group else "rows sampled"
    return f"selected on {rows:,} of {of:,} train and validation rows ({unit})"


def _selectable(store: Store) -> int:
    return store.rows("train") + store.rows("validation")


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

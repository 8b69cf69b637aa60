"""Checks an external training job against its contract, with few rows and two features, before it is used."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store
from feature_audit.errors import AuditError
from feature_audit.fitting.own_training import JobResult, run_job
from feature_audit.importing import what_failed
from feature_audit.models import ModelFinding
from feature_audit.schema import SplitName
from feature_audit.stages.load import locate

#: Number of rows of each split given to the job, and the minimum number of rows per class.
_ROWS: dict[SplitName, int] = {"train": 256, "validation": 64, "test": 64}
_OF_EACH_CLASS = 8


def findings(config: AuditConfig, prepared: Prepared) -> list[ModelFinding]:
    """The job's task, and its results with two seeds."""
    schema = prepared.schema.keep(prepared.schema.names[:2])
    store = Store.open(prepared.directory)
    only = {split: _some(store, split, most) for split, most in _ROWS.items()}
    shown = ", ".join(f"{len(rows)} {split}" for split, rows in only.items())
    found = [ModelFinding("task", True, f"features {', '.join(schema.names)}; rows: {shown}; two seeds")]
    results: list[JobResult] = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in (config.seed, config.seed + 1):
            place = Path(folder) / f"seed_{seed}"
            try:
                results.append(run_job(locate(config), prepared, schema, place, seed=seed, only=only))
            except AuditError as error:
                return [*found, ModelFinding("scores", False, str(error))]
            except (Exception, SystemExit) as error:  # raised by the user's code
                return [*found, ModelFinding("scores", False, what_failed(error))]
    return [*found, *_judged(results)]


def _judged(results: Sequence[JobResult]) -> list[ModelFinding]:
    first, second = (np.concatenate([result.scores["validation"], result.scores["test"]]) for result in results)
    same = np.array_equal(first, second)
    return [
        ModelFinding("scores", True, f"{len(first)} scores from {first.min():.4g} to {first.max():.4g}"),
        ModelFinding(
            "seed",
            True,
            "two seeds give the same scores: either the training is deterministic, or it ignores task.seed"
            if same
            else "two seeds give different scores",
        ),
        ModelFinding(
            "model",
            True,
            "no model in the folder `model` of the output: a pass registers only the list of kept columns"
            if results[0].model is None
            else "an MLflow model, which is registered on a pass",
        ),
    ]


def _some(store: Store, split: SplitName, most: int) -> np.ndarray:
    """Positions of rows spread over a split, with some of each class."""
    rows = store.rows(split)
    places = {int(place) for place in np.linspace(0, rows - 1, min(most, rows))}
    if store.schema.task != "regression":
        target = store.target(split)
        for label in np.unique(target):
            places.update(np.flatnonzero(target == label)[:_OF_EACH_CLASS].tolist())
    return np.array(sorted(places))

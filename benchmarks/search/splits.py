"""Tables split anew: one split is one draw, and a search that is ahead on one may be behind on the next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from case import CONFIGS, ROOT, Case
from feature_audit.config import load_config
from feature_audit.models import predict
from feature_audit.parity import metric, paired_delta
from feature_audit.stages.baseline import train_one
from feature_audit.stages.select import search_space
from feature_audit.stages.trial import Trials

#: What is drawn anew; the budget is at most so many features.
TABLES: dict[str, dict[str, Any]] = {
    "santander": {"k": 100, "split": "random"},
    "ml-100k": {"k": 100, "split": "group"},
    "criteo": {"k": 35, "split": "random"},
    "demo": {"k": 100, "split": "random"},
}
#: Validation rows: those that judge removals, those that do not, and both.
ROWS = {"judged": slice(0, None, 2), "other": slice(1, None, 2), "all": slice(None)}

Row = dict[str, Any]


def split_anew(name: str, seed: int, work_dir: Path) -> Case:
    """A table under another split, with its full model trained."""
    given = {**TABLES[name], "seed": seed, "work_dir": str(work_dir), "threads": 1}
    return Case(name, load_config(str(ROOT / CONFIGS.get(name, f"conf/{name}.yaml")), given))


def ranking(case: Case, trial: int) -> list[int]:
    """Fields, best first, as a trial of the search with the default settings finds them."""
    folder = case.select_folder.path
    trials = Trials(case.config, case.prepared, case.full, case.low, case.high, folder, None)
    trials(trial, {**search_space(case.config, case.low, case.high).defaults(), "draw": trial}, lambda *_: False)
    return list(json.loads((folder / f"trial_{trial}.json").read_text(encoding="utf-8"))["order"])


def retrained(case: Case, fields: list[int], *, seed: int) -> Row:
    """The model trained on some fields: its difference from the full model and the standard error, on each part."""
    schema = case.schema.keep(case.names(fields))
    model, validation, _ = train_one(case.config, case.store, schema, seed=seed, label=f"{case.name}, {len(fields)}")
    full = case.full.validation_scores()
    row = {part: _delta(case, "validation", full, validation, rows) for part, rows in ROWS.items()}
    scores = [
        predict(network, case.store, "test", read, task=case.schema.task, device=case.config.device)
        for network, read in ((case.full_model(), case.schema), (model, schema))
    ]
    return {**row, "test": _delta(case, "test", *scores, slice(None))}


def _delta(case: Case, split: Any, full: np.ndarray, pruned: np.ndarray, rows: slice) -> tuple[float, float]:
    unit = case.store.group(split)
    return paired_delta(
        metric(str(case.config.metric), case.schema.task), y=case.store.target(split)[rows], baseline=full[rows],
        pruned=pruned[rows], unit=None if unit is None else unit[rows],
    )  # fmt: skip

"""Tables split anew: one split is one draw, and a search that is ahead on one may be behind on the next."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from case import CONFIGS, ROOT, Case
from feature_audit.config_files import load_config
from feature_audit.fitting.process import tune_process
from feature_audit.fitting.trained import train_one
from feature_audit.models import predict
from feature_audit.parity import metric, paired_delta
from feature_audit.stages.select import search_space
from feature_audit.stages.trial import Trials

#: What is drawn anew; the budget is at most so many features.
TABLES: dict[str, dict[str, Any]] = {
    "santander": {"k": 100, "split": "random"},
    "ml-100k": {"k": 100, "split": "group"},
    "criteo": {"k": 35, "split": "random"},
    "demo": {"k": 100, "split": "random"},
    # About 1,200 train and 300 validation rows of them: small tables with test rows enough to see what was chosen.
    "criteo-1k": {"k": 35, "split": "random", "test_share": 0.85, "validation_share": 0.2},
    "demo-1k": {"k": 100, "split": "random", "test_share": 0.88, "validation_share": 0.2},
}
#: Validation rows: those that judge removals, those that do not, and both.
ROWS = {"judged": slice(0, None, 2), "other": slice(1, None, 2), "all": slice(None)}

#: Trials of the search on each split, and retrainings of what each chose.
TRIALS = REPEATS = 2
#: Seeds that no other training of the benchmark has.
_SEED = 90_000

Row = dict[str, Any]


def ask(description: str, arguments: list[str] | None, *, rivals: tuple[str, ...] = ()) -> argparse.Namespace:
    """``data``, ``splits``, ``work_dir`` and, of several, ``rivals`` as a user gives them; one thread computes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["santander"], choices=list(TABLES))
    parser.add_argument("--splits", nargs="+", type=int, default=[1, 2, 3], help="seeds of the splits")
    parser.add_argument("--work-dir", type=Path, default=Path(".audit/benchmark-search"))
    if rivals:
        parser.add_argument("--rivals", nargs="*", default=list(rivals), choices=rivals)
    given = parser.parse_args(arguments)
    tune_process(threads=1)
    return given


def kept_rows(
    kind: str,
    name: str,
    seed: int,
    work_dir: Path,
    compute: Callable[[Case, int], Iterable[Row]],
    *,
    trials: int = TRIALS,
) -> list[Row]:
    """Rows of one split of a table over all trials, from the file of an earlier run where there is one."""
    place = work_dir.resolve() / f"{kind}_{name}_{seed}.jsonl"
    if not place.is_file():
        case = split_anew(name, seed, work_dir)
        rows = [{"data": name, "split": seed, **row} for trial in range(trials) for row in compute(case, trial)]
        place.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return [json.loads(line) for line in place.read_text(encoding="utf-8").splitlines()]


def split_anew(name: str, seed: int, work_dir: Path) -> Case:
    """A table under another split, with its full model trained."""
    given = {**TABLES[name], "seed": seed, "work_dir": str(work_dir), "threads": 1}
    table = name.removesuffix("-1k")
    return Case(name, load_config(str(ROOT / CONFIGS.get(table, f"conf/{table}.yaml")), given))


def ranking(case: Case, trial: int) -> tuple[list[int], Row]:
    """Fields, best first, as a trial of the search with the default settings finds them, and what it cost.

    Costs are in full trainings: of the whole trial, and of its elimination alone.
    """
    folder = case.select_folder.path
    trials = Trials(case.config, case.prepared, case.full, case.low, case.high, folder, None)
    settings = {**search_space(case.config, case.low, case.high).defaults(), "draw": trial}
    notes = trials(trial, settings, lambda *_: False).notes
    order = list(json.loads((folder / f"trial_{trial}.json").read_text(encoding="utf-8"))["order"])
    return order, {"cost": notes["work"] / case.full.work, "elimination": notes["elimination"] / case.full.work}


def retrained(case: Case, fields: list[int], *, trial: int, repeat: int) -> Row:
    """The model trained on some fields: its difference from the full model and the standard error, on each part."""
    schema = case.schema.keep(case.names(fields))
    seed = _SEED + 10 * trial + repeat
    model, validation, _ = train_one(case.config, case.store, schema, seed=seed, label=f"{case.name}, {len(fields)}")
    full = case.full.validation_scores()
    row = {part: _delta(case, "validation", full, validation, rows) for part, rows in ROWS.items()}
    test = predict(model, case.store, "test", schema, task=case.schema.task, device=case.config.device)
    return {**row, "test": _delta(case, "test", case.full_test_scores, test, slice(None))}


def mean_and_error(values: np.ndarray) -> str:
    """Mean of differences on several splits, and its standard error where there are two or more."""
    error = f" ± {values.std(ddof=1) / len(values) ** 0.5:.4f}" if len(values) > 1 else ""
    return f"{values.mean():+.4f}{error}"


def _delta(case: Case, split: Any, full: np.ndarray, pruned: np.ndarray, rows: slice) -> tuple[float, float]:
    unit = case.store.group(split)
    return paired_delta(
        metric(str(case.config.metric), case.schema.task), y=case.store.target(split)[rows], baseline=full[rows],
        pruned=pruned[rows], cluster=None if unit is None else unit[rows],
    )  # fmt: skip

"""Which of the searched settings matter? A study of many trials beside repeats of its first one with other seeds.

    PYTHONPATH=pipeline:selectors python benchmarks/search/settings.py --data demo santander ml-100k --trials 12

A trial's value is the mean improvement over the full model along its curve, K on a log scale. Where the values of
different settings spread no more than those of one setting with different seeds, the settings do not matter, and
importances (PED-ANOVA) divide up noise. Finished trials and repeats are kept below --work-dir.
"""

from __future__ import annotations

import argparse
import json
import logging
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from case import Case, open_case
from compare import line
from feature_audit.fitting.process import tune_process
from feature_audit.search import StudySummary, run_study
from feature_audit.stages.select import search_space
from feature_audit.stages.trial import Trials

SETTINGS = ("slots", "temperature_start", "temperature_end", "anneal_share", "speed")
HEAD = (
    "data", "trials", "values of the settings", "spread", "first trial, other seeds", "spread", "place of the first",
    *(f"importance of {name}" for name in SETTINGS),
)  # fmt: skip


def study(case: Case, folder: Path, trials: int) -> StudySummary:
    """The audit's own study, longer than its profile asks for."""
    return run_study(
        partial(Trials, case.config, case.prepared, case.full, case.low, case.high, folder, None),
        space=search_space(case.config, case.low, case.high),
        trials=trials,
        seed=case.config.seed,
        journal=folder / "study.journal",
    )


def repeats(case: Case, folder: Path, count: int) -> list[float]:
    """Values of the first trial's settings with other seeds than any trial of the study has."""
    kept = folder / "repeats.json"
    values: list[float] = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else []
    if len(values) < count:
        objective = Trials(case.config, case.prepared, case.full, case.low, case.high, folder, None)
        defaults = search_space(case.config, case.low, case.high).defaults()
        for number in range(len(values), count):
            draw = 1_000 + number
            values.append(objective(draw, {**defaults, "draw": draw}, lambda step, value: False).value)
            kept.write_text(json.dumps(values), encoding="utf-8")
    return values[:count]


def cells(name: str, summary: StudySummary, again: list[float]) -> list[str]:
    rows = [row for row in summary.trials if row["state"] == "complete"]
    values = np.array([row["value"] for row in rows])
    shares: dict[str, Any] = summary.importances
    return [
        name, str(len(values)), f"{values.min():+.4f} to {values.max():+.4f}", f"{values.std(ddof=1):.4f}",
        f"{min(again):+.4f} to {max(again):+.4f}", f"{np.std(again, ddof=1):.4f}",
        str(int((values > values[0]).sum()) + 1),
        *(f"{shares[key]:.2f}" if key in shares else "-" for key in SETTINGS),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["demo", "santander", "ml-100k"], help="names, or YAML files")
    parser.add_argument("--k", type=int, default=200, help="budget; at most the usable features")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--work-dir", type=Path, default=Path(".audit/benchmark-search"))
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    tune_process(threads=1)
    print(line(HEAD) + "\n|" + "---|" * len(HEAD), flush=True)
    for name in given.data:
        # ranges as in the profile that searches them all
        case = open_case(name, k=given.k, work_dir=given.work_dir, profile="thorough")
        folder = case.folder("select", {"baseline": case.full.folder.key.digest, "benchmark": "settings"}).path
        print(line(cells(name, study(case, folder, given.trials), repeats(case, folder, given.repeats))), flush=True)


if __name__ == "__main__":
    main()

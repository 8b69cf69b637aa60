"""What does the audit's search find, and what does it cost, beside a grid, random search and RFECV?

    PYTHONPATH=pipeline:selectors python benchmarks/search/compare.py --data demo santander ml-100k --k 200 [--quick]

Every method chooses features on train and validation rows of the same store, then the same network is retrained on
them with the same seeds and configuration, then the test split is read. "ours at this K" is the test value of as many
features from the top of our ranking, so that features can be compared where K differs. Cost is that of the search, in
trainings of the full model (work as the audit counts it; CPU seconds beside it), without the final retrainings that all
methods pay. A finished row is kept below --work-dir and not computed again. docs/search.md holds the results and how to
read them.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from case import Case, open_case
from feature_audit.stages.process import tune_process
from methods import Found, grid, ours, ours_at, random_search, rfe, rfecv

METHODS = ("ours", "grid", "random", "rfecv", "rfe")
HEAD = (
    "data", "method", "K", "chosen by", "validation", "test", "± seeds", "test - full", "ours at this K", "trials",
    "retrainings", "full trainings", "CPU s / baseline's",
)  # fmt: skip


def run(case: Case, method: str, *, quick: bool) -> dict[str, Any]:
    """One method's row, computed or read; random search gets the budget that ours used, RFE its K."""

    def find() -> dict[str, Any]:
        found = _find(case, method, quick=quick)
        return {
            **asdict(found),
            "full_trainings": None if found.work is None else found.work / case.baseline.work,
            "seconds_ratio": found.seconds / case.baseline.seconds,
        }

    return _kept(case, method, find)


def twin(case: Case, k: int, *, quick: bool) -> dict[str, Any]:
    """What the first ``k`` features of our ranking give, retrained with the same seeds; computed or read."""
    found = run(case, "ours", quick=quick)
    if k == found["k"]:
        return dict(found["finals"])
    return _kept(case, f"ours_at_{k}", lambda: asdict(ours_at(case, found["extra"]["order"], k)))


def _kept(case: Case, name: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A result that is kept in the working directory."""
    place = Path(case.config.work_dir).resolve() / f"row_{case.select_folder.key.digest}_{name}.json"
    if place.is_file():
        return dict(json.loads(place.read_text(encoding="utf-8")))
    row = compute()
    place.write_text(json.dumps(row, indent=1, default=float), encoding="utf-8")
    return row


def _find(case: Case, method: str, *, quick: bool) -> Found:
    if method == "ours":
        return ours(case)
    if method == "grid":
        return grid(case, factor=4.0 if quick else 2.0)
    if method == "random":
        return random_search(case, budget=float(run(case, "ours", quick=quick)["work"]))
    settings: dict[str, Any] = {"rows": 5_000 if quick else 20_000, "step": 0.2 if quick else 0.1}
    if method == "rfecv":
        return rfecv(case, **settings)
    return rfe(case, int(run(case, "ours", quick=quick)["k"]), **settings)


def cells(case: Case, method: str, row: dict[str, Any], full_test: float, twin_test: float | None) -> list[str]:
    """One method's row; ``twin_test`` is the test value of our features at its K."""
    test = np.asarray(row["finals"]["test"])
    work = row["full_trainings"]
    return [
        case.name, method, str(row["k"]), row["evidence"], f"{np.mean(row['finals']['validation']):.4f}",
        f"{test.mean():.4f}", f"{test.std(ddof=1):.4f}", f"{test.mean() - full_test:+.4f}",
        "" if twin_test is None else f"{twin_test:.4f}", str(row["trials"]), str(row["retrained"]),
        "-" if work is None else f"{work:.2f}", f"{row['seconds_ratio']:.2f}",
    ]  # fmt: skip


def full_cells(case: Case) -> tuple[list[str], float]:
    """The full model's row, and its test value."""
    test = case.test_value(case.full_model(), case.schema)
    shown = [case.name, "full model", str(len(case.schema.fields)), "-", f"{case.full.facts['metric']:.4f}"]
    return [*shown, f"{test:.4f}", "-", "", "", "-", "-", "1.00", "1.00"], test


def line(texts: list[str] | tuple[str, ...]) -> str:
    return "| " + " | ".join(texts) + " |"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["demo", "santander", "ml-100k"], help="names, or YAML files")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--k", type=int, default=200, help="budget; at most the usable features")
    parser.add_argument("--trials", type=int, help="trials of ours; from 8 on, importances of the settings are printed")
    parser.add_argument("--quick", action="store_true", help="profile quick, coarser grids, fewer rows and seeds")
    parser.add_argument("--work-dir", type=Path, default=Path(".audit/benchmark-search"))
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("feature_audit").setLevel(logging.INFO)
    tune_process(threads=1)  # as audits do, on one thread
    print(line(HEAD) + "\n|" + "---|" * len(HEAD), flush=True)
    profile = "quick" if given.quick else "default"
    for name in given.data:
        case = open_case(name, k=given.k, work_dir=given.work_dir, profile=profile, trials=given.trials)
        rows = {method: run(case, method, quick=given.quick) for method in given.methods}
        reference, full_test = full_cells(case)
        print(line(reference))
        for method, row in rows.items():
            same_k = None if method == "ours" else float(np.mean(twin(case, row["k"], quick=given.quick)["test"]))
            print(line(cells(case, method, row, full_test, same_k)), flush=True)
        importances = rows.get("ours", {}).get("extra", {}).get("importances")
        if importances:
            shares = ", ".join(f"{name} {share:.2f}" for name, share in importances.items())
            print(f"\n{case.name}, importance of the searched settings: {shares}\n", flush=True)


if __name__ == "__main__":
    main()

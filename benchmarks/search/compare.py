"""Quality and cost of the audit's selection compared with grid search, random search and RFECV.

    PYTHONPATH=pipeline:selectors python benchmarks/search/compare.py --data demo santander ml-100k --k 200 [--quick]
    PYTHONPATH=pipeline:selectors python benchmarks/search/compare.py --data demo --k 200 --splits 61 62 63

Every method chooses features on train and validation rows of the same store; then the same network is retrained on
them with the same seeds and configuration, and evaluated on the test split. "ours at this K" is the test value of the
same number of features from the top of our ranking, so that features can be compared at equal K. Cost is that of the
search, in trainings of the full model (work as the audit counts it, and CPU seconds), without the final retrainings,
which are the same for all methods. Finished rows are cached below --work-dir.

With --splits, rows are split again for each number, which also seeds every method, and a second table compares ours
with each rival over the splits; "ours at this K" is omitted. docs/results/selection.md contains and explains the
results.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from case import Case, open_case
from feature_audit.engine import tune_process
from methods import Found, grid, ours, ours_at, random_search, rfe, rfecv

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option

#: How the rows of a table are split anew.
SPLITS = {"santander": "random", "ml-100k": "group", "criteo": "random", "demo": "random"}
METHODS = ("ours", "grid", "random", "rfecv", "rfe")
HEAD = (
    "data", "method", "K", "chosen by", "validation", "test", "± seeds", "test - full", "ours at this K", "trials",
    "retrainings", "full trainings", "CPU s / baseline's",
)  # fmt: skip
GAP_HEAD = (
    "data", "rival", "splits", "ours - rival", "same or better in", "K: ours", "rival", "full trainings: ours", "rival",
    "less training in",
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
    """Test value of the first ``k`` features of our ranking, retrained with the same seeds; computed or read."""
    found = run(case, "ours", quick=quick)
    if k == found["k"]:
        return dict(found["finals"])
    return _kept(case, f"ours_at_{k}", lambda: asdict(ours_at(case, found["extra"]["order"], k)))


def _kept(case: Case, name: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A result stored in the working directory."""
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
    shown = [case.name, "full model", str(len(case.schema.fields)), "-", f"{case.full.facts.metric:.4f}"]
    return [*shown, f"{test:.4f}", "-", "", "", "-", "-", "1.00", "1.00"], test


def gap_cells(name: str, rival: str, pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[str]:
    """Ours minus one rival on each split: means, and standard errors over splits if there are at least two.

    K is a geometric mean. Values are compared to the fourth digit, as they are shown.
    """

    def tests(place: int) -> np.ndarray:
        return np.array([np.mean(pair[place]["finals"]["test"]) for pair in pairs])

    def middle(place: int) -> str:
        return f"{np.exp(np.mean([np.log(pair[place]['k']) for pair in pairs])):.0f}"

    better = tests(0) - tests(1)
    shown = [name, rival, str(len(pairs)), mean_and_error(better), str((better.round(4) >= 0).sum())]
    shown += [middle(0), middle(1)]
    costs = np.array([pair[0]["full_trainings"] for pair in pairs])
    if pairs[0][1]["full_trainings"] is None:
        return [*shown, f"{costs.mean():.2f}", "-", "-"]
    others = np.array([pair[1]["full_trainings"] for pair in pairs])
    return [*shown, f"{costs.mean():.2f}", f"{others.mean():.2f}", str((costs < others).sum())]


def mean_and_error(values: np.ndarray) -> str:
    """Mean of differences on several splits, and its standard error if there are two or more."""
    error = f" ± {values.std(ddof=1) / len(values) ** 0.5:.4f}" if len(values) > 1 else ""
    return f"{values.mean():+.4f}{error}"


def figures(case: Case, method: str, row: dict[str, Any]) -> list[dict[str, object]]:
    """Lines of the file, one per retraining."""
    about = {"data": case.name, "split_seed": case.config.seed, "method": method, "k": row["k"]}
    costs = {"full_trainings": row["full_trainings"], "seconds_ratio": row["seconds_ratio"]}
    finals = zip(row["finals"]["validation"], row["finals"]["test"], strict=True)
    return [
        {**about, **costs, "retraining": number, "validation": validation, "test": test}
        for number, (validation, test) in enumerate(finals)
    ]


def compare(shown: Table, case: Case, methods: Sequence[str], *, quick: bool, twins: bool) -> dict[str, dict[str, Any]]:
    """Add a line for the full model and each method, with our features at its K if ``twins``; rows by method."""
    rows = {method: run(case, method, quick=quick) for method in methods}
    reference, full_test = full_cells(case)
    about = {"data": case.name, "split_seed": case.config.seed, "method": "full model", "k": len(case.schema.fields)}
    about |= {"full_trainings": 1.0, "seconds_ratio": 1.0, "retraining": 0}
    shown.add(reference, {**about, "validation": case.full.facts.metric, "test": full_test})
    for method, row in rows.items():
        wanted = twins and method != "ours"
        same_k = float(np.mean(twin(case, row["k"], quick=quick)["test"])) if wanted else None
        shown.add(cells(case, method, row, full_test, same_k), *figures(case, method, row))
    importances = rows.get("ours", {}).get("extra", {}).get("importances")
    if importances:
        shares = ", ".join(f"{name} {share:.2f}" for name, share in importances.items())
        print(f"\n{case.name}, importance of the searched settings: {shares}\n", flush=True)
    return rows


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["demo", "santander", "ml-100k"], help="names, or YAML files")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--k", type=int, default=200, help="budget; at most the usable features")
    parser.add_argument("--trials", type=int, help="trials of ours; from 8 on, importances of the settings are printed")
    parser.add_argument("--splits", nargs="+", type=int, help="seeds of new splits; without, the split of an audit")
    parser.add_argument("--quick", action="store_true", help="profile quick, coarser grids, fewer rows and seeds")
    csv_option(parser)
    parser.add_argument("--work-dir", type=Path, default=Path(".audit/benchmark-search"))
    given = parser.parse_args(arguments)
    if given.splits and not set(given.data) <= set(SPLITS):
        parser.error(f"--splits: not for {sorted(set(given.data) - set(SPLITS))}; give some of {', '.join(SPLITS)}")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("feature_audit").setLevel(logging.INFO)
    tune_process(1)  # as audits do, on one thread
    shown = Table(HEAD, given.csv)
    profile = "quick" if given.quick else "default"
    rivals = [method for method in given.methods if method != "ours"] if "ours" in given.methods else []
    gaps = []
    for name in given.data:
        found = []
        for split in given.splits or [None]:
            anew = {} if split is None else {"split": SPLITS[name], "seed": split}
            case = open_case(name, k=given.k, work_dir=given.work_dir, profile=profile, trials=given.trials, **anew)
            found.append(compare(shown, case, given.methods, quick=given.quick, twins=split is None))
        gaps += [gap_cells(name, rival, [(rows["ours"], rows[rival]) for rows in found]) for rival in rivals]
    if given.splits:
        print()
        shown = Table(GAP_HEAD)
        for gap in gaps:
            shown.add(gap)


if __name__ == "__main__":
    main()

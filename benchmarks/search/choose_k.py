"""Does the rule for K choose a K that is good on test? Results are cached below --work-dir.

    PYTHONPATH=pipeline:selectors python benchmarks/search/choose_k.py --data demo my_table.yaml --splits 810 --csv FILE

For each table and split, the audit's ranking and its curve are computed, then two models are retrained at each of nine
K and measured on validation and test rows. The rules are then simulated on these points (interpolated linearly in
log K): which K would be retrained, chosen and tested, and how good is it on test rows? "curve's best" is the earlier
rule, which compared with the best K of the curve and started there; it retrained a single K if that held.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from case import Case, open_case
from feature_audit.fitting.process import tune_process
from feature_audit.fitting.trained import train_one
from feature_audit.models import predict
from feature_audit.noninferiority import metric, paired_delta
from feature_audit.results import CurvePoint
from feature_audit.selection import Criterion, choose_k
from feature_audit.selection.k.comparison import ValidationComparison
from feature_audit.selection.k.confirm import confirm
from feature_audit.selection.k.rule import propose, rungs
from feature_audit.selection.rank_aggregation import aggregate_ranks
from feature_audit.selection.select import validation_curve
from feature_audit.selection.study import run_study

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option

#: How the rows of a table are split anew; a table with a time has one split, and other seeds.
SPLITS = {"santander": "random", "ml-100k": "group", "criteo": "random", "demo": "random"}
RETRAINED_K, SEEDS, FIRST_SEED = 9, 2, 90_000
HEAD = (
    "table", "split", "N", "curve's best: K", "test", "the rule: K", "test", "K to test, with test", "best K on test",
)  # fmt: skip


def measure(case: Case) -> dict[str, Any]:
    """The curve, and validation and test differences to the full model at K on a log grid."""
    plan, constraints = case.plan, case.constraints
    run_round = lambda draws: [case.objective(draw) for draw in draws]  # noqa: E731
    summary = run_study(run_round, space=plan.space, trials=plan.trials, seed=plan.seed)
    orders = [row.notes["order"] for row in sorted(summary.finished, key=lambda row: row.number)]
    order = aggregate_ranks(orders, constraints.groups)
    compare = ValidationComparison(plan.criterion.metric, case.store, case.full.validation_scores())
    curve, _ = validation_curve(case.objective, order, compare)
    largest = min(constraints.max_k, constraints.n_features - 1)
    ks = sorted({round(k) for k in np.geomspace(max(constraints.min_k, 2), largest, RETRAINED_K)})
    full = predict(case.full_model(), case.store, "test", case.schema, task=case.schema.task, device="cpu")
    points = [_retrained(case, order[:k], number, compare, full) for k in ks for number in range(SEEDS)]
    return {
        "n": constraints.n_features, "max_k": constraints.max_k, "criterion": asdict(plan.criterion),
        "curve": [asdict(point) for point in curve], "retrained": points,
    }  # fmt: skip


def _retrained(
    case: Case, kept: np.ndarray, number: int, compare: ValidationComparison, full: np.ndarray
) -> dict[str, Any]:
    schema, seed = case.schema.keep(case.names(kept)), FIRST_SEED + 10 * case.config.seed + number
    model, scores, _ = train_one(case.config, case.store, schema, seed=seed, label=f"{case.name}, K = {len(kept)}")
    point = compare.point(len(kept), scores, "retrained")
    pruned = predict(model, case.store, "test", schema, task=schema.task, device="cpu")
    chosen = metric(case.plan.criterion.metric, schema.task)
    target, group = case.store.target("test"), case.store.group("test")
    delta, error = paired_delta(chosen, y=target, baseline=full, pruned=pruned, cluster=group)
    return {"k": len(kept), "seed": number, "val_delta": point.delta, "val_se": point.std_error,
            "test_delta": delta, "test_se": error}  # fmt: skip


def played(found: dict[str, Any]) -> tuple[str, ...]:
    """Apply both rules to one table; the cells of its row from N on."""
    criterion, n = Criterion(**found["criterion"]), found["n"]
    curve = [CurvePoint(**point) for point in found["curve"]]
    curve = [point for point in curve if point.k < n] or curve
    ks = sorted({row["k"] for row in found["retrained"]})

    def at(k: int, key: str, seed: int) -> float:
        values = {row["k"]: row[key] for row in found["retrained"] if row["seed"] == seed}
        return float(np.interp(math.log(k), np.log(ks), [values[k] for k in ks]))

    def test(k: int) -> float:
        return float(np.mean([at(k, "test_delta", seed) for seed in range(SEEDS)]))

    def retrain(sizes: Sequence[int]) -> list[CurvePoint]:
        return [CurvePoint(k, 0.0, at(k, "val_delta", 0), "retrained", at(k, "val_se", 0)) for k in sizes]

    allowed = range(ks[0], min(found["max_k"], n - 1) + 1)
    cells = []
    for proposed in ([choose_k(curve, criterion).k], propose(curve, criterion)):
        points = confirm(allowed, proposed, criterion, retrain)
        chosen = choose_k(points, criterion, retrained=True).k
        cells += [str(chosen), f"{test(chosen):+.4f}"]
    tested = ", ".join(f"{k} ({test(k):+.4f})" for k in rungs(points, criterion, chosen))
    best = max(ks, key=test)
    return str(n), *cells, tested, f"{best} ({test(best):+.4f} ± {at(best, 'test_se', 0):.4f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True, help=f"{', '.join(SPLITS)}, or configuration files")
    parser.add_argument("--splits", nargs="+", type=int, default=[810, 811])
    parser.add_argument("--k", type=int, default=200)
    csv_option(parser)
    parser.add_argument("--work-dir", type=Path, default=Path(".benchmarks/choose_k"))
    given = parser.parse_args()
    tune_process(1)
    shown = Table(HEAD, given.csv)
    for name in given.data:
        for split in given.splits:
            place = given.work_dir / f"{Path(name).stem}_{split}.json"
            if not place.is_file():
                more = {"split": SPLITS[name]} if name in SPLITS else {}
                case = open_case(name, k=given.k, work_dir=given.work_dir.resolve(), seed=split, **more)
                place.write_text(json.dumps(measure(case)), encoding="utf-8")
            found = json.loads(place.read_text())
            about = {"table": Path(name).stem, "split": split, "features": found["n"]}
            shown.add([Path(name).stem, split, *played(found)], *({**about, **row} for row in found["retrained"]))


if __name__ == "__main__":
    main()

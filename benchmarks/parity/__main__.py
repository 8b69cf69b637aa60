"""Error rates of the verdict in simulated audits with known truth, and the speed of a large test.

python benchmarks/parity                     # the tables of docs/results/error-rates.md
python benchmarks/parity --simulations 200   # a quick run
python benchmarks/parity --csv FILE          # raw figures: audits that each rule passes; seconds
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import gates
import numpy as np
import world
from feature_audit.noninferiority import decide

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option, with_interval

MARGIN, CONFIDENCE = 0.002, 0.95


def designs() -> Iterator[tuple[str, float, list[world.Design]]]:
    """The tables: title, share of ``--simulations``, rows."""
    yield (
        "Seed noise; 3 retrainings of the pruned model, 1 of the full one; 2,000 clustered users",
        1.0,
        [
            world.Design(f"{truth}, seed noise {noise:g}", loss, noise)
            for truth, loss in (("loss = margin", MARGIN), ("identical", 0.0))
            for noise in (0.0, 0.0007, 0.002)
        ],
    )
    precise = {"loss": 0.0, "seed_noise": 0.0007, "model_user": 0.0003, "model_row": 0.0005, "training_row": 0.001}
    yield (
        "What buys power: identical models, seed noise 0.0007, a test split three times as informative",
        0.5,
        [
            world.Design(f"{seeds[0]} + {seeds[1]} trainings", **precise, seeds=seeds)
            for seeds in ((3, 1), (5, 1), (3, 3), (5, 3), (10, 3))
        ],
    )
    broken = {"loss": MARGIN, "seed_noise": 0.0007}
    yield (
        "Hard cases: loss = margin, seed noise 0.0007 unless said otherwise",
        0.5,
        [
            world.Design(
                "seed noise 0.001 and no row noise of the trainings' own",
                MARGIN,
                0.001,
                model_row=0.004,
                training_row=0.0,
            ),
            world.Design("150 users, ten times the seed noise and margin", **broken, users=150, scale=10.0),
            world.Design("heavy users (Pareto 1.5, up to 200 rows)", **broken, heavy_users=True),
            world.Design("heavy-tailed seed noise (t, 3 df)", **broken, noise="t3"),
            world.Design("skewed seed noise (now and then a bad training)", **broken, noise="skewed"),
            world.Design("the full model's seed noise is twice the pruned one's", **broken, baseline_noise=2.0),
        ],
    )


def run(design: world.Design, simulations: int, seed: int) -> dict[str, int]:
    """Simulated audits that each gate lets pass, that our interval covers, and that fail."""
    rng = np.random.default_rng([seed, *design.name.encode()])
    passed = dict.fromkeys(gates.NAMES, 0)
    covered = failed = 0
    for _ in range(simulations):
        votes, ours = gates.passes(world.simulate(design, rng), MARGIN * design.scale, CONFIDENCE)
        for name, vote in votes.items():
            passed[name] += bool(vote)
        covered += bool(ours.decision.ci_low <= -design.loss * design.scale <= ours.decision.ci_high)
        failed += ours.verdict == "fail"
    return {**passed, "coverage": covered, "fail": failed}


def table(title: str, rows: list[world.Design], simulations: int, seed: int, path: Path | None) -> None:
    print(f"\n**{title}** ({simulations:,} simulated audits a row; 95 % binomial interval in brackets)\n")
    head = ["situation", *(f"{name}: pass" for name in gates.NAMES), "feature-audit: fail", "its interval covers"]
    shown = Table(head, path)
    for design in rows:
        begin = time.perf_counter()
        counts = run(design, simulations, seed)
        ours = gates.NAMES[0]
        cells = [design.name, with_interval(counts[ours], simulations)]
        cells += [f"{counts[name] / simulations:.1%}" for name in gates.NAMES[1:]]
        cells += [f"{counts['fail'] / simulations:.1%}", with_interval(counts["coverage"], simulations)]
        figures = {f"passed by {name}": counts[name] for name in gates.NAMES}
        figures |= {"failed": counts["fail"], "covered": counts["coverage"]}
        about = {"table": re.split("[:;]", title)[0], "situation": design.name, "simulations": simulations}
        shown.add(cells, {**about, **figures, "seconds": time.perf_counter() - begin})


def speed(rows: int, draws: int, path: Path | None) -> None:
    """Seconds of one decision on a large test split: 3 + 1 trainings, all metrics, with and without users."""
    rng = np.random.default_rng(0)
    y = (rng.random(rows) < 0.1).astype(np.int8)
    shared = rng.standard_normal(rows) + y
    full, *pruned = (1 / (1 + np.exp(-(shared + 0.1 * rng.standard_normal(rows)))) for _ in range(4))
    reported = dict.fromkeys(("logloss", "normalised_entropy", "calibration"), None)
    print(f"\n**Speed**: {rows:,} test rows, 3 + 1 trainings, {draws:,} paired resamples, one process\n")
    shown = Table(["resampled cluster", "metrics", "seconds"], path)
    for name, cluster, guards in (
        ("100,000 users", rng.integers(0, 100_000, rows), {**reported, "gauc": None, "ndcg": None}),
        ("each row", None, reported),
    ):
        begin = time.perf_counter()
        decide(
            y=y,
            baseline=full,
            pruned=np.stack(pruned),
            cluster=cluster,
            task="binary",
            metric="auc",
            margin=MARGIN,
            guards=guards,
            draws=draws,
        )
        seconds = time.perf_counter() - begin
        about = {"table": "Speed", "situation": f"{rows} rows, {draws} draws, {name}, {len(guards)} guards"}
        shown.add([name, f"auc + {len(guards)} guards", f"{seconds:.1f}"], {**about, "seconds": seconds})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=2000, help="simulated audits per row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=1_000_000, help="test rows of the speed figure; 0 = leave it out")
    parser.add_argument("--draws", type=int, default=2000)
    csv_option(parser)
    given = parser.parse_args()
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    for title, share, rows in designs():
        table(title, rows, max(round(given.simulations * share), 1), given.seed, given.csv)
    if given.rows:
        speed(given.rows, given.draws, given.csv)


if __name__ == "__main__":
    main()

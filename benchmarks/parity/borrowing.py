"""Does seed noise measured elsewhere help, pooled from other K of the same audit or from earlier audits?

python benchmarks/parity/borrowing.py [--csv FILE]

Uses the verdict's rule (``conclude``) with the pooled variance and its degrees of freedom. The external variance is
not used if an F test at 10 % finds the audit's own trainings noisier.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from feature_audit.noninferiority.components import Components
from feature_audit.noninferiority.intervals import conclude
from planned import CONFIDENCE, MARGIN, PRECISE
from scipy import stats

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option

NOISE = 0.0007
GUARD = 0.1
#: Columns: true loss, the audit's noise relative to the borrowed one, the full model's relative to the pruned one's.
COLUMNS = {
    "identical: passes": (0.0, 1.0, 1.0),
    "loss = margin: passes": (MARGIN, 1.0, 1.0),
    "own noise 1.5 times the borrowed": (MARGIN, 1.5, 1.0),
    "own noise twice the borrowed": (MARGIN, 2.0, 1.0),
    "full model twice as noisy": (MARGIN, 1.0, 2.0),
}


def spread(rng: np.random.Generator, pruned: int, full: int, noise: float, full_noise: float) -> tuple[float, float]:
    """Sums of squares of the given numbers of trainings of both arms."""
    own = PRECISE[1]
    small, large = np.hypot(noise, own), np.hypot(noise * full_noise, own)
    return small**2 * rng.chisquare(max(pruned - 1, 1e-9)), large**2 * rng.chisquare(max(full - 1, 1e-9))


def passes(
    rng: np.random.Generator, arms: tuple[int, int], others: list[tuple[int, int]], loss: float, own: float, full: float
) -> bool:
    """Simulate one audit with ``arms`` trainings, and trainings elsewhere with at least one per arm."""
    common, row = PRECISE
    weight, df = 1 / arms[0] + 1 / arms[1], sum(arms) - 2
    small, large = spread(rng, *arms, NOISE, full)
    error = NOISE**2 * (1 / arms[0] + full**2 / arms[1]) + common**2 + weight * row**2
    parts = Components(common**2 + weight * row**2, 500.0, (small + large) / df, row**2, df, weight)
    more = sum(one + other - 2 for one, other in others)
    if more:
        between = sum(sum(spread(rng, *each, NOISE / own, full)) for each in others) / more
        if stats.f.sf(parts.between / between, df, more) >= GUARD:
            pooled = (df * parts.between + more * between) / (df + more)
            # If the other trainings are of pruned models, they say nothing about the full model's noise.
            alone = (small / (arms[0] - 1) / arms[0] + large / (arms[1] - 1) / arms[1]) / weight
            balanced = all(one == other for one, other in others)
            parts = replace(parts, between=pooled if balanced else max(pooled, alone), seed_df=df + more)
    return conclude(rng.normal(-loss, np.sqrt(error)), parts, MARGIN, CONFIDENCE).verdict == "pass"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=10_000, help="simulated audits per figure")
    parser.add_argument("--seed", type=int, default=0)
    csv_option(parser)
    given = parser.parse_args()
    shown = Table(["trainings", "borrowed from", *COLUMNS], given.csv)
    rows = [
        (arms, name, others)
        for arms in ((3, 3), (4, 4))
        for name, others in (
            ("nothing", []),
            ("two other K (pruned trainings)", [(arms[0], 1)] * 2),
            ("one earlier audit", [arms]),
            ("two earlier audits", [arms] * 2),
        )
    ]
    for arms, name, others in rows:
        counts = {}
        for column, truth in COLUMNS.items():
            rng = np.random.default_rng([given.seed, *arms, *f"{name}{column}".encode()])
            counts[column] = sum(passes(rng, arms, others, *truth) for _ in range(given.simulations))
        about = {"pruned": arms[0], "full": arms[1], "borrowed from": name, "simulations": given.simulations}
        shown.add(
            [f"{arms[0]} + {arms[1]}", name, *(f"{count / given.simulations:.1%}" for count in counts.values())],
            *({**about, "situation": column, "passed": count} for column, count in counts.items()),
        )


if __name__ == "__main__":
    main()

"""Pass rates of allocations with the same number of trainings, for equal models and for losses of the margin.

    python benchmarks/parity/allocations.py                      # the table of docs/results/error-rates.md
    python benchmarks/parity/allocations.py --simulations 100    # a quick run
    python benchmarks/parity/allocations.py --csv FILE           # raw figures: tables that pass

The simulation is that of ``planned.py``, without a plan: every allocation tests the first trainings of the same tables.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from feature_audit.noninferiority import planning
from feature_audit.noninferiority.intervals import conclude
from planned import CONFIDENCE, MARGIN, USERS, USUAL, Case, Split
from world import seed_effects

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option

ARMS = [(3, 1), (4, 1), (5, 1), (2, 2), (3, 2), (4, 2), (5, 2), (3, 3), (4, 3), (5, 3), (4, 4), (5, 5)]
CASES = [
    *(Case(f"identical, seed noise {noise:g}", seed_noise=noise) for noise in (0.0004, 0.0007, 0.001)),
    Case("identical, seed noise 0.0007, a third as many test users", rows=USUAL),
    *(
        Case(f"loss = margin, seed noise {noise:g}", -MARGIN, seed_noise=noise)
        for noise in (0.0, 0.0004, 0.0007, 0.001, 0.002)
    ),
    Case("the same at 0.0007, a third as many test users", -MARGIN, rows=USUAL),
    Case("the same, skewed", -MARGIN, noise="skewed"),
    Case("the same, heavy-tailed (t, 3 df)", -MARGIN, noise="t3"),
    Case("the same, the full model twice as noisy", -MARGIN, full_noise=2.0),
    Case("the same, the full model half as noisy", -MARGIN, full_noise=0.5),
]


def draw(case: Case, rng: np.random.Generator) -> Split:
    """The test users' values of as many trainings as the largest allocation has."""
    most, users = planning.MOST, USERS["test"]
    small = case.truth + case.seed_noise * seed_effects(case.noise, most, rng)
    full = case.seed_noise * case.full_noise * seed_effects(case.noise, most, rng)
    common, own = (size * np.sqrt(users) for size in case.rows)
    shared = common * rng.standard_normal(users)
    pruned = small[:, None] + shared + own * rng.standard_normal((most, users))
    return Split(pruned[None], full[:, None] + own * rng.standard_normal((most, users)))


def passes(case: Case, simulations: int) -> np.ndarray:
    """(allocations,) tables that pass."""
    rng = np.random.default_rng([5, *case.name.encode()])
    counts = np.zeros(len(ARMS), dtype=int)
    for _ in range(simulations):
        split = draw(case, rng)
        for place, arms in enumerate(ARMS):
            parts = split.parts(arms, deployed=False)[0]
            counts[place] += conclude(split.delta(arms), parts, MARGIN, CONFIDENCE).verdict == "pass"
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=2000, help="simulated tables per row")
    csv_option(parser)
    given = parser.parse_args()
    print(f"\n**Passes by pruned + full trainings** ({given.simulations:,} simulated tables a row)\n")
    shown = Table(["situation", *(f"{pruned} + {full}" for pruned, full in ARMS)], given.csv)
    for case in CASES:
        counts = passes(case, given.simulations)
        shares = (f"{count / given.simulations:.1%}" for count in counts)
        about = {"situation": case.name, "simulations": given.simulations}
        found = zip(ARMS, counts, strict=True)
        shown.add(
            [case.name, *shares],
            *({**about, "pruned": pruned, "full": full, "passed": count} for (pruned, full), count in found),
        )


if __name__ == "__main__":
    main()

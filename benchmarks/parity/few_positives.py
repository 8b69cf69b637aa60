"""How often a loss of exactly the margin passes if the test split has few positives.

    python benchmarks/parity/few_positives.py [--csv FILE]

Binormal scores, 2,000 negatives, no seed noise; the table of docs/results/error-rates-rare.md that justifies the
minimum number of positives.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from feature_audit.noninferiority import decide, scored_rows
from scipy.stats import norm

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option

NEGATIVES = 2_000
POSITIVES = (2, 3, 5, 8, 10, 15, 20, 30, 50)
FULL, PRUNED = 1.5, 1.2  # distance of the classes' means: AUC 0.856 and 0.802
ARMS = [(retrainings, shared) for retrainings in (1, 3) for shared in (0.5, 0.9)]


def passes(positives: int, retrainings: int, shared: float, simulations: int) -> int:
    """Audits that pass although the pruned model loses exactly the margin.

    Args:
        positives: number of rows of class 1.
        retrainings: trainings of the pruned model; the full model is trained once.
        shared: correlation of the models' scores within a class.
        simulations: number of simulated audits.
    """
    rng = np.random.default_rng(positives)
    y = (np.arange(positives + NEGATIVES) < positives).astype(int)
    margin = float(norm.cdf(FULL / np.sqrt(2)) - norm.cdf(PRUNED / np.sqrt(2)))
    passed = 0
    for _ in range(simulations):
        noise = np.sqrt(shared) * rng.normal(size=len(y)) + np.sqrt(1 - shared) * rng.normal(
            size=(1 + retrainings, len(y))
        )
        full, pruned = FULL * y + noise[:1], PRUNED * y + noise[1:]
        result = decide(y=y, baseline=full, pruned=pruned, task="binary", metric="auc", margin=margin, draws=0)
        passed += bool(result.decision.ci_low > -margin)  # only the difference; the models need not beat chance
    return passed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=2000)
    csv_option(parser)
    given = parser.parse_args()
    scored_rows.MIN_PER_CLASS = 2  # the table justifies this minimum
    head = ["positives", *(f"{n} + 1 trainings, correlation {shared}" for n, shared in ARMS)]
    shown = Table(head, given.csv)
    for positives in POSITIVES:
        figures = [
            {
                "positives": positives, "pruned": pruned, "full": 1, "correlation": shared,
                "simulations": given.simulations, "passed": passes(positives, pruned, shared, given.simulations),
            }
            for pruned, shared in ARMS
        ]  # fmt: skip
        shown.add([positives, *(f"{one['passed'] / given.simulations:.1%}" for one in figures)], *figures)


if __name__ == "__main__":
    main()

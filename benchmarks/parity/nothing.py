"""How often audits pass without evidence: models at chance, and test splits with few units or with a dominant one.

    python benchmarks/parity/nothing.py [--csv FILE]

The tables of docs/results/error-rates-rare.md that justify the confidence required to beat chance, the minimum number
of units, and the largest share of the rows that one of them may hold.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from feature_audit.noninferiority import decide
from feature_audit.noninferiority.chance import SURE, against_chance
from scipy.special import expit
from scipy.stats import norm

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option

NOISE = [(rows, shared, margin) for rows in (400, 2_000, 10_000) for shared in (0.5, 0.99) for margin in (0.02, 0.05)]
UNITS = [(3, 3), (5, 5), (10, 10), (20, 20), (200, 2), (200, 3), (200, 5), (200, 8), (200, 10), (200, 20)]
LARGE = [(1, 0.0), (1, 0.1), (1, 0.2), (1, 0.25), (1, 0.3), (1, 0.5), (1, 0.7), (2, 0.2), (4, 0.2)]
FULL, PRUNED = 1.5, 1.2  # distance of the classes' means: AUC 0.856 and 0.802


def scores(y: np.ndarray, distances: tuple[float, float], shared: float, rng: np.random.Generator) -> list[np.ndarray]:
    """One full and three pruned models whose scores are correlated within a class: (1, rows) and (3, rows)."""
    noise = np.sqrt(shared) * rng.normal(size=len(y)) + np.sqrt(1 - shared) * rng.normal(size=(4, len(y)))
    return [expit(distances[0] * y + noise[:1]), expit(distances[1] * y + noise[1:])]


def noise_row(rows: int, shared: float, margin: float, simulations: int) -> dict[str, int]:
    """Audits of noise that pass: by the difference only, and the whole rule at 95 % and its actual level."""
    rng = np.random.default_rng([rows, int(1000 * shared)])
    alone = usual = passed = 0
    for _ in range(simulations):
        y = (rng.random(rows) < 0.3).astype(int)
        full, pruned = scores(y, (0.0, 0.0), shared, rng)
        result = decide(y=y, baseline=full, pruned=pruned, task="binary", metric="auc", margin=margin, draws=0)
        differs = bool(result.decision.ci_low > -margin)
        alone += differs
        usual += differs and against_chance(y, full, task="binary", metric="auc").better
        passed += result.verdict == "pass"
    return {"by the difference only": alone, "full model, 95 %": usual, f"both models, {SURE:.2%}": passed}


def units_row(units: int, holding: int, simulations: int) -> dict[str, int]:
    """Audits that pass at a loss of the margin, with all positives in some of the users."""
    user = np.repeat(np.arange(units), 100 if units < 200 else 50)
    return _passes(user, user < holding, simulations, np.random.default_rng([units, holding]))


def large_row(large: int, share: float, simulations: int) -> dict[str, int]:
    """Audits that pass at a loss of the margin, with 700 small users and some that each hold a share of the rows."""
    small = np.repeat(np.arange(700), 8)
    user = np.append(small, 700 + np.repeat(np.arange(large), round(share * len(small) / (1 - large * share))))
    return _passes(user, np.ones(len(user), bool), simulations, np.random.default_rng([large, round(100 * share)]))


def _passes(user: np.ndarray, may: np.ndarray, simulations: int, rng: np.random.Generator) -> dict[str, int]:
    """Audits that pass at a loss of the margin; ``may`` marks the rows that can be positive, with a chance of 20 %."""
    margin = float(norm.cdf(FULL / np.sqrt(2)) - norm.cdf(PRUNED / np.sqrt(2)))
    units = int(user.max()) + 1
    passed = {1: 0, 3: 0}
    made = 0
    while made < simulations:
        y = ((rng.random(len(user)) < 0.2) & may).astype(int)
        if y.sum() < 10:
            continue
        made += 1
        own = np.sqrt(0.15) * rng.normal(size=(2, units))[:, user]  # variance specific to a model per user
        common = np.sqrt(0.1) * rng.normal(size=units)[user] + np.sqrt(0.6) * rng.normal(size=len(y))
        noise = common + np.sqrt(0.15) * rng.normal(size=(4, len(y)))
        full, pruned = FULL * y + noise[:1] + own[0], PRUNED * y + noise[1:] + own[1]
        for retrainings in passed:
            result = decide(
                y=y, baseline=full, pruned=pruned[:retrainings], cluster=user, task="binary", metric="auc",
                margin=margin, draws=0,
            )  # fmt: skip
            passed[retrainings] += bool(result.decision.ci_low > -margin)
    return {f"{retrainings} + 1 trainings": count for retrainings, count in passed.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=1000)
    csv_option(parser)
    given = parser.parse_args()
    rules = ["by the difference only", "full model, 95 %", f"both models, {SURE:.2%}"]
    print("Noise: audits that pass\n")
    shown = Table(["test rows", "correlation", "margin", *rules], given.csv)
    for rows, shared, margin in NOISE:
        counts = noise_row(rows, shared, margin, given.simulations)
        situation = f"{rows} test rows, correlation {shared}, margin {margin}"
        add(shown, [f"{rows:,}", shared, margin], "noise", situation, counts, given.simulations)
    print("\nFew units, a loss of the margin: share that the difference by itself would pass\n")
    shown = Table(["test split", "1 + 1 trainings", "3 + 1 trainings"], given.csv)
    for units, holding in UNITS:
        counts = units_row(units, holding, given.simulations)
        situation = f"{units} users, positives in {holding}"
        add(shown, [situation], "few units", situation, counts, given.simulations)
    print("\nLarge units, a loss of the margin: share that the difference by itself would pass\n")
    shown = Table(["users in addition to 700 with 8 rows", "1 + 1 trainings", "3 + 1 trainings"], given.csv)
    for large, share in LARGE:
        counts = large_row(large, share, given.simulations)
        situation = f"{large} with {share:.0%} of the rows each" if share else "none"
        add(shown, [situation], "large units", situation, counts, given.simulations)


def add(shown: Table, cells: list[object], table: str, situation: str, counts: dict[str, int], of: int) -> None:
    """A row of audits that pass by several rules."""
    about = {"table": table, "situation": situation, "simulations": of}
    shown.add(
        [*cells, *(f"{count / of:.1%}" for count in counts.values())],
        *({**about, "rule": rule, "passed": count} for rule, count in counts.items()),
    )


if __name__ == "__main__":
    main()

"""Error rates if a user repeats looks at one table until one passes.

    python benchmarks/parity/looks.py                      # the tables of docs/results/error-rates.md
    python benchmarks/parity/looks.py --simulations 100    # a quick run
    python benchmarks/parity/looks.py --csv FILE           # raw figures: tables that pass

Binormal scores as in ``world.py``. A table has five times the test rows; every look is judged twice, at the confidence
of a single look and at ``look_confidence``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from feature_audit.noninferiority import look_confidence
from feature_audit.noninferiority.comparison import Comparison, compare
from feature_audit.noninferiority.metrics import metric
from feature_audit.noninferiority.scored_rows import checked
from scipy import stats

sys.path.append(str(Path(__file__).resolve().parents[1]))
import measured

MARGIN, CONFIDENCE = 0.002, 0.95
TRIES = 20
USERS, ROWS_PER_USER = 300, 8  # of one test split
FULL_AUC, POSITIVES = 0.78, 0.2
SHARED_USER, MODEL, TRAINING = 0.1, 0.0023, 0.003  # shares of the score variance: user, one feature set, one training
AUC = metric("auc", "binary")


@dataclass(frozen=True)
class Table:
    """Rows with the information that all models share: labels, users and common score, each (rows,)."""

    y: np.ndarray
    user: np.ndarray
    shared: np.ndarray

    def test_rows(self, rng: np.random.Generator) -> Table:
        """A fifth of the users, as a split by group draws them with another seed."""
        chosen = rng.permutation(self.user.max() + 1)[:USERS]
        mask = np.isin(self.user, chosen)
        return Table(self.y[mask], self.user[mask], self.shared[mask])


def draw_table(rng: np.random.Generator) -> Table:
    """Five times the rows of a test split."""
    user = np.repeat(np.arange(5 * USERS), rng.geometric(1 / ROWS_PER_USER, 5 * USERS))
    shared = np.sqrt(SHARED_USER) * rng.standard_normal(5 * USERS)[user]
    shared += np.sqrt(1 - SHARED_USER - MODEL - TRAINING) * rng.standard_normal(len(user))
    return Table((rng.random(len(user)) < POSITIVES).astype(np.int8), user, shared)


def feature_set(rows: Table, rng: np.random.Generator) -> np.ndarray:
    """Part of the score that the models of one feature set share, (rows,)."""
    return np.asarray(np.sqrt(MODEL) * rng.standard_normal(len(rows.y)))


def trainings(
    rows: Table, own: np.ndarray, auc: float, noise: float, number: int, rng: np.random.Generator
) -> np.ndarray:
    """Scores (number, rows); ``noise`` is the standard deviation of a training's true AUC."""
    signal = np.sqrt(2) * stats.norm.ppf(auc + noise * rng.standard_normal(number))
    fresh = np.sqrt(TRAINING) * rng.standard_normal((number, len(rows.y)))
    return np.asarray(rows.shared + own + signal[:, None] * rows.y + fresh)


def judged(rows: Table, full: np.ndarray, pruned: np.ndarray) -> Comparison:
    """Input of ``decide``."""
    return compare(checked(rows.y, full, pruned, rows.user, "binary"), AUC, "all", MARGIN, "decision")


def tries(kind: str, noise: float, rng: np.random.Generator) -> Iterator[Comparison]:
    """Looks of a user who changes one setting after the other until the audit passes; all models lose the margin."""
    table = draw_table(rng)
    rows = table.test_rows(rng)
    full = trainings(rows, feature_set(rows, rng), FULL_AUC, noise, 1, rng)
    own = feature_set(rows, rng)
    for _ in range(TRIES):
        if kind == "seed":
            rows = table.test_rows(rng)
            full = trainings(rows, feature_set(rows, rng), FULL_AUC, noise, 1, rng)
        if kind in ("seed", "K"):
            own = feature_set(rows, rng)
        yield judged(rows, full, trainings(rows, own, FULL_AUC - MARGIN, noise, 5, rng))


def first_passes(kind: str, noise: float, rng: np.random.Generator) -> tuple[bool, bool, bool]:
    """Whether any look passes, at the audit's confidence, at the confidence of its look, and with two planned looks."""
    found = [False, False, False]
    for look, comparison in enumerate(tries(kind, noise, rng), start=1):
        levels = CONFIDENCE, look_confidence(CONFIDENCE, look), look_confidence(CONFIDENCE, look, 2)
        for place, level in enumerate(levels):
            found[place] |= comparison.row(level).verdict == "pass"
        if all(found):
            break
    return found[0], found[1], found[2]


def coming_back(loss: float, noise: float, rng: np.random.Generator) -> tuple[bool, ...]:
    """An audit of 3 + 1 trainings that, if inconclusive, is repeated with 9 + 3 on the same rows.

    Returns:
        Whether the first look passes; whether either passes, the second unplanned; whether either passes, both planned.
    """
    rows = draw_table(rng).test_rows(rng)
    full = trainings(rows, feature_set(rows, rng), FULL_AUC, noise, 3, rng)
    pruned = trainings(rows, feature_set(rows, rng), FULL_AUC - loss, noise, 9, rng)
    first, second = judged(rows, full[:1], pruned[:3]), judged(rows, full, pruned)
    passes = []
    for planned, looks in ((1, [first]), (1, [first, second]), (2, [first, second])):
        verdicts = [one.row(look_confidence(CONFIDENCE, k, planned)).verdict for k, one in enumerate(looks, start=1)]
        passes.append("pass" in verdicts and "fail" not in verdicts[: verdicts.index("pass")])
    return tuple(passes)


def add(shown: measured.Table, rules: list[str], table: str, situation: str, passed: np.ndarray) -> None:
    """A row of (simulations, rules) passes."""
    counts = dict(zip(rules, map(int, passed.sum(axis=0)), strict=True))
    about = {"table": table, "situation": situation, "simulations": len(passed)}
    shown.add(
        [situation, *(measured.with_interval(count, len(passed)) for count in counts.values())],
        *({**about, "rule": rule, "passed": count} for rule, count in counts.items()),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=1000, help="simulated tables per row")
    parser.add_argument("--table", choices=("many", "second"), help="one of the two tables; default: both")
    measured.csv_option(parser)
    given = parser.parse_args()
    if given.table != "second":
        many_looks(given.simulations, given.csv)
    if given.table != "many":
        second_look(given.simulations, given.csv)


def many_looks(simulations: int, path: Path | None) -> None:
    """Looks with another setting each, until one passes."""
    print(f"\n**First pass of {TRIES} looks, each losing the margin** ({simulations:,} simulated tables a row)\n")
    rules = ["every look at 95 %", "at its look's level", "two looks planned"]
    shown = measured.Table(["what is changed", *rules], path)
    for kind in ("retrainings", "K", "seed"):
        for noise in (0.0, 0.0007, 0.002):
            rng = np.random.default_rng([1, *kind.encode(), round(1e5 * noise)])
            passed = np.array([first_passes(kind, noise, rng) for _ in range(simulations)])
            add(shown, rules, f"{TRIES} looks", f"{kind}, seed noise {noise:g}", passed)


def second_look(simulations: int, path: Path | None) -> None:
    """A second look with more trainings."""
    print(f"\n**Coming back with more trainings: 3 + 1, then 9 + 3** ({simulations:,} simulated tables a row)\n")
    rules = ["one look: pass", "a second, unplanned", "two planned"]
    shown = measured.Table(["situation", *rules], path)
    for name, loss in (("loss = margin", MARGIN), ("identical", 0.0)):
        for noise in (0.0007, 0.002):
            rng = np.random.default_rng([2, *name.encode(), round(1e5 * noise)])
            passed = np.array([coming_back(loss, noise, rng) for _ in range(simulations)])
            add(shown, rules, "coming back", f"{name}, seed noise {noise:g}", passed)


if __name__ == "__main__":
    main()

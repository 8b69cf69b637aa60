"""If row noise dominates: the gain from more test rows, folds, or another metric at the same number of trainings.

    python benchmarks/parity/row_noise.py                      # the table of docs/results/error-rates-rare.md
    python benchmarks/parity/row_noise.py --simulations 50     # a quick run
    python benchmarks/parity/row_noise.py --csv FILE           # raw figures: audits that pass

Binormal scores as in ``world.py``, of a log with 80,000 rows whose test split has 16,000, judged with 5 + 5 trainings.
The criterion was fixed before the first run: a remedy is implemented if identical models pass 10 points more often with
the same trainings, and a loss of the margin passes in at most 5 %.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from feature_audit.noninferiority.comparison import compare
from feature_audit.noninferiority.components import components
from feature_audit.noninferiority.intervals import conclude
from feature_audit.noninferiority.metrics import metric
from feature_audit.noninferiority.scored_rows import checked
from scipy import integrate, special, stats
from world import FULL_AUC, Audit, Design, simulate

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option

MARGIN, CONFIDENCE, FOLDS = 0.002, 0.95, 5
#: By how much the selected features look better on the rows that they were chosen on.
OPTIMISM = 0.0018
SIZES = {0.2: 1.0, 0.3: 1.5, 0.4: 2.0}
AUC, ENTROPY = metric("auc", "binary"), metric("normalised_entropy", "binary")
BASE = Design("", 0.0, 0.0004, seeds=(FOLDS, FOLDS))
GIANTS = {"giants": 10, "rows_per_user": 5.3, "model_user": 0.008}
WORLDS = {
    "2 % positives": replace(BASE, positive_rate=0.02),
    "10 of 2,000 users hold 100 times the rows": replace(BASE, **GIANTS),
    "both": replace(BASE, positive_rate=0.02, **GIANTS),
}


def by_auc(audit: Audit) -> bool:
    """Whether the audit passes by AUC."""
    scored = checked(audit.y, audit.baseline, audit.pruned, audit.cluster, "binary")
    return compare(scored, AUC, "all", MARGIN, "decision").row(CONFIDENCE).verdict == "pass"


def by_entropy(audit: Audit, rate: float) -> bool:
    """Whether it passes by entropy of calibrated probabilities, at the margin that equals ``MARGIN`` in AUC."""
    full, pruned = (probabilities(arm, audit.y, rate) for arm in (audit.baseline, audit.pruned))
    scored = checked(audit.y, full, pruned, audit.cluster, "binary")
    margin = entropy(FULL_AUC - MARGIN, rate) - entropy(FULL_AUC, rate)
    return compare(scored, ENTROPY, "all", margin, "decision").row(CONFIDENCE).verdict == "pass"


def probabilities(scores: np.ndarray, y: np.ndarray, rate: float) -> np.ndarray:
    """Binormal scores as probabilities, calibrated on the rows themselves, which favours the entropy."""
    signal = (scores[:, y == 1].mean(axis=1) - scores[:, y == 0].mean(axis=1))[:, None]
    centred = scores - scores[:, y == 0].mean(axis=1)[:, None]
    return np.asarray(special.expit(special.logit(rate) + signal * centred - signal**2 / 2))


def entropy(auc: float, rate: float) -> float:
    """Normalised entropy of a calibrated binormal model."""
    signal = np.sqrt(2) * stats.norm.ppf(auc)

    def expected(y: int) -> float:
        def loss(score: float) -> float:
            logit = special.logit(rate) + signal * score - signal**2 / 2
            return float(np.logaddexp(0, -logit if y else logit) * stats.norm.pdf(score - signal * y))

        return float(integrate.quad(loss, -8, 8 + signal, epsabs=1e-11)[0])

    return (rate * expected(1) + (1 - rate) * expected(0)) / float(stats.bernoulli(rate).entropy())


def over_folds(design: Design, rng: np.random.Generator, *, chosen_once: bool) -> bool:
    """One training of both models per fold, so that every row of the log is a test row once.

    The variance between folds contains that of trainings and of rows, so it takes the place of ``between``, and the
    part of the rows that of ``shared_noise``.

    Args:
        design: design of one fold.
        rng: source of all random numbers.
        chosen_once: True if the features were chosen on one fold's train rows, which biases the other folds.
    """
    values, psi = [], []
    for fold in range(FOLDS):
        flattered = OPTIMISM if chosen_once and fold else 0.0
        audit = simulate(replace(design, loss=design.loss - flattered, seeds=(1, 1)), rng)
        one = compare(
            checked(audit.y, audit.baseline, audit.pruned, audit.cluster, "binary"), AUC, "all", MARGIN, "decision"
        )
        values.append(one.delta)
        psi.append(one.pruned[0].influence - one.baseline[0].influence)
    spread, rows = float(np.var(values, ddof=1)), float(np.mean([np.square(one).sum() for one in psi]))
    joined = components(np.concatenate(psi)[None] / FOLDS, np.zeros((1, sum(map(len, psi)))), *np.zeros((2, 1)))
    parts = replace(joined, between=spread / 2, shared_noise=rows / 2, seed_df=FOLDS - 1, weight=2 / FOLDS)
    return conclude(float(np.mean(values)), parts, MARGIN, CONFIDENCE).verdict == "pass"


def remedies(design: Design) -> Iterator[tuple[str, Callable[[np.random.Generator], bool]]]:
    """Pairs of a name and a function that simulates one audit."""
    for share, times in SIZES.items():
        larger = replace(design, users=round(times * design.users), giants=round(times * design.giants))
        yield f"test_share {share:g}", lambda rng, larger=larger: by_auc(simulate(larger, rng))
    yield "normalised entropy", lambda rng: by_entropy(simulate(design, rng), design.positive_rate)
    yield "folds, selection in each", lambda rng: over_folds(design, rng, chosen_once=False)
    yield "folds, one selection", lambda rng: over_folds(design, rng, chosen_once=True)


def margin_that_decides(design: Design, simulations: int, rng: np.random.Generator) -> float:
    """The margin at which identical models pass in four of five audits."""
    lows = []
    for _ in range(simulations):
        audit = simulate(design, rng)
        scored = checked(audit.y, audit.baseline, audit.pruned, audit.cluster, "binary")
        lows.append(compare(scored, AUC, "all", MARGIN, "decision").row(CONFIDENCE).ci_low)
    return float(-np.quantile(lows, 0.2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=500, help="simulated audits per figure")
    csv_option(parser)
    given = parser.parse_args()
    names = [name for name, _ in remedies(BASE)]
    print(f"\n{given.simulations:,} simulated audits a figure; identical models: passes (loss = margin: passes)\n")
    shown = Table(["test split of 16,000 rows", *names, "margin that decides"], given.csv)
    for world, design in WORLDS.items():
        cells, figures = [], []
        for place, name in enumerate(names):
            counts = []
            for loss in (0.0, MARGIN):
                rng = np.random.default_rng([7, *world.encode(), *name.encode(), round(1e4 * loss)])
                judge = list(remedies(replace(design, loss=loss)))[place][1]
                counts.append(sum(judge(rng) for _ in range(given.simulations)))
            shares = [count / given.simulations for count in counts]
            cells.append(f"**{shares[0]:.0%}** ({shares[1]:.1%})")
            about = {"test split": world, "remedy": name, "simulations": given.simulations}
            figures.append({**about, "identical: passed": counts[0], "loss = margin: passed": counts[1]})
        wide = margin_that_decides(design, given.simulations, np.random.default_rng([7, *world.encode()]))
        shown.add([world, *cells, f"{wide:.2g}"], *({**one, "margin that decides": wide} for one in figures))


if __name__ == "__main__":
    main()

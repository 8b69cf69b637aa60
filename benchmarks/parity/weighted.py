"""How often intervals of weighted metrics miss the truth, with sampled negatives and with random weights.

    python benchmarks/parity/weighted.py [--csv FILE]

Two fixed models on clicks with a known rate; the truth is their difference on four million rows without weights. A row
of the log is drawn once: its weight must not count as several observations.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from feature_audit.noninferiority import decide, metric

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option

#: Kind of weights -> number of rows before sampling.
ROWS = {"a tenth of the negatives": 6_000, "log-normal weights": 2_500}
METRICS = ("auc", "logloss", "calibration")


def rows(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, true probabilities, and the scores of a model with part of the signal and some noise."""
    signal, noise = rng.normal(size=(2, count))
    full, pruned = (1 / (1 + np.exp(2.8 - logit)) for logit in (1.3 * signal, 1.05 * signal + 0.35 * noise))
    return (rng.random(count) < full).astype(float), full, pruned


def misses(kind: str, name: str, truth: float, simulations: int) -> tuple[int, int]:
    """Audits whose interval lies above the truth (a false pass at that margin), and below it."""
    above = below = 0
    for seed in range(simulations):
        rng = np.random.default_rng(seed)
        y, full, pruned = rows(rng, ROWS[kind])
        if kind == "log-normal weights":
            kept, weight = np.ones(len(y), dtype=bool), np.exp(rng.normal(size=len(y)))
        else:
            kept, weight = (y == 1) | (rng.random(len(y)) < 0.1), np.where(y == 1, 1.0, 10.0)
        found = decide(
            y=y[kept], baseline=full[kept], pruned=pruned[kept], weight=weight[kept],
            task="binary", metric=name, margin=abs(truth), draws=0,
        ).decision  # fmt: skip
        above, below = above + int(found.ci_low > truth), below + int(found.ci_high < truth)
    return above, below


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=2000)
    csv_option(parser)
    given = parser.parse_args()
    y, full, pruned = rows(np.random.default_rng(99), 4_000_000)
    head = "weights", "metric", "true difference", "interval above it (4.5 % allowed)", "below it (0.5 % allowed)"
    shown = Table(head, given.csv)
    for kind in ROWS:
        for name in METRICS:
            chosen = metric(name)
            truth = float(chosen.quality(chosen.value(y, pruned)) - chosen.quality(chosen.value(y, full)))
            above, below = misses(kind, name, truth, given.simulations)
            shares = (f"{count / given.simulations:.1%}" for count in (above, below))
            about = {"weights": kind, "metric": name, "true difference": truth, "simulations": given.simulations}
            shown.add(
                [kind, name, f"{truth:.4f}", *shares], {**about, "interval above": above, "interval below": below}
            )


if __name__ == "__main__":
    main()

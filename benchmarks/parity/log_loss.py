"""For finished audits: would log loss have had more power than AUC as decision metric, at an equivalent margin?

    python benchmarks/parity/log_loss.py .audit/parity/*/predictions.parquet [--csv FILE]

The margin of log loss is the loss caused by noise in the full model's scores that costs exactly the margin in AUC, with
scores calibrated on the test rows. The comparison uses each metric's noise in units of its margin.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import polars as pl
from feature_audit.noninferiority.comparison import compare
from feature_audit.noninferiority.metrics import metric
from feature_audit.noninferiority.scored_rows import checked
from scipy import optimize, special

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option

MARGIN = 0.002
AUC, LOSS = metric("auc", "binary"), metric("logloss", "binary")


def calibrated(y: np.ndarray, logit: np.ndarray) -> np.ndarray:
    """Probabilities after a recalibration of the logits by the best linear function."""

    def loss(line: np.ndarray) -> float:
        return float(np.logaddexp(0, np.where(y == 1, -1, 1) * (line[0] + line[1] * logit)).mean())

    start, slope = optimize.minimize(loss, [0.0, 1.0], method="BFGS").x
    return np.asarray(special.expit(start + slope * logit))


def exchange(y: np.ndarray, logit: np.ndarray) -> float:
    """Loss in log loss per loss in AUC, for noise added to the scores."""
    rng = np.random.default_rng(0)
    whole = calibrated(y, logit)
    auc, loss = [], []
    for size in np.repeat((0.1, 0.15, 0.2, 0.25, 0.3, 0.4), 4):
        worse = calibrated(y, logit + size * logit.std() * rng.standard_normal(len(y)))
        auc.append(AUC.value(y, whole) - AUC.value(y, worse))
        loss.append(LOSS.value(y, worse) - LOSS.value(y, whole))
    return float(np.dot(auc, loss) / np.dot(auc, auc))


def parts(table: pl.DataFrame) -> list[tuple[str, float, float]]:
    """Name, row noise and seed noise in margins: of AUC, of log loss, and of log loss of calibrated scores."""
    y = table["y"].to_numpy()
    group = table["group"].to_numpy() if "group" in table.columns else None
    full, pruned = (
        np.stack([table[name].to_numpy() for name in table.columns if name.startswith(arm)]).astype(float)
        for arm in ("baseline", "pruned_")
    )
    logits = [special.logit(np.clip(arm, 1e-6, 1 - 1e-6)) for arm in (full, pruned)]
    lined = [np.stack([calibrated(y, one) for one in arm]) for arm in logits]
    loss = MARGIN * exchange(y, logits[0].mean(axis=0))
    found = []
    for name, which, margin, (first, second) in (
        ("AUC", AUC, MARGIN, (full, pruned)),
        (f"log loss, margin {loss:.2g}", LOSS, loss, (full, pruned)),
        ("the same, calibrated", LOSS, loss, lined),
    ):
        noise = compare(checked(y, first, second, group, "binary"), which, "all", margin, "decision").parts
        found.append((name, float(np.sqrt(noise.row)) / margin, float(np.sqrt(noise.seed)) / margin))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("predictions", nargs="+", help="files `predictions.parquet` of binary audits")
    csv_option(parser)
    given = parser.parse_args()
    shown = Table(["rows", "positives", "metric", "row noise, in margins", "seed noise, in margins"], given.csv)
    for path in given.predictions:
        table = pl.read_parquet(path)
        if set(table["y"].unique()) != {0, 1}:
            continue
        for name, rows, seeds in parts(table):
            positives = float(table["y"].mean())
            shown.add(
                [f"{len(table):,}", f"{positives:.1%}", name, f"{rows:.2f}", f"{seeds:.2f}"],
                {"rows": len(table), "positives": positives, "metric": name, "row_noise": rows, "seed_noise": seeds},
            )


if __name__ == "__main__":
    main()

"""The full model compared with another model on the same rows: fast gradient boosting, or production's scores.

Parity with a full model that is clearly worse than an available alternative is not a basis for action.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from feature_audit.metric_names import metric_name
from feature_audit.noninferiority.clusters import cluster_codes
from feature_audit.noninferiority.components import mean_over_seeds, row_variance
from feature_audit.noninferiority.metrics import Metric, Sample, measured
from feature_audit.noninferiority.sentences import percentage, signed
from feature_audit.schema import SplitName


@dataclass(frozen=True)
class Reference:
    """The comparison of the full model with another model.

    Attributes:
        name: name of the other model, for sentences.
        remedy: remedy if the full model is clearly worse, as a sentence.
        split, rows: split and number of the compared rows.
        metric: the decision metric.
        full, other: metric values; ``full`` is the mean over trainings.
        delta: full - other, higher is better.
        standard_error, df: of ``delta`` over other rows (users), with all models fixed.
        bounded: True if the metric is between 0 and 1.
        matched_by: value of the pruned models, mean over trainings, if only the full model is clearly worse than the
            other model; otherwise None.
    """

    name: str
    remedy: str
    split: SplitName
    rows: int
    metric: str
    full: float
    other: float
    delta: float
    standard_error: float
    df: float
    bounded: bool
    matched_by: float | None = None

    def interval(self, confidence: float) -> tuple[float, float]:
        """Two-sided interval of ``delta``."""
        reach = float(special.stdtrit(self.df, (1 + confidence) / 2)) * self.standard_error
        largest = 1.0 if self.bounded else np.inf
        return max(self.delta - reach, -largest), min(self.delta + reach, largest)

    def sentence(self, margin: float, confidence: float) -> str:
        """One sentence, with numbers, on whether the full model matches the reference."""
        low, high = self.interval(confidence)
        answer = "the result is inconclusive"
        if low > 0:
            answer = "the full model is better"
        elif self.clearly_worse(margin, confidence):
            answer = "the full model is clearly worse"
        elif low > -margin:
            answer = "the full model is non-inferior"
        return (
            f"Compared with {self.name} on {self.rows:,} {self.split} rows, {answer}: {metric_name(self.metric)} "
            f"{self.full:.4f} vs. {self.other:.4f}, difference {signed(self.delta, margin)} ({percentage(confidence)} "
            f"interval {signed(low, margin)} to {signed(high, margin)})."
        )

    def clearly_worse(self, margin: float, confidence: float) -> bool:
        """Whether the full model is proven to be worse by more than the margin."""
        return self.interval(confidence)[1] < -margin


def against_reference(
    metric: Metric,
    *,
    y: np.ndarray,
    full: np.ndarray,
    other: np.ndarray,
    cluster: np.ndarray | None,
    name: str,
    remedy: str,
    split: SplitName,
    weight: np.ndarray | None = None,
) -> Reference:
    """Compare trainings of the full model with one other model on the same rows.

    Args:
        metric: the decision metric.
        y: (rows,) labels.
        full: (seeds, rows[, classes]) scores.
        other: (rows[, classes]) scores.
        cluster: (rows,) resampling unit of each row; None = each row is a unit.
        name, remedy, split: as in ``Reference``.
        weight: (rows,) > 0; None = 1 each.
    """
    codes, clusters = cluster_codes(cluster, len(y))
    samples = (Sample(y, np.asarray(scores, dtype=np.float64), codes, clusters, weight) for scores in (*full, other))
    (*mine, theirs), influence = measured(metric, samples, len(full) + 1)
    variance, df = row_variance(mean_over_seeds(influence[:-1]) - influence[-1])
    quality = mean_over_seeds(np.array([metric.quality(one) for one in mine]))
    return Reference(
        name=name,
        remedy=remedy,
        split=split,
        rows=len(y),
        metric=metric.name,
        full=float(np.mean(mine)),
        other=theirs,
        delta=float(quality - metric.quality(theirs)),
        standard_error=float(np.sqrt(variance)),
        df=df,
        bounded=metric.bounded,
    )

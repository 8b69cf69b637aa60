"""A model compared with another one on the same rows: fast gradient boosting, or production's scores.

Matching a full model is not enough if what remains is clearly worse than an available alternative.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
    """The comparison of the full or the pruned model with another model.

    Attributes:
        model: which one is compared.
        name: name of the other model, for sentences.
        remedy: remedy if the model is clearly worse, as a sentence.
        split, rows: split and number of the compared rows.
        metric: the decision metric.
        value, other: metric values; ``value`` is the mean over trainings.
        delta: value - other, higher is better.
        standard_error, df: of ``delta`` over other rows (users), with all models fixed.
        bounded: True if the metric is between 0 and 1.
    """

    model: Literal["full", "pruned"]
    name: str
    remedy: str
    split: SplitName
    rows: int
    metric: str
    value: float
    other: float
    delta: float
    standard_error: float
    df: float
    bounded: bool

    def interval(self, confidence: float) -> tuple[float, float]:
        """Two-sided interval of ``delta``."""
        reach = float(special.stdtrit(self.df, (1 + confidence) / 2)) * self.standard_error
        largest = 1.0 if self.bounded else np.inf
        return max(self.delta - reach, -largest), min(self.delta + reach, largest)

    def sentence(self, margin: float, confidence: float) -> str:
        """One sentence, with numbers, on whether the model matches the reference."""
        low, high = self.interval(confidence)
        answer = f"the result of the {self.model} model is inconclusive"
        if low > 0:
            answer = f"the {self.model} model is better"
        elif self.clearly_worse(margin, confidence):
            answer = f"the {self.model} model is clearly worse"
        elif low > -margin:
            answer = f"the {self.model} model is non-inferior"
        return (
            f"Compared with {self.name} on {self.rows:,} {self.split} rows, {answer}: {metric_name(self.metric)} "
            f"{self.value:.4f} vs. {self.other:.4f}, difference {signed(self.delta, margin)} ({percentage(confidence)} "
            f"interval {signed(low, margin)} to {signed(high, margin)})."
        )

    def clearly_worse(self, margin: float, confidence: float) -> bool:
        """Whether the model is proven to be worse by more than the margin."""
        return self.interval(confidence)[1] < -margin


def against_reference(
    metric: Metric,
    *,
    model: Literal["full", "pruned"],
    y: np.ndarray,
    scores: np.ndarray,
    other: np.ndarray,
    cluster: np.ndarray | None,
    name: str,
    remedy: str,
    split: SplitName,
    weight: np.ndarray | None = None,
) -> Reference:
    """Compare trainings of a model with one other model on the same rows.

    Args:
        metric: the decision metric.
        model: which one the scores are from.
        y: (rows,) labels.
        scores: (seeds, rows[, classes]) scores.
        other: (rows[, classes]) scores.
        cluster: (rows,) resampling unit of each row; None = each row is a unit.
        name, remedy, split: as in ``Reference``.
        weight: (rows,) > 0; None = 1 each.
    """
    codes, clusters = cluster_codes(cluster, len(y))
    samples = (Sample(y, np.asarray(one, dtype=np.float64), codes, clusters, weight) for one in (*scores, other))
    (*mine, theirs), influence = measured(metric, samples, len(scores) + 1)
    variance, df = row_variance(mean_over_seeds(influence[:-1]) - influence[-1])
    quality = mean_over_seeds(np.array([metric.quality(one) for one in mine]))
    return Reference(
        model=model,
        name=name,
        remedy=remedy,
        split=split,
        rows=len(y),
        metric=metric.name,
        value=float(np.mean(mine)),
        other=theirs,
        delta=float(quality - metric.quality(theirs)),
        standard_error=float(np.sqrt(variance)),
        df=df,
        bounded=metric.bounded,
    )

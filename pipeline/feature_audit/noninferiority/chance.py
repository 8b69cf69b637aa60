"""Compares a model with chance, because parity with a useless model proves nothing: a model without features would
pass.

Chance is the best constant on the same rows: AUC and GAUC 0.5, NDCG of a random order, R2 0, the accuracy of the most
frequent class, the log loss of the class shares.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from feature_audit.noninferiority.clusters import cluster_codes
from feature_audit.noninferiority.components import mean_over_seeds, row_variance
from feature_audit.noninferiority.metrics import Metric, Sample, measured
from feature_audit.noninferiority.metrics import metric as find_metric
from feature_audit.schema import Task

#: Confidence required for better than chance in a pass. At the usual 95 %, one of forty audits of noise would pass;
#: a useful model is many standard errors above chance.
SURE = 0.9999


@dataclass(frozen=True)
class Chance:
    """A model's quality and that of the best constant.

    Attributes:
        metric: metric of the comparison: ``auc``, ``r2`` or the decision metric (see ``skill_metric``).
        value: the model's value, mean over seeds.
        low, high: two-sided interval of the value over test clusters, within the metric's range.
        chance: the constant's value.
        higher_is_better: direction of the metric.
        surely_better: True if the interval at confidence ``SURE`` is also entirely better than chance.
    """

    metric: str
    value: float
    low: float
    high: float
    chance: float
    higher_is_better: bool
    surely_better: bool = False

    @property
    def better(self) -> bool:
        """Whether the interval is entirely better than chance."""
        return self.low > self.chance if self.higher_is_better else self.high < self.chance

    @property
    def worse(self) -> bool:
        """Whether the interval is entirely worse than chance."""
        return self.high < self.chance if self.higher_is_better else self.low > self.chance


def skill_metric(name: str, task: Task) -> Metric:
    """The metric for comparing a model with a constant if ``name`` is the decision metric.

    Binary: AUC, because a base rate that drifts between train and test can make the log loss worse than a constant's
    although the ranking is right; GAUC and NDCG are compared directly. Regression: R2. Multiclass: the decision metric.
    """
    decision = find_metric(name, task)
    if task == "multiclass" or decision.per_cluster:
        return decision
    return find_metric("r2" if task == "regression" else "auc", task)


def against_chance(
    y: np.ndarray,
    scores: np.ndarray,
    *,
    task: Task,
    metric: str,
    cluster: np.ndarray | None = None,
    confidence: float = 0.95,
    weight: np.ndarray | None = None,
) -> Chance:
    """Compare trainings of one model with the best constant on the same rows.

    Args:
        y: (rows,) labels.
        scores: (seeds, rows[, classes]).
        task: binary, regression or multiclass.
        metric: the decision metric.
        cluster: (rows,) resampling unit of each row; None = each row is a unit.
        confidence: confidence of the two-sided interval.
        weight: (rows,) > 0; None = 1 each.
    """
    chosen = skill_metric(metric, task)
    codes, clusters = cluster_codes(cluster, len(y))
    samples = (Sample(y, np.asarray(one, dtype=np.float64), codes, clusters, weight) for one in scores)
    values, influence = measured(chosen, samples, len(scores))
    constant = chosen.statistics(Sample(y, _constant(y, scores[0], task, weight), codes, clusters, weight))
    variance, df = row_variance(mean_over_seeds(influence) - constant.influence)
    value, error = float(np.mean(values)), float(np.sqrt(variance))

    def at(level: float, *, bounded: bool) -> Chance:
        reach = float(special.stdtrit(df, (1 + level) / 2)) * error
        low, high = _interval(value, reach, bounded=bounded)
        return Chance(chosen.name, value, low, high, constant.value, chosen.orientation == "higher")

    # Not on the logit scale, on which an interval around an AUC of .9994 could reach .5; chance is far from 0 and 1.
    sure = at(max(confidence, SURE), bounded=False).better
    return replace(at(confidence, bounded=chosen.bounded), surely_better=sure)


def advantage(
    metric: Metric,
    *,
    y: np.ndarray,
    scores: np.ndarray,
    task: Task,
    cluster: np.ndarray | None,
    weight: np.ndarray | None = None,
) -> float:
    """Gain of one training over no skill, in the metric's units; a relative margin is a share of it.

    Args:
        metric: any metric of the task.
        y: (rows,) labels.
        scores: (rows[, classes]).
        task: binary, regression or multiclass.
        cluster: (rows,) users, for per-user metrics.
        weight: (rows,) > 0; None = 1 each.
    """
    constant = _constant(y, scores, task, weight)
    if metric.name == "mae":  # the median is its best constant, not the mean
        constant = np.full(len(y), _median(y, weight))
    mine, none = (metric.quality(metric.value(y, each, cluster, weight)) for each in (scores, constant))
    return float(mine - none)


def _constant(y: np.ndarray, like: np.ndarray, task: Task, weight: np.ndarray | None) -> np.ndarray:
    """The best constant in the shape of scores: the label's mean, or the share of each class."""
    if task != "multiclass":
        mean = np.mean(y, dtype=np.float64) if weight is None else np.average(y, weights=weight)
        return np.full(len(y), mean)
    counts = np.bincount(y.astype(np.intp), weight, minlength=like.shape[1])
    return np.broadcast_to(counts / counts.sum(), like.shape)


def _median(y: np.ndarray, weight: np.ndarray | None) -> float:
    if weight is None:
        return float(np.median(y))
    order = np.argsort(y)
    passed = np.cumsum(weight[order])
    return float(y[order][np.searchsorted(passed, passed[-1] / 2)])


def _interval(value: float, reach: float, *, bounded: bool) -> tuple[float, float]:
    """``value`` plus and minus ``reach``; for bounded metrics on the logit scale, so that it stays within 0 and 1."""
    if not bounded:
        return value - reach, value + reach
    if not 0 < value < 1:
        return max(value - reach, 0.0), min(value + reach, 1.0)
    center, width = float(special.logit(value)), reach / (value * (1 - value))
    return float(special.expit(center - width)), float(special.expit(center + width))

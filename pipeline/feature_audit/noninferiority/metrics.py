"""Decision metrics: value, orientation, and statistics for resampling by cluster.

Most metrics are smooth functions of sums over rows (``MomentMetric``), so that a resample of clusters is an exact
weighted sum. AUC is not a sum; its resamples use the first-order (influence) expansion, whose error is O(1 / rows).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from feature_audit.errors import AuditError, UsageError
from feature_audit.metric_names import parse_metric
from feature_audit.noninferiority import ranking
from feature_audit.noninferiority.clusters import cluster_codes, cluster_sums
from feature_audit.schema import Task

Orientation = Literal["higher", "lower", "one"]

_STEP = 1e-100  # complex-step differentiation has no cancellation, so the step can be this small


@dataclass(frozen=True)
class Sample:
    """One model's scores on some test rows.

    Attributes:
        y: (rows,) labels: 0/1, a number, or class codes.
        score: (rows,) probabilities of the positive class or predictions, (rows, classes) for multiclass.
        codes: (rows,) cluster codes 0..n_clusters-1, or None if each row is a cluster.
        n_clusters: number of clusters.
        weight: (rows,) > 0, weight of each row in the value; a row is still one observation. None = 1 each.
    """

    y: np.ndarray
    score: np.ndarray
    codes: np.ndarray | None
    n_clusters: int
    weight: np.ndarray | None = None

    @property
    def row_codes(self) -> np.ndarray:
        """(rows,) cluster codes, also if each row is a cluster."""
        return np.arange(len(self.y)) if self.codes is None else self.codes


@dataclass(frozen=True)
class ClusterStatistics:
    """Per-cluster statistics of one model's metric.

    Attributes:
        value: the metric's own value.
        influence: (clusters,) derivative of the *quality* with respect to each cluster's weight; sums to zero.
        sums: (clusters, q) addends for exact resampling; for linearised metrics the influence column itself.
        excluded: number of clusters that cannot contribute (one class only).
    """

    value: float
    influence: np.ndarray
    sums: np.ndarray
    excluded: int = 0


class Metric(ABC):
    """A quality measure of scores against labels.

    Attributes:
        name: name in the configuration.
        orientation: which values are better: ``higher``, ``lower``, or those near ``one`` (a ratio).
        per_cluster: True if the metric is defined within users (GAUC, NDCG) and therefore requires clusters.
        probabilities: True if scores must be in [0, 1].
        bounded: True if the value is in [0, 1].
    """

    name: str
    orientation: Orientation
    per_cluster: bool = False
    probabilities: bool = False
    bounded: bool = False

    @abstractmethod
    def statistics(self, sample: Sample) -> ClusterStatistics:
        """Value, influence values and resampling sums of one model."""

    @abstractmethod
    def resampled(self, sums: np.ndarray, statistics: ClusterStatistics) -> np.ndarray:
        """Qualities of resamples: (draws,) from their (draws, q) weighted sums over clusters."""

    def defined(self, y: np.ndarray) -> bool:
        """Whether the metric can be computed on these labels."""
        return len(y) > 0

    def value(
        self, y: np.ndarray, score: np.ndarray, cluster: np.ndarray | None = None, weight: np.ndarray | None = None
    ) -> float:
        """The metric's own value.

        Args:
            y: (rows,) labels.
            score: (rows,), or (rows, classes) for multiclass.
            cluster: (rows,) user of each row, for metrics that are defined within users.
            weight: (rows,) > 0; None = 1 each.
        """
        codes, n_clusters = cluster_codes(cluster, len(y))
        score = np.asarray(score, dtype=np.float64)
        return self.statistics(Sample(np.asarray(y), score, codes, n_clusters, weight)).value

    def quality(self, value: Any) -> Any:
        """The value, signed so that higher is better; for a ratio ``-|log ratio|``."""
        if self.orientation == "one":
            return -np.abs(np.log(value))
        return value if self.orientation == "higher" else -value

    def _quality_slope(self, value: float) -> float:
        if self.orientation == "one":
            return -1.0 / value if value > 1 else 1.0 / value
        return 1.0 if self.orientation == "higher" else -1.0


class Auc(Metric):
    """Area under the ROC curve; ties count half."""

    name = "auc"
    orientation = "higher"
    bounded = True

    def defined(self, y: np.ndarray) -> bool:
        """Whether both classes occur."""
        return has_variety(y)

    def statistics(self, sample: Sample) -> ClusterStatistics:
        """Placement-based influence values, summed by cluster."""
        value, influence = ranking.auc_influence(sample.y, sample.score, sample.weight)
        by_cluster = cluster_sums(influence, sample.codes, sample.n_clusters)
        return ClusterStatistics(value, by_cluster, by_cluster[:, None])

    def resampled(self, sums: np.ndarray, statistics: ClusterStatistics) -> np.ndarray:
        """First-order expansion around the sample's AUC."""
        return statistics.value + sums[..., 0]


@dataclass(frozen=True)
class MomentMetric(Metric):
    """A metric that is a function of sums over rows.

    Attributes:
        moments: sample -> (clusters, q) addends, and the number of clusters that cannot contribute.
        combine: (..., q) sums -> (...,) values; must accept complex numbers (it is differentiated by complex step).
        needs_variety: True if the metric is undefined when all labels are equal.
    """

    name: str
    orientation: Orientation
    moments: Callable[[Sample], tuple[np.ndarray, int]]
    combine: Callable[[np.ndarray], np.ndarray]
    per_cluster: bool = False
    probabilities: bool = False
    needs_variety: bool = False
    bounded: bool = False

    def defined(self, y: np.ndarray) -> bool:
        """Whether there are labels, and different ones if the metric requires it."""
        return len(y) > 0 and (not self.needs_variety or has_variety(y))

    def statistics(self, sample: Sample) -> ClusterStatistics:
        """Addends by cluster, and influence values by the chain rule."""
        sums, excluded = self.moments(sample)
        if excluded == sample.n_clusters:
            raise AuditError(f"metric={self.name}: none of the {excluded:,} users has rows of both classes")
        total = sums.sum(axis=0)
        value = float(self.combine(total))
        steps = total.astype(complex) + 1j * _STEP * np.eye(len(total))
        slope = np.imag(self.combine(steps)) / _STEP * self._quality_slope(value)
        influence = sums @ slope
        influence -= influence.mean()
        return ClusterStatistics(value, influence, sums, excluded)

    def resampled(self, sums: np.ndarray, statistics: ClusterStatistics) -> np.ndarray:
        """Exact qualities of the resamples; NaN if a resample leaves the metric undefined."""
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.asarray(self.quality(self.combine(sums)))
        return np.where(np.isfinite(found), found, np.nan)  # differences of infinities would warn


def measured(metric: Metric, samples: Iterable[Sample], count: int) -> tuple[list[float], np.ndarray]:
    """Values and (count, clusters) influence values of ``count`` trainings on the same rows, one sample at a time."""
    values, influence = [], np.empty((count, 0))
    for place, sample in enumerate(samples):
        found = metric.statistics(sample)
        influence = influence if place else np.empty((count, sample.n_clusters))
        influence[place] = found.influence
        values.append(found.value)
    return values, influence


def has_variety(y: np.ndarray) -> bool:
    """Whether there are at least two different labels."""
    return bool(len(y)) and bool((y != y[0]).any())


def _per_row(*columns: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[Sample], tuple[np.ndarray, int]]:
    """Moments that are (weighted) sums of per-row terms of (y, score)."""

    def moments(sample: Sample) -> tuple[np.ndarray, int]:
        sums = np.empty((sample.n_clusters, len(columns)))
        for place, column in enumerate(columns):
            terms = np.asarray(column(sample.y, sample.score), dtype=np.float64)
            terms = terms if sample.weight is None else terms * sample.weight
            sums[:, place] = cluster_sums(terms, sample.codes, sample.n_clusters)
        return sums, 0

    return moments


def _one(y: np.ndarray, score: np.ndarray) -> np.ndarray:
    return np.ones(len(y))


def _label(y: np.ndarray, score: np.ndarray) -> np.ndarray:
    return y


def _binary_loss(y: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Cross-entropy per row, clipped at the smallest float64 step as scikit-learn does."""
    tiny = np.finfo(np.float64).eps
    p = np.clip(score, tiny, 1 - tiny)
    return -np.where(y > 0, np.log(p), np.log1p(-p))


def _class_loss(y: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Cross-entropy per row of the true class's probability, rows normalised, clipped as scikit-learn does."""
    tiny = np.finfo(np.float64).eps
    p = score[np.arange(len(y)), np.asarray(y, dtype=np.intp)] / score.sum(axis=1)
    return -np.log(np.clip(p, tiny, 1 - tiny))


def _hit(y: np.ndarray, score: np.ndarray) -> np.ndarray:
    return score.argmax(axis=1) == y


def _centred_label(power: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Powers of the label about its sample mean: R2 does not change, and large offsets cause no cancellation."""
    return lambda y, score: (y - np.mean(y, dtype=np.float64)) ** power


def _gauc_moments(sample: Sample) -> tuple[np.ndarray, int]:
    codes = sample.row_codes
    auc, valid = ranking.group_auc(sample.y, sample.score, codes, sample.n_clusters, sample.weight)
    ones = np.broadcast_to(1.0, len(codes)) if sample.weight is None else sample.weight
    rows = cluster_sums(ones, codes, sample.n_clusters) * valid
    return np.stack([rows * auc, rows], axis=1), int((~valid).sum())


def _ndcg_moments(k: int) -> Callable[[Sample], tuple[np.ndarray, int]]:
    def moments(sample: Sample) -> tuple[np.ndarray, int]:
        ndcg, valid = ranking.group_ndcg(sample.y, sample.score, sample.row_codes, sample.n_clusters, k, sample.weight)
        return np.stack([ndcg, valid.astype(np.float64)], axis=1), int((~valid).sum())

    return moments


def _ratio(sums: np.ndarray) -> np.ndarray:
    return sums[..., 0] / sums[..., 1]


def _normalised_entropy(sums: np.ndarray) -> np.ndarray:
    """Mean cross-entropy over the entropy of the base rate (He et al. 2014, eq. 1)."""
    rate = sums[..., 2] / sums[..., 1]
    return _ratio(sums) / -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))


def _r2(sums: np.ndarray) -> np.ndarray:
    n, first, second, squared_error = (sums[..., i] for i in range(4))
    return 1 - squared_error / (second - first**2 / n)


def _ndcg(k: int) -> MomentMetric:
    name = "ndcg" if k == 10 else f"ndcg@{k}"
    return MomentMetric(name, "higher", _ndcg_moments(k), _ratio, per_cluster=True, needs_variety=True, bounded=True)


def _squared_error(y: np.ndarray, score: np.ndarray) -> np.ndarray:
    return (y - score) ** 2


def _probability(y: np.ndarray, score: np.ndarray) -> np.ndarray:
    return score


#: Every metric by task and configuration name. ``ndcg`` is NDCG@10; ``ndcg@k`` names another depth.
METRICS: dict[Task, dict[str, Metric]] = {
    "binary": {
        "auc": Auc(),
        "logloss": MomentMetric("logloss", "lower", _per_row(_binary_loss, _one), _ratio, probabilities=True),
        "normalised_entropy": MomentMetric(
            "normalised_entropy",
            "lower",
            _per_row(_binary_loss, _one, _label),
            _normalised_entropy,
            probabilities=True,
            needs_variety=True,
        ),
        "calibration": MomentMetric(
            "calibration", "one", _per_row(_probability, _label), _ratio, probabilities=True, needs_variety=True
        ),
        "gauc": MomentMetric(
            "gauc", "higher", _gauc_moments, _ratio, per_cluster=True, needs_variety=True, bounded=True
        ),
        "ndcg": _ndcg(10),
    },
    "regression": {
        "r2": MomentMetric("r2", "higher", _per_row(_one, _centred_label(1), _centred_label(2), _squared_error), _r2),
        "rmse": MomentMetric("rmse", "lower", _per_row(_squared_error, _one), lambda sums: np.sqrt(_ratio(sums))),
        "mae": MomentMetric("mae", "lower", _per_row(lambda y, score: np.abs(y - score), _one), _ratio),
    },
    "multiclass": {
        "accuracy": MomentMetric("accuracy", "higher", _per_row(_hit, _one), _ratio, bounded=True),
        "logloss": MomentMetric("logloss", "lower", _per_row(_class_loss, _one), _ratio, probabilities=True),
    },
}


def metric(name: str, task: Task = "binary") -> Metric:
    """The metric of that name.

    Raises:
        UsageError: the task has no such metric, or the metric no such cut-off.
    """
    if task not in METRICS:
        raise UsageError(f"task={task}: choose {', '.join(METRICS)}")
    base, depth = parse_metric(name, task)
    return METRICS[task][base] if depth is None else _ndcg(depth)

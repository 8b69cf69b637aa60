"""Quality at some K against the full model's, on the same validation rows."""

from __future__ import annotations

import numpy as np

from feature_audit.data import Store
from feature_audit.parity import metric, paired_delta
from feature_audit.results import CurvePoint


class ValidationComparison:
    """Compares scores with the full model's on the validation rows.

    Args:
        metric_name: the decision metric.
        store: holds labels, groups and the task.
        full_scores: the full model's scores of the validation rows, as ``feature_audit.models.predict`` gives them.
    """

    def __init__(self, metric_name: str, store: Store, full_scores: np.ndarray) -> None:
        self._metric, self._full = metric(metric_name, store.schema.task), full_scores
        self._target, self._cluster = store.target("validation"), store.group("validation")
        self._weight = store.weight("validation")

    def point(self, k: int, scores: np.ndarray, source: str) -> CurvePoint:
        """Quality at one K, from scores of all validation rows."""
        delta, error = paired_delta(
            self._metric,
            y=self._target,
            baseline=self._full,
            pruned=scores,
            cluster=self._cluster,
            weight=self._weight,
        )
        value = self._metric.value(self._target, scores, self._cluster, self._weight)
        return CurvePoint(k, value, delta, source, error)

"""Quality at some K against the full model's, on the same validation rows."""

from __future__ import annotations

import numpy as np

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store
from feature_audit.parity import metric, paired_delta
from feature_audit.search import KPoint


class ValidationJudge:
    """Compares scores with the full model's on the validation rows.

    Args:
        config: names the metric.
        store: holds labels and units.
        full_scores: the full model's scores of the validation rows.
    """

    def __init__(self, config: AuditConfig, store: Store, full_scores: np.ndarray) -> None:
        assert config.metric is not None
        assert config.task is not None
        self.metric, self.full = metric(config.metric, config.task), full_scores
        self.target, self.unit = store.target("validation"), store.group("validation")

    def point(self, k: int, scores: np.ndarray) -> KPoint:
        """Quality at one K, from scores of all validation rows."""
        delta, error = paired_delta(self.metric, y=self.target, baseline=self.full, pruned=scores, unit=self.unit)
        return KPoint(k, self.metric.value(self.target, scores, self.unit), delta, error)


def error_ratio(prepared: Prepared) -> float:
    """Expected standard error on test over that on all validation rows."""
    return float((prepared.rows["validation"] / max(prepared.rows["test"], 1)) ** 0.5)

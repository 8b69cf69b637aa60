"""Quality at a given K compared with the full model, on the same validation rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from feature_audit.data import Store
from feature_audit.noninferiority import metric, paired_delta
from feature_audit.noninferiority.metrics import Metric
from feature_audit.results import CurvePoint


@dataclass(frozen=True)
class _Compared:
    """The metric of one target and the rows that have its label; ``place`` of its scores, None for a single target."""

    metric: Metric
    place: int | None
    rows: np.ndarray
    target: np.ndarray
    full: np.ndarray
    cluster: np.ndarray | None
    weight: np.ndarray | None

    def change(self, scores: np.ndarray) -> tuple[float, float]:
        """Difference in quality and its standard error, from the scores of all validation rows."""
        return paired_delta(
            self.metric,
            y=self.target,
            baseline=self.full,
            pruned=self.own(scores),
            cluster=self.cluster,
            weight=self.weight,
        )

    def own(self, scores: np.ndarray) -> np.ndarray:
        """The scores of this target for its rows."""
        return (scores if self.place is None else scores[:, self.place])[self.rows]


class ValidationComparison:
    """Compares scores with those of the full model on the validation rows.

    Args:
        metric_name: the decision metric.
        store: provides labels, groups and the task.
        full_scores: scores of the full model for the validation rows, as returned by ``feature_audit.models.predict``.
        further: secondary target -> metric and margin, for the targets that a pass requires.
    """

    def __init__(
        self,
        metric_name: str,
        store: Store,
        full_scores: np.ndarray,
        further: Mapping[str, tuple[str, float]] | None = None,
    ) -> None:
        self._store, self._full = store, full_scores
        outputs, further = store.schema.outputs, further or {}
        self._decision = self._compared(metric(metric_name, store.schema.task), 0 if outputs else None)
        self._others = {
            one.name: (self._compared(metric(further[one.name][0], one.task), place), further[one.name][1])
            for place, one in enumerate(outputs)
            if one.name in further
        }

    def point(self, k: int, scores: np.ndarray, source: str) -> CurvePoint:
        """Quality at one K, from the scores of all validation rows."""
        own = self._decision
        delta, error = own.change(scores)
        value = own.metric.value(own.target, own.own(scores), own.cluster, own.weight)
        others = {name: (*one.change(scores), margin) for name, (one, margin) in self._others.items()}
        return CurvePoint(k, value, delta, source, error, others)

    def _compared(self, judge: Metric, place: int | None) -> _Compared:
        store = self._store
        target = store.target("validation") if place is None else store.targets("validation")[:, place]
        rows = np.flatnonzero(~np.isnan(target))
        cluster, weight = (
            None if values is None else values[rows]
            for values in (store.group("validation"), store.weight("validation"))
        )
        full = (self._full if place is None else self._full[:, place])[rows]
        return _Compared(judge, place, rows, target[rows], full, cluster, weight)

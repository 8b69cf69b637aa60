"""Comparison of two models on the same rows without a verdict; the selection uses it on validation."""

from __future__ import annotations

import numpy as np

from feature_audit.noninferiority.clusters import cluster_codes
from feature_audit.noninferiority.components import row_variance
from feature_audit.noninferiority.metrics import Metric, Sample, measured


def paired_delta(
    metric: Metric,
    *,
    y: np.ndarray,
    baseline: np.ndarray,
    pruned: np.ndarray,
    cluster: np.ndarray | None = None,
    weight: np.ndarray | None = None,
) -> tuple[float, float]:
    """Difference of quality (pruned - baseline, higher is better) and its standard error over clusters.

    Args:
        metric: metric of the comparison.
        y: (rows,) labels.
        baseline, pruned: (rows,) or (rows, classes) scores.
        cluster: (rows,) user of each row; None = each row is a unit.
        weight: (rows,) > 0; None = 1 each.
    """
    codes, n_clusters = cluster_codes(cluster, len(y))
    samples = (
        Sample(np.asarray(y), np.asarray(scores, dtype=np.float64), codes, n_clusters, weight)
        for scores in (baseline, pruned)
    )
    (full, small), influence = measured(metric, samples, 2)
    variance, _ = row_variance(influence[1] - influence[0])
    return float(metric.quality(small) - metric.quality(full)), float(np.sqrt(variance))

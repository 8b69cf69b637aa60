"""Row weights: how many rows a row represents in losses and metrics. It remains a single observation."""

from __future__ import annotations

import numpy as np


def sampled_negatives(positive: np.ndarray, rate: float) -> np.ndarray:
    """Weights of a log whose negatives were kept at ``rate``: 1 for a positive, 1 / rate for a negative.

    Args:
        positive: (rows,) 0 or 1.
        rate: share of the negatives that the log has, above 0 and at most 1.
    """
    return np.where(np.asarray(positive) > 0, 1.0, 1.0 / rate)


def effective_size(weight: np.ndarray) -> float:
    """Effective sample size ``(sum w)^2 / sum w^2`` (Kish 1965), for values that do not depend on their weights.

    Args:
        weight: (n,) >= 0, at least one above.
    """
    relative = np.asarray(weight, dtype=np.float64) / np.max(weight)
    return float(relative.sum() ** 2 / (relative**2).sum())

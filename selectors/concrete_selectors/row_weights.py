"""Per-row losses with row weights."""

from __future__ import annotations

from torch import Tensor


def weighted(losses: Tensor, weight: Tensor | None) -> Tensor:
    """Losses (..., B) times the rows' weights (B,); None = 1 each."""
    return losses if weight is None else losses * weight


def weighted_mean(losses: Tensor, weight: Tensor | None) -> Tensor:
    """Mean () of losses (B,), each row with its weight (B,); None = 1 each."""
    return losses.mean() if weight is None else (losses * weight).sum() / weight.sum()

"""Recalibration in the large: the intercept of a network's outputs on rows from another period."""

from __future__ import annotations

import torch
from torch import Tensor

from concrete_selectors.protocols import Loss
from concrete_selectors.row_weights import weighted_mean


def fit_intercept(logits: Tensor, target: Tensor, loss: Loss, weight: Tensor | None = None) -> Tensor:
    """The intercept that minimises the mean loss when it is added to all logits.

    Base rates drift between train and held-out rows: fewer clicks, shorter histories, higher prices. A feature that
    drifts too (days since some event) then shifts all outputs. The shift can cost more loss than the feature saves by
    telling rows apart, so that a useful feature would look useless. With this intercept, log loss is calibrated in the
    large (Cox 1958) and squared error has no bias.

    Args:
        logits: (R,), or (R, C) with an intercept per class.
        target: (R,), as the loss takes it.
        loss: per-row loss, convex in the logits (if it is not and the optimiser fails, the intercept is zero).
        weight: (R,) row weights; None = 1 each.

    Returns:
        () or (C,), in the dtype of the logits.
    """
    logits = logits.detach()
    spread = logits.std(dim=0, correction=0).clamp_min(1e-6)
    shift = torch.zeros_like(spread, requires_grad=True)
    optimizer = torch.optim.LBFGS([shift], line_search_fn="strong_wolfe")

    def mean_loss() -> Tensor:
        optimizer.zero_grad()
        value = weighted_mean(loss(logits + shift * spread, target), weight)
        value.backward()
        return value

    with torch.enable_grad():
        before = optimizer.step(mean_loss)
    found = shift.detach() * spread
    with torch.no_grad():
        better = bool(weighted_mean(loss(logits + found, target), weight) <= before)
    return found if better else torch.zeros_like(found)

"""Recalibration in the large: the intercept of a network's outputs on rows of another time."""

from __future__ import annotations

import torch
from torch import Tensor

from concrete_selectors.protocols import Loss
from concrete_selectors.row_weights import weighted_mean


def fit_intercept(logits: Tensor, target: Tensor, loss: Loss, weight: Tensor | None = None) -> Tensor:
    """The intercept that, added to the logits of all rows, makes their mean loss least.

    Between train and held-out rows base rates move: fewer clicks, shorter histories, higher prices. A feature that
    moves along (days since something) then puts the outputs at the wrong level, which costs more loss than all that
    the feature knows of one row against another, and it would look worthless. With this intercept a log-loss is
    calibrated in the large (Cox 1958), a squared error has no bias.

    Args:
        logits: (R,), or (R, C) with an intercept per class.
        target: (R,), as the loss takes it.
        loss: per-row loss, convex in the logits (if it is not and the search fails, the intercept is zero).
        weight: (R,) of the rows; None = 1 each.

    Returns:
        () or (C,), of the logits' dtype.
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

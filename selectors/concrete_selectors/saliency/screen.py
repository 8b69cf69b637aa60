"""What the trained network says about its units before any selector is trained."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from concrete_selectors.context import Run
from concrete_selectors.saliency.brain_surgeon import contributions, fit, removal_order

#: Most units that the surgeon solves for at once; of more, those with the steepest gates.
_MOST_UNITS = 1_024


def surgeon_order(run: Run, *, at_least: int = 1) -> np.ndarray:
    """Groups that the surgeon looked at, best first, always-kept ones in front.

    Args:
        run: its network is expanded at open gates, on half of the validation rows (and train rows, if these are few).
        at_least: how many units to give, if there are as many.

    Returns:
        (u,) int64; all units, or of more than 1,024 the steepest: solved for, and where more are asked for, behind
        them the next steepest as they are.
    """
    units = run.units.n_units
    every = torch.ones(units, device=run.network.device)
    with run.saliency_judge() as judge:
        looked_at, rest = np.arange(units), np.empty(0, dtype=np.int64)
        if units > _MOST_UNITS:
            steepness = np.where(run.units.protected, np.inf, judge.slopes())
            steepest = np.argsort(-steepness, kind="stable")
            looked_at, rest = np.sort(steepest[:_MOST_UNITS]), steepest[_MOST_UNITS : max(at_least, _MOST_UNITS)]
        surgery = fit(contributions(judge, every, looked_at), run.network.loss)
    run.solver_work += surgery.work / 3  # forward and backward make three multiply-adds per parameter
    gone = looked_at[removal_order(surgery, fixed=run.units.protected[looked_at], down_to=1)]
    kept: np.ndarray = np.setdiff1d(looked_at, gone)
    return np.concatenate([kept, gone[::-1], rest])


def logit_prior(run: Run, order: np.ndarray) -> Tensor:
    """Offsets of the logits, (U,): 0 for the first ``k_max`` units of the surgeon's order, below for the others.

    The logit_prior grows with the logarithm of the place in the order. It says where to look first, not what to choose:
    training moves logits by far more.
    """
    place = np.full(run.units.n_units, len(order))
    place[order] = np.arange(len(order))
    distance = np.log(np.maximum(place + 1, run.k_max) / run.k_max)
    return torch.as_tensor(-run.settings.prior_strength * distance, dtype=torch.float32)

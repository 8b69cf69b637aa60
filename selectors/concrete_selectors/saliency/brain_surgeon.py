"""What would the model lose without a unit, were the others free to make up for it? Optimal Brain Surgeon on gates.

To first order, a network's logits are a sum of contributions of its units, ``s_n(x) = dlogit / dgate_n`` (the gradient
at the embedding times its distance from the field's mean). That sum with one weight per unit, ``b + sum_n w_n s_n(x)``,
is a generalised linear model, and in such a model the rise of the loss on removing a unit *and refitting the weights
of the others* has a closed form: ``w_n^2 / (2 [H^-1]_nn)`` (Hassibi and Stork 1993, eq. 5; there for the weights of a
network, here for its gates). A copy therefore costs nothing as long as its original stays, which no ranking by
gradients or gains can know. One backward pass per row and one matrix inverse give the removal order of all units.

What the expansion cannot know: two units that only matter as a product have the same contribution, and look like copies
of each other. So the order is a start for the selector, and the elimination has the last word.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from concrete_selectors.gates.evaluation import GatedEvaluator
from concrete_selectors.gates.gating import apply_gates
from concrete_selectors.protocols import Loss

#: Newton steps of the weights, halvings of a step that overshoots, and the change at which weights have settled.
_STEPS, _HALVINGS, _SETTLED = 10, 5, 1e-2
#: Most numbers of all contributions; beyond, fewer rows are taken.
_MOST_NUMBERS = 2**26
#: Below this share of units left, the matrices are cut down to them.
_COMPACT = 0.8


@dataclass(frozen=True)
class Contributions:
    """First-order contributions of units to logits.

    Attributes:
        values: (R, C, U) float64, centred over rows.
        target: (R, ...), as the loss takes it.
        logits: (R, C) float64, the network's own.
        one_logit: does the network give (B,) rather than (B, C)?
    """

    values: Tensor
    target: Tensor
    logits: Tensor
    one_logit: bool


@dataclass(frozen=True)
class GateHessian:
    """A fitted sum of contributions, ready for removals.

    Attributes:
        weights: (U,) float64, one = as in the network.
        covariance: (U, U) float64, inverse Hessian of the loss in the weights, intercepts refitted.
        work: multiply-adds of the fit.
    """

    weights: np.ndarray
    covariance: np.ndarray
    work: float


def contributions(judge: GatedEvaluator, gates: Tensor, units: np.ndarray) -> Contributions:
    """Contributions of some units on the judge's rows; one backward pass per logit and row.

    Args:
        judge: network and rows.
        gates: (U,) unit gates at which the network is expanded.
        units: (u,) int64, whose contributions to take.
    """
    network, means = judge.network, judge.network.field_means()
    opened = network.units.feature_gates(gates)
    index = torch.as_tensor(units, device=gates.device)
    values: list[Tensor] = []
    targets: list[Tensor] = []
    outputs: list[Tensor] = []
    numbers, one_logit = 0, True
    for part, embedded in judge.embedded():
        gated = apply_gates(embedded, opened, means).requires_grad_(True)
        logits = network.module.predict(gated)
        one_logit = logits.dim() == 1
        flat = logits.reshape(len(embedded), -1)
        moved = opened.unsqueeze(-1) * (embedded - means)
        each = []
        for number in range(flat.shape[1]):
            last = number == flat.shape[1] - 1
            (slope,) = torch.autograd.grad(flat[:, number].sum(), gated, retain_graph=not last)
            each.append(network.units.sum_features((slope * moved).sum(dim=-1)).index_select(1, index))
        judge.backward_rows += len(embedded) * flat.shape[1]
        values.append(torch.stack(each, dim=1))
        targets.append(part.target)
        outputs.append(flat.detach())
        numbers += values[-1].numel()
        if numbers > _MOST_NUMBERS:
            break
    together = torch.cat(values).double()
    return Contributions(together - together.mean(dim=0), torch.cat(targets), torch.cat(outputs).double(), one_logit)


def fit(parts: Contributions, loss: Loss) -> GateHessian:
    """Fits one weight per unit by Newton's method, as likely to be one (the network's own) give or take one.

    The prior ``w ~ N(1, 1)`` is what keeps units of tiny contributions and near copies in check. Losses need not be
    log-likelihoods: the prior is scaled by their dispersion behind the network's own logits, mean squared slope over
    mean curvature, which is one for a calibrated log-loss and twice the noise variance for a squared error.

    Args:
        parts: of U units on R rows with C logits.
        loss: per-row loss; one without curvature (absolute error) is given curvature one.
    """
    units, device = parts.values.shape[2], parts.values.device
    slopes, bends = _derivatives(parts, parts.logits, loss)
    dispersion = float(slopes.square().sum() / bends.diagonal(dim1=1, dim2=2).sum())
    penalty = torch.full((units + parts.logits.shape[1],), 1e-6 * dispersion, dtype=torch.float64, device=device)
    penalty[:units] = dispersion
    state = torch.cat([torch.ones(units, dtype=torch.float64, device=device), parts.logits.mean(dim=0)])
    centre = state.clone()

    def value(at: Tensor) -> float:
        return float(_loss(parts, _logits(parts, at), loss) + (penalty * (at - centre).square()).sum() / 2)

    work, before = 0.0, value(state)
    for _ in range(_STEPS):
        slope, hessian = _assemble(parts, *_derivatives(parts, _logits(parts, state), loss))
        hessian += torch.diag(penalty)
        step = torch.linalg.solve(hessian, slope + penalty * (state - centre))
        work += parts.values.numel() * (units + 2) + units**3 / 3
        for _ in range(_HALVINGS):
            after = value(state - step)
            if after <= before:
                break
            step = step / 2
        state, before = state - step, after
        if bool(step.abs().max() < _SETTLED):
            break
    covariance = torch.linalg.inv(hessian)[:units, :units]
    return GateHessian(state[:units].cpu().numpy(), covariance.cpu().numpy(), work + units**3)


def _logits(parts: Contributions, state: Tensor) -> Tensor:
    """(R, C) from weights and intercepts (U + C,)."""
    units = parts.values.shape[2]
    return parts.values @ state[:units] + state[units:]


def _loss(parts: Contributions, logits: Tensor, loss: Loss) -> Tensor:
    return loss(logits.squeeze(1) if parts.one_logit else logits, parts.target).sum()


def _derivatives(parts: Contributions, logits: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
    """First (R, C) and second (R, C, C) derivatives of the loss in the logits."""
    at = logits.detach().requires_grad_(True)
    with torch.enable_grad():
        (first,) = torch.autograd.grad(_loss(parts, at, loss), at, create_graph=True)
        rows = []
        for number in range(at.shape[1]):
            row = None
            if first.requires_grad:
                (row,) = torch.autograd.grad(first[:, number].sum(), at, retain_graph=True, allow_unused=True)
            rows.append(torch.zeros_like(at) if row is None else row)
    second = torch.stack(rows, dim=1).detach()
    if not bool(second.diagonal(dim1=1, dim2=2).sum() > 1e-12 * len(at)):
        second = torch.eye(at.shape[1], dtype=at.dtype, device=at.device).expand_as(second)
    return first.detach(), second


def _assemble(parts: Contributions, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Slope (U + C,) and Hessian (U + C, U + C) of the summed loss in weights and intercepts."""
    _, outputs, units = parts.values.shape
    bent = second @ parts.values  # (R, C, U)
    slope = torch.cat([torch.einsum("rcu,rc->u", parts.values, first), first.sum(dim=0)])
    hessian = torch.empty(units + outputs, units + outputs, dtype=first.dtype, device=first.device)
    hessian[:units, :units] = parts.values.flatten(0, 1).T @ bent.flatten(0, 1)
    hessian[units:, :units] = bent.sum(dim=0)
    hessian[:units, units:] = hessian[units:, :units].T
    hessian[units:, units:] = second.sum(dim=0)
    return slope, hessian


def removal_order(surgery: GateHessian, *, fixed: np.ndarray, down_to: int) -> np.ndarray:
    """Removes the cheapest unit, refits the others, and so on.

    Args:
        surgery: of U units.
        fixed: (U,) bool, units that may not go.
        down_to: units left at the end, or all that are fixed.

    Returns:
        (g,) int64, the removed units in the order they went.
    """
    weights, covariance, held = surgery.weights.copy(), surgery.covariance.copy(), fixed.copy()
    place = np.arange(len(weights))
    here = np.ones(len(weights), dtype=bool)
    gone: list[int] = []
    while len(fixed) - len(gone) > down_to and not (held | ~here).all():
        cost = np.where(here & ~held, weights**2 / np.maximum(np.diag(covariance), 1e-300), np.inf)
        unit = int(cost.argmin())
        gone.append(int(place[unit]))
        here[unit] = False
        pull = covariance[:, unit] / covariance[unit, unit]
        weights -= pull * weights[unit]
        covariance -= np.outer(pull, covariance[unit])
        if here.mean() < _COMPACT:
            weights, held, place = weights[here], held[here], place[here]
            covariance = covariance[np.ix_(here, here)]
            here = np.ones(len(weights), dtype=bool)
    return np.array(gone, dtype=np.int64)

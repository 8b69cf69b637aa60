"""Baseline rankers that use the trained network: shuffled features, gradients, or learned gates.

Each ranker takes a ``concrete_selectors.context.SelectionContext``, may train its network, and returns one score per
group, (G,) float64, higher is better. A unit is a group.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from concrete_selectors.context import SelectionContext
from concrete_selectors.row_weights import weighted

#: The penalty on open gates grows geometrically over this range; a penalty of 1 per unit equals the first batch's loss.
_PENALTIES = (0.003, 30.0)
#: Rounds of Sequential Attention; with more slots than rounds, several units are selected per round.
_ROUNDS = 16
#: Minimum number of steps per round; short trainings have fewer rounds.
_ROUND_STEPS = 10
_STG_SIGMA = 0.5


def permutation(context: SelectionContext) -> np.ndarray:
    """Increase of the validation loss when a unit's embeddings are shuffled within each batch (Breiman 2001)."""
    network = context.network
    network.module.eval()
    segments = network.flat.segments
    total = np.zeros(context.groups.n_groups)
    rows = 0
    with torch.no_grad():
        for batch, target in context.task.validation(0):
            embedded = network.embed(batch)
            weight = network.weights(batch)
            base = float(weighted(network.loss(network.flat.predict(embedded), target), weight).sum())
            order = torch.randperm(len(embedded), generator=context.generator, device=network.device)
            for unit in range(context.groups.n_groups):
                own = segments.columns(context.groups.features([unit]))
                columns = torch.as_tensor(own, device=network.device)
                shuffled = embedded.clone()
                shuffled[:, columns] = embedded[order[:, None], columns]
                losses = weighted(network.loss(network.flat.predict(shuffled), target), weight)
                total[unit] += float(losses.sum()) - base
            rows += len(target)
    context.network.forward_rows += rows * (context.groups.n_groups + 1)
    return total / max(rows, 1)


def gradient(context: SelectionContext) -> np.ndarray:
    """Mean over rows of ``|dLoss/dgate|`` at open gates: SHARK's first-order Taylor term of closing it, unsigned."""
    return context.held_out().slopes()


def l1_gates(context: SelectionContext) -> np.ndarray:
    """One gate per unit under a growing L1 penalty (as in AutoField and LPFS); scores how long a gate stays open."""
    gates = torch.ones(context.groups.n_groups, device=context.network.device, requires_grad=True)

    def draw(_: int) -> tuple[Tensor, Tensor]:
        return gates.unsqueeze(0), gates.abs().sum()

    return _penalty_path(context, gates, draw)


def stg(context: SelectionContext) -> np.ndarray:
    """Stochastic gates ``clip(mu + sigma * e, 0, 1)`` (Yamada et al. 2020, eq. 6) under a growing penalty.

    The penalty is the expected number of open gates, ``sum Phi(mu / sigma)``; the score is how long a gate stays open.
    """
    centre = torch.full((context.groups.n_groups,), 0.5, device=context.network.device, requires_grad=True)

    def draw(n_masks: int) -> tuple[Tensor, Tensor]:
        noise = torch.randn(n_masks, len(centre), generator=context.generator, device=centre.device)
        return (centre + _STG_SIGMA * noise).clamp(0, 1), torch.special.ndtr(centre / _STG_SIGMA).sum()

    return _penalty_path(context, centre, draw)


def _penalty_path(context: SelectionContext, gates: Tensor, draw: Callable[[int], tuple[Tensor, Tensor]]) -> np.ndarray:
    """Train gates and network while the penalty grows; return the mean over steps of each gate's clipped value."""
    steps = context.training_steps
    optimizer = torch.optim.Adam([gates], lr=min(0.1, 6.0 / steps))
    always = torch.as_tensor(context.groups.protected, device=context.network.device, dtype=torch.float32)
    first, last = (math.log(penalty) for penalty in _PENALTIES)
    total = torch.zeros(len(gates), dtype=torch.float64, device=gates.device)
    scale: float | None = None
    context.network.module.train()
    for step in range(steps):
        batch, target = next(context.stream)
        values, penalty = draw(context.settings.noise_masks)
        loss = context.network.gated_loss(batch, target, torch.maximum(values, always))
        scale = float(loss.detach()) / len(gates) if scale is None else scale
        weight = scale * math.exp(first + (last - first) * step / max(steps - 1, 1))
        context.network.step(loss + weight * penalty, optimizer)
        with torch.no_grad():
            gates.clamp_(-1.0, 2.0)
            total += gates.clamp(0, 1)
        context.report("gates", step=step + 1, steps=steps, loss=float(loss.detach()))
    return (total / steps).cpu().numpy()


def sequential_attention(context: SelectionContext) -> np.ndarray:
    """Sequential Attention (Yasuda et al. 2023): softmax attention over the remaining units; each round selects the
    best.

    Attention is scaled so that a unit of average attention passes unchanged, as in the trained network; gates never
    exceed 1. Units are selected in at most 16 rounds; a unit's score is the round in which it was selected, then its
    attention.
    """
    units, device = context.groups.n_groups, context.network.device
    taken = torch.as_tensor(context.groups.protected, device=device).clone()
    excluded = torch.as_tensor(context.groups.excluded, device=device)
    slots = context.k_max - int(taken.sum())
    total = context.training_steps
    rounds = max(1, min(_ROUNDS, slots, total // _ROUND_STEPS))
    steps = max(1, total // rounds)
    scores = np.zeros(units)
    context.network.module.train()
    for number in range(rounds):
        free = ~(taken | excluded)
        attention = torch.zeros(units, device=device, requires_grad=True)
        optimizer = torch.optim.Adam([attention], lr=min(0.5, 10.0 / steps))
        for _ in range(steps):
            batch, target = next(context.stream)
            open_share = torch.softmax(attention.masked_fill(~free, -torch.inf), dim=0) * free.sum()
            # Not clamp_max: training starts at 1.0 exactly, where its gradient depends on torch's version.
            gates = torch.where(taken | (open_share > 1), torch.ones_like(open_share), open_share)
            context.network.step(context.network.gated_loss(batch, target, gates.unsqueeze(0)), optimizer)
        values = attention.detach().masked_fill(~free, -torch.inf)
        count = slots * (number + 1) // rounds - slots * number // rounds
        best = torch.topk(values, count).indices
        share = torch.softmax(values, dim=0).double().cpu().numpy()
        scores[best.cpu().numpy()] = rounds - number + share[best.cpu().numpy()]
        taken[best] = True
        context.report("attention", step=number + 1, steps=rounds)
    left = (~(taken | excluded)).cpu().numpy()
    scores[left] = share[left] if slots else 0.0
    return scores

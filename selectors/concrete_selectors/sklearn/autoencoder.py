"""The papers' architecture: K slots read a row, and the decoder sees only the slots."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from concrete_selectors.gates.concrete import ConcreteSelector, generalized_jensen_shannon
from concrete_selectors.gates.gating import rows_to_groups
from concrete_selectors.gates.schedule import temperature
from concrete_selectors.gates.training import settle_step
from concrete_selectors.protocols import Loss

#: Masks per batch: one for all rows, one per group of rows, or one per row.
Noise = int | Literal["batch", "row"]


@dataclass(frozen=True, kw_only=True)
class SlotSettings:
    """Training of slots and decoder.

    Attributes:
        epochs: passes over the rows.
        batch_size: rows per step; the last batch may be smaller.
        temperature_start, temperature_end, anneal_share: see ``concrete_selectors.temperature``.
        learning_rate: Adam learning rate of the decoder.
        selector_learning_rate: Adam learning rate of the selector; None = derived from the number of steps.
        noise: ``batch`` (CAE), ``row`` (IP-CAE), or the number of groups of rows with one mask each.
        diversity: weight of the generalised Jensen-Shannon divergence of the slots, subtracted from the loss.
        seed: seed of row order, noise and initial weights.
    """

    epochs: int
    batch_size: int
    temperature_start: float
    temperature_end: float
    anneal_share: float
    learning_rate: float
    selector_learning_rate: float | None
    noise: Noise
    diversity: float
    seed: int

    def steps(self, rows: int) -> int:
        """Optimiser steps on a table of ``rows`` rows."""
        return self.epochs * math.ceil(rows / self.batch_size)

    def rate(self, selector: ConcreteSelector, rows: int) -> float:
        """Adam learning rate of the selector on a table of ``rows`` rows."""
        given = self.selector_learning_rate
        return selector.learning_rate(settle_step(self.steps(rows))) if given is None else given


def decoder(n_slots: int, hidden: tuple[int, ...], n_outputs: int) -> nn.Sequential:
    """K - hidden - out with LayerNorm and LeakyReLU(0.2), as in the IP-CAE experiments."""
    layers: list[nn.Module] = []
    inputs = n_slots
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.LayerNorm(width), nn.LeakyReLU(0.2)]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, n_outputs))


def select(x: Tensor, masks: Tensor) -> Tensor:
    """Slots ``u = M x`` (B, K) of rows (B, N) under masks (S, K, N), S contiguous groups of rows."""
    if len(masks) == 1:
        return x @ masks[0].T
    rows, groups = len(x), len(masks)
    if rows % groups == 0:
        return torch.bmm(x.view(groups, rows // groups, -1), masks.transpose(1, 2)).flatten(0, 1)
    group = rows_to_groups(rows, groups, x.device)
    return torch.cat([x[group == number] @ mask.T for number, mask in enumerate(masks)])


def train_slots(
    selector: ConcreteSelector,
    head: nn.Module,
    x: Tensor,
    target: Tensor,
    *,
    loss: Loss,
    settings: SlotSettings,
) -> float:
    """Train selector and decoder together while the temperature falls.

    Args:
        selector, head: changed in place.
        x: (rows, N) float.
        target: (rows, ...), as ``loss`` expects it.
        loss: per-row loss from ``head``'s outputs and targets.
        settings: settings of the training.

    Returns:
        Mean loss of the last epoch, noise included.
    """
    generator = torch.Generator(device=x.device).manual_seed(settings.seed)
    steps = settings.steps(len(x))
    rate = settings.rate(selector, len(x))
    groups = [
        {"params": list(head.parameters()), "lr": settings.learning_rate},
        {"params": list(selector.parameters()), "lr": rate},
    ]
    optimizer = torch.optim.Adam(groups)
    step, total = 0, 0.0
    for _ in range(settings.epochs):
        total = 0.0
        for index in torch.randperm(len(x), generator=generator, device=x.device).split(settings.batch_size):
            tau = temperature(
                step,
                steps=steps,
                start=settings.temperature_start,
                end=settings.temperature_end,
                share=settings.anneal_share,
            )
            n_masks = {"batch": 1, "row": len(index)}.get(str(settings.noise), settings.noise)
            masks = selector.masks(tau, min(int(n_masks), len(index)), generator=generator)
            value = loss(head(select(x[index], masks)), target[index]).mean()
            total += float(value.detach()) * len(index)
            if settings.diversity:
                spread = generalized_jensen_shannon(functional.softmax(selector.logits(), dim=-1))
                value = value - settings.diversity * spread
            if not torch.isfinite(value):
                raise ValueError(f"loss={float(value.detach())}: training diverged; lower learning_rate={rate:g}")
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            optimizer.step()
            step += 1
    return total / len(x)

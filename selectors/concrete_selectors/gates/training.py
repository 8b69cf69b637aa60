"""Training of a network behind gates: the concrete phase, and brief fine-tuning on subsets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from concrete_selectors.gates.concrete import ConcreteSelector
from concrete_selectors.gates.feature_groups import FeatureGroups
from concrete_selectors.gates.gating import FieldMeans, apply_gates, gates_of_rows
from concrete_selectors.gates.schedule import temperature
from concrete_selectors.protocols import Batches, Loss, TeacherProtocol
from concrete_selectors.settings import PathSettings

#: Logit movement per step of a selector with P = 256 and learning rate one.
_REFERENCE_SPEED = 0.8 * 256
#: Total logit movement (movement per step x steps) within which concrete training settles (measured: 80 to 350).
_TRAVEL = 120.0


class Stream:
    """Endless train batches, epoch after epoch; counts the rows it hands out."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self._epoch = 0
        self._iterator: Iterator[tuple[Any, Tensor]] = iter(())
        self.rows = 0

    def __iter__(self) -> Iterator[tuple[Any, Tensor]]:
        return self

    def __next__(self) -> tuple[Any, Tensor]:
        for _ in range(2):
            for batch, target in self._iterator:
                self.rows += len(target)
                return batch, target
            self._iterator = iter(self._batches(self._epoch))
            self._epoch += 1
        raise ValueError("train: gave no batch; selection needs at least one row")


@dataclass
class GatedNetwork:
    """The copy of the user's model that is trained behind gates, with what training it needs.

    Attributes:
        module: the copied model.
        loss: per-row loss.
        units: what gates are shared by.
        means: field means that closed gates feed.
        optimizer: of the module's parameters; lives over all phases.
        device: where the module is.
        expected: what the user's own, trained model expects of rows; None = nobody said how to tell.
    """

    module: Any
    loss: Loss
    units: FeatureGroups
    means: FieldMeans
    optimizer: torch.optim.Optimizer
    device: torch.device
    expected: TeacherProtocol | None = None

    def gated_loss(self, batch: Any, target: Tensor, gates: Tensor, *, trust: float = 0.0) -> Tensor:
        """Mean loss of a batch whose rows, in contiguous groups, see the given unit gates (S, U).

        ``trust`` is the share of what the user's model expects in it; the labels have the rest, or all where the model
        cannot be asked.
        """
        embedded = self.module.embed(batch)
        rows = gates_of_rows(self.units.feature_gates(gates), len(target))
        logits = self.module.predict(apply_gates(embedded, rows, self.means.update(embedded)))
        by_label = self.loss(logits, target).mean()
        if self.expected is None or trust == 0:
            return by_label
        return (1 - trust) * by_label + trust * self.loss(logits, self.expected(batch, None)).mean()

    def field_means(self) -> Tensor:
        """Mean embedding of every field, (N, d).

        Raises:
            RuntimeError: no batch was seen yet.
        """
        if self.means.value is None:
            raise RuntimeError("field means are needed before anything is gated; call means.refresh first")
        return self.means.value

    def step(self, loss: Tensor, *others: torch.optim.Optimizer) -> None:
        """One step of the network's optimiser and the others along a loss.

        Raises:
            ValueError: the loss is NaN or inf.
        """
        if not torch.isfinite(loss):
            value = float(loss.detach())
            raise ValueError(f"loss={value}: training diverged; lower the learning rates or look for NaN in the data")
        for optimizer in (self.optimizer, *others):
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in (self.optimizer, *others):
            optimizer.step()


def logit_step(settings: PathSettings, steps: int) -> float:
    """How far one optimiser step should move a logit, whatever N, P and the length of the training."""
    if settings.learning_rate is not None:
        return _REFERENCE_SPEED * settings.learning_rate
    return settings.speed * settle_step(steps)


def settle_step(steps: int) -> float:
    """Movement per step that lets logits travel far enough in the given number of steps."""
    return min(max(_TRAVEL / steps, 0.02), 1.0)


def train_concrete(
    network: GatedNetwork,
    selector: ConcreteSelector,
    stream: Stream,
    *,
    settings: PathSettings,
    steps: int,
    generator: torch.Generator,
    report: Callable[[dict[str, Any]], None],
) -> None:
    """Trains selector and network together while the temperature falls.

    Args:
        network: warm-started copy of the model; changed in place.
        selector: changed in place.
        stream: endless train batches.
        settings: temperatures, rates, masks.
        steps: optimiser steps.
        generator: of noise and slot counts, on the network's device.
        report: called once per step with ``step``, ``temperature``, ``loss``.
    """
    rate = selector.learning_rate(logit_step(settings, steps))
    optimizer = torch.optim.Adam(selector.parameters(), lr=rate)
    always = torch.as_tensor(network.units.protected, device=network.device, dtype=torch.float32)
    network.module.train()
    for step in range(steps):
        batch, target = next(stream)
        tau = temperature(
            step,
            steps=steps,
            start=settings.temperature_start,
            end=settings.temperature_end,
            share=settings.anneal_share,
        )
        slots = nested_slots(settings, selector.n_slots, generator) if settings.nested else None
        gates = selector.gates(tau, settings.noise_masks, slots=slots, generator=generator)
        gates = torch.maximum(gates, always)
        loss = network.gated_loss(batch, target, gates)
        network.step(loss, optimizer)
        report({"step": step + 1, "steps": steps, "temperature": tau, "loss": float(loss.detach())})


def nested_slots(settings: PathSettings, n_slots: int, generator: torch.Generator) -> Tensor:
    """(S, K) of 0 / 1: even masks use all slots, odd ones the first k, k log-uniform in [1, K]."""
    device = generator.device
    draws = torch.rand(settings.noise_masks, device=device, generator=generator)
    counts = torch.exp(draws * math.log(n_slots + 1)).floor().clamp(1, n_slots)
    counts[::2] = n_slots
    return (torch.arange(n_slots, device=device) < counts.unsqueeze(1)).float()


def finetune(network: GatedNetwork, stream: Stream, gates: Tensor, *, trust: float) -> float:
    """One step of the network behind hard unit gates (S, U), each for a group of rows; the loss."""
    network.module.train()
    batch, target = next(stream)
    loss = network.gated_loss(batch, target, gates, trust=trust)
    network.step(loss)
    return float(loss.detach())


def network_optimizer(module: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    """Adam over the module's trainable parameters."""
    return torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=learning_rate)

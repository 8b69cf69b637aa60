"""Training of a network behind gates: the concrete phase, and single steps behind given gates."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from concrete_selectors.embeddings import FlatModel
from concrete_selectors.gates.concrete import ConcreteSelector
from concrete_selectors.gates.feature_groups import FeatureGroups
from concrete_selectors.gates.gating import FieldMeans, apply_gates, gates_of_rows
from concrete_selectors.gates.schedule import temperature
from concrete_selectors.protocols import Batches, Loss, TeacherProtocol, Weights
from concrete_selectors.row_weights import weighted
from concrete_selectors.settings import PathSettings

#: Total logit movement (movement per step x steps) within which concrete training settles (measured: 80 to 350).
_TRAVEL = 120.0


def endless(batches: Batches) -> Iterator[tuple[Any, Tensor]]:
    """Train batches, epoch after epoch.

    Raises:
        ValueError: an epoch has no batch.
    """
    for epoch in itertools.count():
        empty = True
        for batch, target in batches(epoch):
            empty = False
            yield batch, target
        if empty:
            raise ValueError("train: contains no batch; at least one row is required")


@dataclass
class GatedNetwork:
    """A copy of the user's model that is trained behind gates, with its loss, optimiser and row counts.

    Attributes:
        module: the copied model.
        flat: the same, with flat embeddings.
        loss: per-row loss.
        groups: the groups that share a gate.
        means: mean embeddings that closed gates feed.
        optimizer: optimiser of the module's parameters.
        device: device of the module.
        teacher: predictions of the user's trained model; None = labels only.
        weight: row weights of a batch; None = equal weights.
        backward_rows, forward_rows: rows sent through the module so far, forward and backward, and forward only.
    """

    module: Any
    flat: FlatModel
    loss: Loss
    groups: FeatureGroups
    means: FieldMeans
    optimizer: torch.optim.Optimizer
    device: torch.device
    teacher: TeacherProtocol | None = None
    weight: Weights | None = None
    backward_rows: int = 0
    forward_rows: int = 0

    def embed(self, batch: Any) -> Tensor:
        """Embeddings (B, D); those of excluded features are replaced by their mean, so they are never learned from."""
        embedded = self.flat.embed(batch)
        if not self.groups.excluded.any():
            return embedded
        closed = torch.as_tensor(self.groups.excluded[self.groups.of_feature], device=embedded.device)
        return torch.where(self.flat.segments.spread(closed), self.field_means(), embedded)

    def gated(self, embedded: Tensor, gates: Tensor, means: Tensor) -> Tensor:
        """Logits from embeddings (B, D) behind feature gates, (N,) or (B, N)."""
        return self.flat.predict(apply_gates(embedded, gates, means, self.flat.segments))

    def gated_loss(self, batch: Any, target: Tensor, gates: Tensor, *, distillation: float = 0.0) -> Tensor:
        """Mean loss of a batch whose rows, in contiguous groups, see the given group gates (S, G).

        ``distillation`` is the weight of the teacher's predictions; labels get the rest, or all without a teacher.
        """
        embedded = self.embed(batch)
        rows = gates_of_rows(self.groups.feature_gates(gates), len(target))
        logits = self.gated(embedded, rows, self.means.update(embedded))
        self.backward_rows += len(target)
        weight = self.weights(batch)
        by_label = weighted(self.loss(logits, target), weight).mean()
        if self.teacher is None or distillation == 0:
            return by_label
        by_teacher = weighted(self.loss(logits, self.teacher(batch, None)), weight).mean()
        return (1 - distillation) * by_label + distillation * by_teacher

    def weights(self, batch: Any, index: Tensor | None = None) -> Tensor | None:
        """Weights of a batch's rows, or of the rows at ``index`` (int64); None = equal weights."""
        if self.weight is None:
            return None
        found = self.weight(batch)
        return found if index is None else found.index_select(0, index)

    def field_means(self) -> Tensor:
        """Mean embedding of every feature, (D,).

        Raises:
            RuntimeError: no batch was seen yet.
        """
        if self.means.value is None:
            raise RuntimeError("the mean embeddings are not known yet; call means.refresh first")
        return self.means.value

    def step(self, loss: Tensor, *others: torch.optim.Optimizer) -> float:
        """Backpropagate a loss and step the network's optimiser and the others; returns the value of the loss.

        Raises:
            ValueError: the loss is NaN or inf.
        """
        for optimizer in (self.optimizer, *others):
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        value = float(loss.detach())  # after the backward pass is queued: a card waits for the host once per step
        if not math.isfinite(value):
            raise ValueError(f"loss={value}: training diverged; lower the learning rates or check the data for NaN")
        for optimizer in (self.optimizer, *others):
            optimizer.step()
        return value


def settle_step(steps: int) -> float:
    """Logit movement per step, at most 1, that lets the logits settle in the given number of steps."""
    return min(_TRAVEL / steps, 1.0)


def train_concrete(
    network: GatedNetwork,
    selector: ConcreteSelector,
    stream: Iterator[tuple[Any, Tensor]],
    *,
    settings: PathSettings,
    steps: int,
    generator: torch.Generator,
    report: Callable[[dict[str, Any]], None],
) -> None:
    """Train selector and network together while the temperature falls.

    Args:
        network: warm-started copy of the model; changed in place.
        selector: changed in place.
        stream: endless train batches.
        settings: temperatures, rates, masks.
        steps: optimiser steps.
        generator: for noise and slot counts; on the network's device.
        report: called once per step with ``step``, ``steps``, ``temperature``, ``loss``.
    """
    optimizer = torch.optim.Adam(selector.parameters(), lr=selector.learning_rate(settle_step(steps)))
    protected = torch.as_tensor(network.groups.protected, device=network.device, dtype=torch.float32)
    network.module.train()
    for step, (batch, target) in enumerate(itertools.islice(stream, steps)):
        tau = temperature(
            step,
            steps=steps,
            start=settings.temperature_start,
            end=settings.temperature_end,
            share=settings.anneal_share,
        )
        counts = nested_counts(settings.noise_masks, selector.n_slots, generator)
        gates = selector.gates(tau, settings.noise_masks, counts=counts, generator=generator)
        loss = network.gated_loss(batch, target, torch.maximum(gates, protected))
        value = network.step(loss, optimizer)
        report({"step": step + 1, "steps": steps, "temperature": tau, "loss": value})


def nested_counts(n_masks: int, n_slots: int, generator: torch.Generator) -> list[int]:
    """How many slots take part in each mask: all in even ones, in odd ones k, log-uniform in [1, K]."""
    draws = torch.rand(n_masks, device=generator.device, generator=generator)
    counts = torch.exp(draws * math.log(n_slots + 1)).long().clamp(1, n_slots)
    counts[::2] = n_slots
    return counts.tolist()

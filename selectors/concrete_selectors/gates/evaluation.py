"""Fixed rows on which a gated network is evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from concrete_selectors.gates.training import GatedNetwork
from concrete_selectors.row_weights import weighted


@dataclass(frozen=True)
class BatchSlice:
    """Rows of a batch; ``index`` selects them after embedding, None = all."""

    batch: Any
    target: Tensor
    index: Tensor | None


def collect(batches: Iterable[tuple[Any, Tensor]], *, rows: int, of: int | None = None) -> list[BatchSlice]:
    """Take up to ``rows`` rows from the batches: the first ones, or evenly spaced among the first ``of``.

    Args:
        batches: ``(batch, target)`` pairs.
        rows: maximum number of rows to take.
        of: number of rows to spread over, so that a sample reaches the end of ordered data; None = take the first.
    """
    slices: list[BatchSlice] = []
    total = max(rows, of or 0)
    seen = 0
    for batch, target in batches:
        if seen >= total:
            break
        place = torch.arange(seen, seen + len(target), device=target.device).clamp_max(total)
        index = torch.nonzero((place + 1).clamp_max(total) * rows // total > place * rows // total).squeeze(1)
        seen += len(target)
        if len(index) > 0:
            slices.append(BatchSlice(batch, target[index], None if len(index) == len(target) else index))
    return slices


class GatedEvaluator:
    """A network in evaluation mode on fixed rows; the rows it processes are added to the network's counts.

    Args:
        network: used with its current weights.
        slices: the rows.

    Attributes:
        rows: number of rows.
        weight: sum of the row weights; the number of rows if they have none.
    """

    def __init__(self, network: GatedNetwork, slices: list[BatchSlice]) -> None:
        self.network, self.slices = network, slices
        self.rows = sum(len(part.target) for part in slices)
        weights = [network.weights(part.batch, part.index) for part in slices]
        self.weight = float(sum(part.double().sum() for part in weights if part is not None)) or self.rows
        network.module.eval()

    def embedded(self) -> Iterator[tuple[BatchSlice, Tensor]]:
        """Every slice with its embeddings (B, D), detached."""
        for part in self.slices:
            with torch.no_grad():
                embedded = self.network.embed(part.batch)
                embedded = embedded if part.index is None else embedded.index_select(0, part.index)
            yield part, embedded

    def logits(self, embedded: Tensor, gates: Tensor) -> Tensor:
        """Detached logits (B,) or (B, C) behind feature gates (N,)."""
        with torch.no_grad():
            logits = self.network.gated(embedded, gates, self.network.field_means())
        self.network.forward_rows += len(embedded)
        return logits

    def mean_loss(self, groups: np.ndarray) -> float:
        """Mean loss with the given groups open.

        Raises:
            ValueError: the loss is NaN or inf.
        """
        network = self.network
        gates = network.groups.feature_gates(network.groups.mask(groups, network.device))
        total = 0.0
        for part, embedded in self.embedded():
            losses = network.loss(self.logits(embedded, gates), part.target)
            total += float(weighted(losses, network.weights(part.batch, part.index)).double().sum())
        if not np.isfinite(total):
            raise ValueError("validation: the loss is NaN or inf; check targets and features for NaN or inf")
        return total / self.weight

    def slopes(self) -> np.ndarray:
        """Mean over rows of ``|dLoss / dgate|`` at open gates, (G,) float64."""
        network, means = self.network, self.network.field_means()
        total = torch.zeros(network.groups.n_groups, dtype=torch.float64, device=network.device)
        for part, embedded in self.embedded():
            gates = torch.ones(len(embedded), network.groups.n_groups, device=network.device, requires_grad=True)
            logits = network.gated(embedded, network.groups.feature_gates(gates), means)
            losses = weighted(network.loss(logits, part.target), network.weights(part.batch, part.index))
            (slope,) = torch.autograd.grad(losses.sum(), gates)
            total += slope.abs().double().sum(dim=0)
        network.backward_rows += self.rows
        return (total / self.weight).cpu().numpy()

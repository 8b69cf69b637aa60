"""Fixed rows on which a gated network is judged, and the account of what that costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from concrete_selectors.gates.gating import apply_gates
from concrete_selectors.gates.training import GatedNetwork


@dataclass(frozen=True)
class BatchSlice:
    """Some rows of a batch: ``index`` picks them after embedding; None = all."""

    batch: Any
    target: Tensor
    index: Tensor | None

    @property
    def rows(self) -> int:
        """Number of rows picked."""
        return len(self.target)


def collect(batches: Iterable[tuple[Any, Tensor]], *, rows: int, every: int = 1) -> list[BatchSlice]:
    """Takes up to ``rows`` rows from the batches.

    Args:
        batches: ``(batch, target)`` pairs.
        rows: most rows to take.
        every: every n-th row, to reach the whole of ordered data with few rows.
    """
    parts: list[BatchSlice] = []
    left, seen = rows, 0
    for batch, target in batches:
        if left <= 0:
            break
        index = torch.arange(len(target), device=target.device)
        index = index[(index + seen) % every == 0][:left]
        seen += len(target)
        if len(index) > 0:
            parts.append(BatchSlice(batch, target[index], None if len(index) == len(target) else index))
            left -= len(index)
    return parts


@dataclass
class GatedEvaluator:
    """A network in evaluation mode on fixed rows. A context manager: at its end it hands itself to ``done``.

    Attributes:
        network: judged as it is.
        parts: the rows.
        done: called with the judge when its block ends.
        forward_rows: rows sent through the network so far.
        backward_rows: rows sent forward and backward so far.
    """

    network: GatedNetwork
    parts: Sequence[BatchSlice]
    done: Callable[[GatedEvaluator], None] = lambda judge: None
    forward_rows: int = 0
    backward_rows: int = 0

    def __enter__(self) -> GatedEvaluator:
        self.network.module.eval()
        return self

    def __exit__(self, *exception: object) -> None:
        self.done(self)

    @property
    def rows(self) -> int:
        """Rows judged on."""
        return sum(part.rows for part in self.parts)

    def embedded(self) -> Iterator[tuple[BatchSlice, Tensor]]:
        """Every part with its embeddings (B, N, d), detached."""
        for part in self.parts:
            with torch.no_grad():
                embedded = self.network.module.embed(part.batch)
                embedded = embedded if part.index is None else embedded.index_select(0, part.index)
            yield part, embedded

    def logits(self, embedded: Tensor, gates: Tensor) -> Tensor:
        """Detached logits behind feature gates (N,)."""
        with torch.no_grad():
            logits: Tensor = self.network.module.predict(apply_gates(embedded, gates, self.network.field_means()))
        self.forward_rows += len(embedded)
        return logits

    def losses(self, gates: Tensor) -> Tensor:
        """Mean loss behind each row of unit gates (S, U); (S,) float64."""
        feature_gates = self.network.units.feature_gates(gates)
        totals = torch.zeros(len(gates), dtype=torch.float64, device=gates.device)
        for part, embedded in self.embedded():
            for number, row in enumerate(feature_gates):
                totals[number] += self.network.loss(self.logits(embedded, row), part.target).double().sum()
        if not bool(torch.isfinite(totals).all()):
            raise ValueError("validation: its loss is NaN or inf; look for NaN or inf in targets and features")
        return totals / self.rows

    def slopes(self) -> np.ndarray:
        """Mean over rows of ``|dLoss / dgate|`` at open gates, (U,) float64: how much hangs on a unit."""
        network, means = self.network, self.network.field_means()
        total = torch.zeros(network.units.n_units, dtype=torch.float64, device=network.device)
        for part, embedded in self.embedded():
            opened = embedded.requires_grad_(True)
            loss = network.loss(network.module.predict(opened), part.target).sum()
            (slope,) = torch.autograd.grad(loss, opened)
            moves = network.units.sum_features((slope * (opened.detach() - means)).sum(dim=-1))
            total += moves.abs().double().sum(dim=0)
        self.backward_rows += self.rows
        return (total / self.rows).cpu().numpy()

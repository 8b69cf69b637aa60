"""Gates on a model's embeddings: a closed gate feeds the feature's mean embedding, not zero."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from concrete_selectors.embeddings import FlatModel
from concrete_selectors.indexing import take_rows
from concrete_selectors.segments import Segments


class FieldMeans:
    """Running mean of every feature's embedding, detached; it follows the embeddings during training.

    Args:
        enabled: False = closed gates feed zeros, as in the papers.
        momentum: weight of the past in the running mean.

    Attributes:
        value: the mean, (D,), feature after feature; None before the first batch.
    """

    def __init__(self, *, enabled: bool = True, momentum: float = 0.9) -> None:
        self.enabled, self.momentum = enabled, momentum
        self.value: Tensor | None = None

    def update(self, embedded: Tensor) -> Tensor:
        """Update the running mean with a batch (B, D) and return it, (D,)."""
        batch = embedded.detach().mean(dim=0) if self.enabled else torch.zeros_like(embedded[0])
        self.value = batch if self.value is None else torch.lerp(batch, self.value, self.momentum)
        return self.value

    def refresh(self, model: FlatModel, batches: Iterable[tuple[Any, Tensor]]) -> Tensor:
        """Replace the running mean by the exact mean over some batches, with the model's current weights."""
        total: Tensor | None = None
        rows = 0
        with torch.no_grad():
            for batch, _ in batches:
                embedded = model.embed(batch)
                part = embedded.sum(dim=0) if self.enabled else torch.zeros_like(embedded[0])
                total = part if total is None else total + part
                rows += len(embedded)
        if total is None:
            raise ValueError("train: contains no batch; at least one row is required")
        self.value = total / rows
        return self.value


def apply_gates(embedded: Tensor, gates: Tensor, means: Tensor, segments: Segments) -> Tensor:
    """``mean + gate * (embedding - mean)``: a gate of 1 changes nothing, a gate of 0 closes the feature.

    Args:
        embedded: (B, D), feature after feature.
        gates: (N,) for all rows, or (B, N).
        means: (D,).
        segments: positions of the features.
    """
    return means + segments.scale(embedded - means, gates)


def rows_to_groups(n_rows: int, n_groups: int, device: torch.device) -> Tensor:
    """Group of each row, (B,) int64: ``n_groups`` contiguous groups of nearly equal size."""
    return torch.arange(n_rows, device=device) * n_groups // n_rows


def gates_of_rows(gates: Tensor, n_rows: int) -> Tensor:
    """Gates of each row, (B, N); contiguous groups of rows share the gates (S, N)."""
    return take_rows(gates, rows_to_groups(n_rows, min(len(gates), n_rows), gates.device))


def device_of(model: nn.Module) -> torch.device:
    """Device of a module's first parameter or buffer; the CPU if it has none."""
    first: Tensor | None = next(model.parameters(), None)
    first = next(model.buffers(), None) if first is None else first
    return torch.device("cpu") if first is None else first.device

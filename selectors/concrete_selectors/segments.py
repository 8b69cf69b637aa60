"""Vectors of different widths, concatenated in one row, each with one gate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from concrete_selectors.indexing import take_columns


class Segments:
    """Positions of n vectors among the D columns of a row.

    Args:
        widths: width of each vector, at least 1.

    Attributes:
        widths: (n,) int64.
        total: D.
    """

    def __init__(self, widths: Sequence[int] | np.ndarray) -> None:
        self.widths = np.asarray(widths, dtype=np.int64)
        self.total = int(self.widths.sum())
        self._ends = np.cumsum(self.widths)
        self._equal = len(np.unique(self.widths)) == 1
        self._owner = torch.repeat_interleave(torch.arange(len(self)), torch.as_tensor(self.widths))

    def __len__(self) -> int:
        """Number of vectors."""
        return len(self.widths)

    def scale(self, values: Tensor, factors: Tensor) -> Tensor:
        """Values (..., D) times one factor per vector, (..., n); equal widths avoid expanding the factors."""
        if self._equal:
            return (values.unflatten(-1, (len(self), -1)) * factors.unsqueeze(-1)).flatten(-2)
        return values * self.spread(factors)

    def spread(self, factors: Tensor) -> Tensor:
        """One value per vector, (..., n), repeated over its columns, (..., D)."""
        self._owner = self._owner.to(factors.device)
        return take_columns(factors, self._owner)

    def span(self, vector: int) -> slice:
        """Columns of one vector."""
        end = int(self._ends[vector])
        return slice(end - int(self.widths[vector]), end)

    def columns(self, vectors: Sequence[int] | np.ndarray) -> np.ndarray:
        """Columns of some vectors, int64, in the order of the vectors."""
        spans = [self.span(int(vector)) for vector in vectors]
        parts = [np.arange(span.start, span.stop) for span in spans]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

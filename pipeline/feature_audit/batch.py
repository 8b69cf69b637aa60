"""One batch of encoded rows, as every model of the contract receives it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Encoded rows, grouped by form; within a form, the fields are in schema order.

    Attributes:
        numeric: float32 (B, number of numeric fields), positions on knots.
        codes: int64 (B, number of code fields).
        bags: one int64 (B, width) per bag field.
        vectors: one float32 (B, width) per vector field.
        target: float32 (B,) for binary and regression, int64 (B,) for multiclass, float32 (B, targets) with NaN where a
            row has no label for several targets; empty where unknown (serving).
        row: int64 (B,), positions of the rows in the store, train rows first, then validation, then test; None for rows
            of no store (serving).
        weight: float32 (B,), how many rows each row counts as in a loss, 1 on average over train; None = all alike.
    """

    numeric: Tensor
    codes: Tensor
    bags: tuple[Tensor, ...]
    vectors: tuple[Tensor, ...]
    target: Tensor
    row: Tensor | None = None
    weight: Tensor | None = None

    def __len__(self) -> int:
        """Rows in the batch."""
        return len(self.numeric)

    def rows(self, index: Tensor | slice) -> Batch:
        """Some of the rows: a slice, or in the order of ``index`` (int64)."""
        return Batch(
            self.numeric[index],
            self.codes[index],
            tuple(bag[index] for bag in self.bags),
            tuple(vector[index] for vector in self.vectors),
            self.target[index] if len(self.target) else self.target,
            None if self.row is None else self.row[index],
            None if self.weight is None else self.weight[index],
        )

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device."""
        return Batch(
            self.numeric.to(device, non_blocking=True),
            self.codes.to(device, non_blocking=True),
            tuple(bag.to(device, non_blocking=True) for bag in self.bags),
            tuple(vector.to(device, non_blocking=True) for vector in self.vectors),
            self.target.to(device, non_blocking=True),
            None if self.row is None else self.row.to(device, non_blocking=True),
            None if self.weight is None else self.weight.to(device, non_blocking=True),
        )

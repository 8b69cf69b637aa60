"""Raw columns to integer codes, fitted on train rows: numbers by their quantile, everything else by its text."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

_BUCKETS = 16


class Codes:
    """One code per cell; 0 stands for what is missing or was not seen in training.

    Attributes:
        sizes: codes of each column.
    """

    def __init__(self, train: pl.DataFrame) -> None:
        self.knots: dict[str, np.ndarray] = {}
        self.words: dict[str, dict[str, int]] = {}
        for name in train.columns:
            cells = _plain(train[name]).drop_nulls()
            if cells.dtype == pl.Float64:
                inner = np.linspace(0, 1, _BUCKETS + 1)[1:-1]
                self.knots[name] = np.unique(np.quantile(cells.to_numpy(), inner)) if len(cells) else np.zeros(0)
            else:
                self.words[name] = {word: code for code, word in enumerate(cells.unique(maintain_order=True), start=1)}
        self.sizes = [1 + (len(self.knots[n]) + 1 if n in self.knots else len(self.words[n])) for n in train.columns]

    def __call__(self, frame: pl.DataFrame) -> Tensor:
        """(rows, columns) int64 codes."""
        columns = []
        for name in frame.columns:
            cells = _plain(frame[name])
            if name in self.words:
                columns.append(cells.replace_strict(self.words[name], default=0, return_dtype=pl.Int64).to_numpy())
            else:
                bucket = 1 + np.searchsorted(self.knots[name], cells.fill_null(0).to_numpy(), side="right")
                columns.append(np.where(cells.is_null(), 0, bucket))
        return torch.from_numpy(np.stack(columns, axis=1).astype(np.int64))


class Net(nn.Module):
    """An embedding per column and two layers; gives logits (rows,)."""

    def __init__(self, sizes: list[int], dim: int = 4) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size, dim) for size in sizes)
        for table in self.tables:
            nn.init.normal_(table.weight, std=0.01)
        self.layers = nn.Sequential(nn.Linear(len(sizes) * dim, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, codes: Tensor) -> Tensor:
        """(rows,) logits of (rows, columns) codes."""
        vectors = [table(codes[:, place]) for place, table in enumerate(self.tables)]
        return self.layers(torch.cat(vectors, dim=1))[:, 0]


def _plain(cells: pl.Series) -> pl.Series:
    """Numbers as Float64 without NaN, lists by their first entry, all else as text."""
    if isinstance(cells.dtype, pl.List | pl.Array):
        return _plain(cells.list.first() if cells.dtype == pl.List else cells.arr.first())
    if cells.dtype.is_temporal():
        cells = cells.to_physical()
    if cells.dtype.is_numeric() or cells.dtype == pl.Boolean:
        return cells.cast(pl.Float64).fill_nan(None)
    return cells.cast(pl.String)

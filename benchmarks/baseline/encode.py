"""In-memory encoding of a benchmark table, as in the data package: quantile knots, codes ordered by frequency."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
import torch
from feature_audit.batch import Batch
from feature_audit.data.encoding.knots import median_knot, quantile_knots
from feature_audit.schema import Field, ModelSchema
from tables import Table


class MemoryStore:
    """Encoded rows in memory with the interface of the training store."""

    def __init__(self, table: Table, *, max_bins: int = 48, min_count: int = 8) -> None:
        numeric, codes, fields = [], [], []
        train = table.splits["train"]
        for series in table.frame:
            if series.dtype == pl.String:
                values, size = encode_codes(series, train, min_count)
                codes.append(values)
                fields.append(Field(series.name, "code", size))
            else:
                position, size, origin = encode_numeric(series.to_numpy().astype(np.float64), train, max_bins)
                numeric.append(position)
                fields.append(Field(series.name, "numeric", size, origin=origin))
        n = len(table.frame)
        self.numeric = torch.from_numpy(np.stack(numeric, 1) if numeric else np.zeros((n, 0), np.float32))
        self.codes = torch.from_numpy(np.stack(codes, 1) if codes else np.zeros((n, 0), np.int64))
        kind = np.int64 if table.task == "multiclass" else np.float32
        self.labels = torch.from_numpy(table.target.astype(kind))
        self.splits = table.splits
        self.schema = ModelSchema(tuple(fields), table.task, int(table.target.max()) + 1 if kind is np.int64 else 2)

    def rows(self, split: str) -> int:
        return len(self.splits[split])

    def target(self, split: str) -> np.ndarray:
        return self.labels[self.splits[split]].numpy()

    def weight(self, split: str) -> None:
        """All rows count alike."""

    def matrix(self, split: str, schema: ModelSchema | None = None, rows: np.ndarray | None = None) -> np.ndarray:
        """Encoded cells for the boosting reference, float32 (rows, fields) in schema order."""
        chosen = self.splits[split] if rows is None else self.splits[split][rows]
        place = {"numeric": 0, "code": 0}
        columns = {}
        for field in self.schema.fields:
            cells = self.numeric if field.form == "numeric" else self.codes
            columns[field.name] = cells[chosen, place[field.form]].numpy()
            place[field.form] += 1
        return np.stack([columns[field.name] for field in (schema or self.schema).fields], axis=1).astype(np.float32)

    def raw(self, table: Table) -> tuple[np.ndarray, np.ndarray]:
        """Raw numbers and category codes with NaN for missing, for LightGBM; and which columns hold categories."""
        codes = iter(self.codes.numpy().T)
        columns = [
            next(codes).astype(np.float32) if series.dtype == pl.String else series.to_numpy().astype(np.float32)
            for series in table.frame
        ]
        categorical = np.array([series.dtype == pl.String for series in table.frame])
        matrix = np.column_stack(columns)
        matrix[:, categorical] = np.where(matrix[:, categorical] == 0, np.nan, matrix[:, categorical])
        return matrix, categorical

    def batches(
        self, split: str, size: int, *, seed: int | None = None, schema: ModelSchema | None = None
    ) -> Iterator[Batch]:
        rows = self.splits[split]
        if seed is not None:
            rows = np.random.default_rng(seed).permutation(rows)
        for start in range(0, len(rows), size):
            chosen = torch.from_numpy(rows[start : start + size])
            yield Batch(self.numeric[chosen], self.codes[chosen], (), (), self.labels[chosen])


def encode_numeric(values: np.ndarray, train: np.ndarray, max_bins: int) -> tuple[np.ndarray, int, int]:
    seen = values[train]
    knots = quantile_knots(seen[np.isfinite(seen)], max_bins) if np.isfinite(seen).any() else np.zeros(1)
    position = np.interp(np.nan_to_num(values), knots, np.arange(1, len(knots) + 1))
    return np.where(np.isfinite(values), position, 0).astype(np.float32), 1 + len(knots), median_knot(seen, knots)


def encode_codes(series: pl.Series, train: np.ndarray, min_count: int) -> tuple[np.ndarray, int]:
    counts = series.gather(train).drop_nulls().value_counts(sort=True)
    kept = counts.filter(pl.col("count") >= min_count)[series.name].to_list()
    known = {value: number + 2 for number, value in enumerate(kept)}
    return np.array([0 if value is None else known.get(value, 1) for value in series], np.int64), 2 + len(known)

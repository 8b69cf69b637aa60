"""A training store in memory for tests of models: encoded arrays and a split only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from feature_audit.batch import Batch
from feature_audit.schema import Field, ModelSchema


class MemoryStore:
    """Encoded columns by field name, and the rows of each split."""

    def __init__(
        self, schema: ModelSchema, columns: Mapping[str, np.ndarray], target: np.ndarray, splits: dict[str, np.ndarray]
    ):
        self.schema, self.columns, self.labels, self.splits = schema, columns, target, splits
        self.read: set[str] = set()
        self.weights: np.ndarray | None = None

    def rows(self, split: str) -> int:
        return len(self.splits[split])

    def target(self, split: str) -> np.ndarray:
        return self.labels[self.splits[split]]

    def weight(self, split: str) -> np.ndarray | None:
        return None if self.weights is None else self.weights[self.splits[split]]

    def matrix(self, split: str, schema: ModelSchema | None = None, rows: np.ndarray | None = None) -> np.ndarray:
        """One column per field, for bags and vectors their first value."""
        chosen = self.splits[split] if rows is None else self.splits[split][rows]
        columns = [self.columns[field.name][chosen] for field in (schema or self.schema).fields]
        return np.stack([one.reshape(len(chosen), -1)[:, 0] for one in columns], axis=1).astype(np.float32)

    def batches(
        self, split: str, size: int, *, seed: int | None = None, schema: ModelSchema | None = None
    ) -> Iterator[Batch]:
        self.read.add(split)
        rows = self.splits[split]
        if seed is not None:
            rows = np.random.default_rng(seed).permutation(rows)
        for start in range(0, len(rows), size):
            yield self.batch(rows[start : start + size], schema or self.schema)

    def batch(self, rows: np.ndarray, schema: ModelSchema | None = None) -> Batch:
        fields = (schema or self.schema).fields

        def stack(form: str, dtype: type) -> torch.Tensor:
            parts = [self.columns[field.name][rows] for field in fields if field.form == form]
            return torch.from_numpy(np.stack(parts, axis=1).astype(dtype) if parts else np.zeros((len(rows), 0), dtype))

        def each(form: str) -> tuple[torch.Tensor, ...]:
            return tuple(torch.from_numpy(self.columns[field.name][rows]) for field in fields if field.form == form)

        kind = np.int64 if self.schema.task == "multiclass" else np.float32
        return Batch(
            stack("numeric", np.float32),
            stack("code", np.int64),
            each("bag"),
            each("vector"),
            torch.from_numpy(self.labels[rows].astype(kind)),
            weight=None if self.weights is None else torch.from_numpy(self._relative(rows)),
        )

    def _relative(self, rows: np.ndarray) -> np.ndarray:
        return (self.weights[rows] / self.weights[self.splits["train"]].mean()).astype(np.float32)


def table_store(
    values: np.ndarray,
    target: np.ndarray,
    splits: dict[str, np.ndarray],
    *,
    task: str = "binary",
    categorical: tuple[int, ...] = (),
) -> MemoryStore:
    """A store of the columns of a matrix, numbers except the named categories."""
    fields = tuple(
        Field(f"x{place}", "code" if place in categorical else "numeric", 2 + int(column.max()))
        for place, column in enumerate(np.nan_to_num(values).T)
    )
    columns = {field.name: column for field, column in zip(fields, values.T, strict=True)}
    n_classes = int(target.max()) + 1 if task == "multiclass" else 2
    return MemoryStore(ModelSchema(fields, task, n_classes), columns, target, splits)  # type: ignore[arg-type]


def planted(task: str = "binary", *, rows: int = 3000, noise_fields: int = 4, seed: int = 0) -> MemoryStore:
    """A table of all four forms, in mixed order, whose target depends on the first four fields only."""
    draw = np.random.default_rng(seed)
    fields = [
        Field("colour", "code", 6),
        Field("age", "numeric", 12),
        Field("tags", "bag", 10, width=4),
        Field("image", "vector", 0, width=3),
        *(Field(f"noise_{number}", "numeric", 12) for number in range(noise_fields)),
    ]
    columns: dict[str, np.ndarray] = {field.name: draw.uniform(1, 11, rows).astype(np.float32) for field in fields[4:]}
    colour, age = draw.integers(0, 6, rows), draw.uniform(1, 11, rows).astype(np.float32)
    age[draw.random(rows) < 0.1] = 0
    tags = draw.integers(0, 10, (rows, 4))
    image = draw.normal(size=(rows, 3)).astype(np.float32)
    columns |= {"colour": colour, "age": age, "tags": tags, "image": image}
    signal = (
        np.array([-1.5, 1.5, -1, 1, 0, 0.5])[colour]
        + np.where(age == 0, 1.5, np.sin(age) * 1.5)
        + (tags == 3).sum(axis=1)
        + image[:, 0]
        - 0.5
    )
    if task == "binary":
        target = (draw.random(rows) < 1 / (1 + np.exp(-2 * signal))).astype(np.float32)
    elif task == "regression":
        target = (1000 + 50 * (signal + 0.3 * draw.normal(size=rows))).astype(np.float32)
    else:
        target = np.digitize(signal + 0.3 * draw.normal(size=rows), [-1, 1])
    schema = ModelSchema(tuple(fields), task, n_classes=3 if task == "multiclass" else 2)  # type: ignore[arg-type]
    cut = np.split(draw.permutation(rows), [int(0.6 * rows), int(0.8 * rows)])
    return MemoryStore(schema, columns, target, dict(zip(("train", "validation", "test"), cut, strict=True)))

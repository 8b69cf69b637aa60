"""The training store: encoded rows on disk, memory-mapped, one line per value and column-major.

Layout of a store's folder::

    layout.json                      fields, task, rows per split, field -> (file, line, dtype)
    encoders.json                    what encodes a raw frame the same way
    split_of_row.npy                 int8 (rows of the input,), which split each went to
    <split>/numeric.bin              float32 (numeric fields, rows)
    <split>/codes_<dtype>.bin        uint8 | uint16 | int32 (code fields, rows)
    <split>/bag_<i>.bin, vector_<i>.bin   (width, rows)
    <split>/target.npy, target_<i>.npy, weight.npy, group.npy, production_score.npy, slice_<i>.npy, row_id_*.parquet

Because a field is a contiguous line, a model of 30 features reads 30 lines and nothing of the others.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from feature_audit.batch import Batch
from feature_audit.data.table.splits import SPLITS
from feature_audit.errors import AuditError
from feature_audit.schema import Field, ModelSchema, SplitName
from feature_audit.weighting import effective_size

#: Encoded bytes of one chunk; tables below it are shuffled as a whole.
CHUNK_BYTES = 128 << 20
#: Contiguous runs of rows that a shuffled chunk is put together from.
BLOCKS_PER_CHUNK = 64


@dataclass(frozen=True)
class _Chunk:
    """Rows of a chunk, by form, row-major: ready to be sliced into batches."""

    numeric: torch.Tensor
    codes: torch.Tensor
    bags: tuple[torch.Tensor, ...]
    vectors: tuple[torch.Tensor, ...]
    target: torch.Tensor
    row: torch.Tensor
    weight: torch.Tensor | None

    def slice(self, rows: slice) -> Batch:
        return Batch(
            self.numeric[rows], self.codes[rows].long(), tuple(bag[rows].long() for bag in self.bags),
            tuple(vector[rows] for vector in self.vectors), self.target[rows], self.row[rows],
            None if self.weight is None else self.weight[rows],
        )  # fmt: skip

    def take(self, order: torch.Tensor) -> _Chunk:
        return _Chunk(
            self.numeric[order], self.codes[order], tuple(bag[order] for bag in self.bags),
            tuple(vector[order] for vector in self.vectors), self.target[order], self.row[order],
            None if self.weight is None else self.weight[order],
        )  # fmt: skip


class Store:
    """Reads what ``prepare`` wrote. Opening maps files; nothing is loaded until batches are drawn."""

    def __init__(self, directory: Path, layout: dict[str, Any], device: torch.device) -> None:
        self.directory, self.device = directory, device
        self.schema = ModelSchema.from_dict(layout)
        self._rows: dict[str, int] = layout["rows"]
        self._places: dict[str, tuple[str, int, str]] = {name: tuple(place) for name, place in layout["places"].items()}
        self._slices: dict[str, Any] = layout["slices"]
        self._targets: dict[str, np.ndarray] = {}
        self._all_targets: dict[str, np.ndarray] = {}
        self._weights: dict[str, np.ndarray | None] = {}

    @classmethod
    def open(cls, directory: Path | str, *, device: torch.device | str = "cpu") -> Store:
        """Open a store folder.

        Args:
            directory: what ``prepare`` wrote.
            device: where batches are put together. A graphics card takes a chunk in one copy, and turns, shuffles and
                slices it many times faster than the CPU.

        Raises:
            AuditError: there is no finished store.
        """
        directory = Path(directory)
        path = directory / "layout.json"
        if not path.is_file():
            raise AuditError(f"store={directory}: no finished training store; run the load stage again")
        return cls(directory, json.loads(path.read_text(encoding="utf-8")), torch.device(device))

    @property
    def group_labels(self) -> tuple[str, ...] | None:
        """Raw text of group code 0, 1, ..., or None without a group column."""
        path = self.directory / "group_labels.parquet"
        return tuple(pl.read_parquet(path)["label"].to_list()) if path.is_file() else None

    def rows(self, split: SplitName) -> int:
        """Rows of a split."""
        return self._rows[split]

    def first_row(self, split: SplitName) -> int:
        """Place in the store of a split's first row: train rows stand first, then validation, then test."""
        return sum(self._rows[before] for before in SPLITS[: SPLITS.index(split)])

    def target(self, split: SplitName) -> np.ndarray:
        """Labels of a split in order: float32 (rows,), or int64 class ids for multiclass; the decision target's."""
        if split not in self._targets:
            self._targets[split] = np.load(self.directory / split / "target.npy")
        return self._targets[split]

    def targets(self, split: SplitName) -> np.ndarray:
        """Labels of all targets: float32 (rows, targets), NaN where a row has none; of one target as ``target``."""
        if not self.schema.outputs:
            return self.target(split)
        if split not in self._all_targets:
            further = [
                np.load(self.directory / split / f"target_{number}.npy")
                for number in range(1, len(self.schema.outputs))
            ]
            self._all_targets[split] = np.stack([self.target(split), *further], axis=1)
        return self._all_targets[split]

    def weight(self, split: SplitName) -> np.ndarray | None:
        """float64 (rows,) > 0, how many rows each row counts as, or None where all count alike."""
        if split not in self._weights:
            path = self.directory / split / "weight.npy"
            self._weights[split] = np.load(path) if path.is_file() else None
        return self._weights[split]

    def effective_rows(self, split: SplitName) -> float:
        """Rows of a split; with weights its effective sample size."""
        weight = self.weight(split)
        return self.rows(split) if weight is None or not len(weight) else effective_size(weight)

    def row_id(self, split: SplitName) -> np.ndarray:
        """Raw row ids of a split in order (row numbers of the input where no row_id column was named)."""
        return pl.read_parquet(self.directory / split / "row_id_*.parquet")["row_id"].to_numpy()

    def group(self, split: SplitName) -> np.ndarray | None:
        """int32 (rows,) dense group codes, or None without a group column."""
        path = self.directory / split / "group.npy"
        return np.load(path) if path.is_file() else None

    def slice_labels(self, column: str) -> tuple[str, ...]:
        """The labels of a slice column.

        Raises:
            AuditError: the column was not named in ``slices``.
        """
        if column not in self._slices:
            named = ", ".join(self._slices) or "no slices"
            raise AuditError(f"slices={column}: not stored; the configuration names {named}")
        return tuple(self._slices[column]["labels"])

    def slice_values(self, split: SplitName, column: str) -> np.ndarray:
        """Text labels (rows,) of a slice column.

        Raises:
            AuditError: the column was not named in ``slices``.
        """
        labels = np.asarray(self.slice_labels(column), dtype=object)
        return labels[np.load(self.directory / split / f"{self._slices[column]['file']}.npy")]

    def production_score(self, split: SplitName) -> np.ndarray | None:
        """float64 (rows,) scores that production gave, NaN where it gave none; None where no column was named."""
        path = self.directory / split / "production_score.npy"
        return np.load(path) if path.is_file() else None

    def batches(
        self, split: SplitName, size: int, *, seed: int | None = None, schema: ModelSchema | None = None
    ) -> Iterator[Batch]:
        """Batches of one pass over a split.

        Args:
            split: which rows.
            size: rows per batch; the last one of the pass may be shorter.
            seed: shuffles with this seed; None keeps the table's order. A split that fits one chunk is shuffled as a
                whole; a larger one by drawing chunks from 64 random runs of rows each and shuffling inside the chunk.
            schema: fields of the batch; None = all.

        Yields:
            ``Batch`` with fields in schema order inside each form, on the store's device.
        """
        schema = schema or self.schema
        generator = None if seed is None else np.random.default_rng(seed)
        left: list[_Chunk] = []
        for runs in self._runs(self.rows(split), self._chunk_rows(schema, size), size, generator):
            chunk = self._read(split, runs, schema)
            if generator is not None:
                chunk = chunk.take(self._put(generator.permutation(len(chunk.target))))
            if left:
                chunk = _join(left.pop(), chunk)
            whole = len(chunk.target) // size * size
            for start in range(0, whole, size):
                yield chunk.slice(slice(start, start + size))
            if whole < len(chunk.target):
                left.append(chunk.take(torch.arange(whole, len(chunk.target), device=self.device)))
        if left:
            yield left[0].slice(slice(None))

    def matrix(self, split: SplitName, schema: ModelSchema | None = None, rows: np.ndarray | None = None) -> np.ndarray:
        """float32 (rows, N) for scikit-learn: a numeric field's position, a code itself, one number per bag or vector.

        A bag becomes the mean of its non-padding codes in frequency order (0 = empty), a vector its first value; both
        are reductions for baselines and the boosting reference that want one column per feature.

        Args:
            split: which rows.
            schema: the columns; None = all fields.
            rows: places within the split; None = all.
        """
        schema = schema or self.schema
        result = np.empty((self.rows(split) if rows is None else len(rows), len(schema.fields)), np.float32, order="F")
        for place, field in enumerate(schema.fields):
            mapped, first = self._map(split, field), self._places[field.name][1]
            lines = mapped[first : first + (field.width if field.form == "bag" else 1)]
            lines = lines if rows is None else lines[:, rows]
            if field.form == "bag":
                result[:, place] = lines.sum(axis=0, dtype=np.float64) / np.maximum((lines > 0).sum(axis=0), 1)
            else:
                result[:, place] = lines[0]
            _forget(mapped)
        return result

    def cells(self, split: SplitName, field: Field, rows: np.ndarray) -> np.ndarray:
        """Encoded cells of some rows of one field, (rows, width), of the type they are stored in.

        Args:
            split: which rows.
            field: of the store's schema.
            rows: places within the split, (rows,).
        """
        mapped, first = self._map(split, field), self._places[field.name][1]
        cells: np.ndarray = mapped[first : first + field.width, rows].T
        _forget(mapped)
        return cells

    def _chunk_rows(self, schema: ModelSchema, size: int) -> int:
        row_bytes = sum(np.dtype(self._places[field.name][2]).itemsize * field.width for field in schema.fields) + 8
        return max(size, CHUNK_BYTES // row_bytes)

    @staticmethod
    def _runs(
        rows: int, chunk: int, size: int, generator: np.random.Generator | None
    ) -> Iterator[list[tuple[int, int]]]:
        """The (start, stop) runs of rows that make up each chunk."""
        if rows <= chunk:
            yield [(0, rows)]
            return
        run = chunk if generator is None else max(chunk // BLOCKS_PER_CHUNK, min(size, chunk), 1)
        starts = np.arange(0, rows, run)
        if generator is not None:
            generator.shuffle(starts)
        per_chunk = max(1, chunk // run)
        for first in range(0, len(starts), per_chunk):
            yield [(int(start), min(int(start) + run, rows)) for start in starts[first : first + per_chunk]]

    def _read(self, split: SplitName, runs: list[tuple[int, int]], schema: ModelSchema) -> _Chunk:
        """Copy the runs' cells of the needed fields and turn them row-major."""
        form = {
            name: [field for field in schema.fields if field.form == name]
            for name in ("numeric", "code", "bag", "vector")
        }
        target = np.concatenate([self.targets(split)[start:stop] for start, stop in runs])
        rows, first = len(target), self.first_row(split)
        weight = self.weight(split)
        return _Chunk(
            self._block(split, form["numeric"], runs, rows, np.dtype(np.float32)),
            self._block(split, form["code"], runs, rows, np.dtype(np.int32)),
            tuple(self._rows_first(self._lines(split, field, runs).astype(np.int32)) for field in form["bag"]),
            tuple(self._rows_first(self._lines(split, field, runs)) for field in form["vector"]),
            self._put(target),
            self._put(np.concatenate([np.arange(first + start, first + stop) for start, stop in runs])),
            None if weight is None else self._put(self._relative(weight, runs)),
        )

    def _relative(self, weight: np.ndarray, runs: list[tuple[int, int]]) -> np.ndarray:
        """float32 weights in units of their mean over train, so that a weighted loss is as large as one without."""
        return (np.concatenate([weight[start:stop] for start, stop in runs]) / self._mean_weight).astype(np.float32)

    @cached_property
    def _mean_weight(self) -> float:
        train = self.weight("train")
        return 1.0 if train is None else float(train.mean())

    def _block(
        self, split: SplitName, fields: Sequence[Field], runs: list[tuple[int, int]], rows: int, dtype: np.dtype[Any]
    ) -> torch.Tensor:
        block = np.empty((len(fields), rows), dtype=dtype)
        by_file: dict[str, list[int]] = {}
        for place, field in enumerate(fields):
            by_file.setdefault(self._places[field.name][0], []).append(place)
        for places in by_file.values():
            mapped = self._map(split, fields[places[0]])
            lines = [self._places[fields[place].name][1] for place in places]
            offset = 0
            for start, stop in runs:
                for place, line in zip(places, lines, strict=True):
                    block[place, offset : offset + stop - start] = mapped[line, start:stop]
                offset += stop - start
            _forget(mapped)
        return self._rows_first(block)

    def _lines(self, split: SplitName, field: Field, runs: list[tuple[int, int]]) -> np.ndarray:
        mapped = self._map(split, field)
        first = self._places[field.name][1]
        lines = np.concatenate([mapped[first : first + field.width, start:stop] for start, stop in runs], axis=1)
        _forget(mapped)
        return lines

    def _rows_first(self, block: np.ndarray) -> torch.Tensor:
        return self._put(block).t().contiguous()

    def _put(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(self.device)

    def _map(self, split: SplitName, field: Field) -> np.ndarray:
        file, _, dtype = self._places[field.name]
        mapped = np.memmap(self.directory / split / f"{file}.bin", dtype=dtype, mode="r")
        return mapped.reshape(-1, self.rows(split))


def _join(first: _Chunk, second: _Chunk) -> _Chunk:
    def cat(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.cat((a, b))

    return _Chunk(
        cat(first.numeric, second.numeric), cat(first.codes, second.codes),
        tuple(map(cat, first.bags, second.bags)), tuple(map(cat, first.vectors, second.vectors)),
        cat(first.target, second.target), cat(first.row, second.row),
        None if first.weight is None or second.weight is None else cat(first.weight, second.weight),
    )  # fmt: skip


def _forget(mapped: np.ndarray) -> None:
    """Give the mapped pages back: resident memory then counts the chunk, not the file (the page cache keeps it)."""
    base: Any = mapped
    while base is not None and not isinstance(base, mmap.mmap):
        base = getattr(base, "_mmap", None) or getattr(base, "base", None)
    if base is not None and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)

"""The training store: encoded rows on disk, memory-mapped.

Layout of a store's folder::

    layout.json                      fields, task, rows per split, field -> (file, line, dtype)
    encoders.json                    encoders for raw frames
    split_of_row.npy                 int8 (rows of the input,), split of each row
    <split>/numeric.bin              float32, a line per numeric field
    <split>/codes_<dtype>.bin        uint8 | uint16 | int32, a line per code field
    <split>/bag_<i>.bin, vector_<i>.bin   one line per element of the field
    <split>/target.npy, target_<i>.npy, weight.npy, group.npy, production_score.npy, slice_<i>.npy, row_id_*.parquet

Layout of the lines in a ``.bin`` file: ``cells.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from feature_audit.batch import Batch
from feature_audit.data.store.cells import BLOCK_ROWS, CellFile, Run, lines_of
from feature_audit.data.table.splits import SPLITS
from feature_audit.errors import AuditError
from feature_audit.schema import Field, ModelSchema, SplitName
from feature_audit.weighting import effective_size

#: Encoded bytes of one chunk; smaller tables are shuffled as a whole.
CHUNK_BYTES = 128 << 20
#: Number of contiguous runs of rows in a shuffled chunk.
BLOCKS_PER_CHUNK = 64


@dataclass(frozen=True)
class _Chunk:
    """Rows of a chunk by form, row-major, ready to be indexed into batches."""

    numeric: torch.Tensor
    codes: torch.Tensor
    bags: tuple[torch.Tensor, ...]
    vectors: tuple[torch.Tensor, ...]
    target: torch.Tensor
    row: torch.Tensor
    weight: torch.Tensor | None

    def take(self, rows: slice | torch.Tensor) -> Batch:
        def of(tensor: torch.Tensor) -> torch.Tensor:
            return tensor[rows] if isinstance(rows, slice) else tensor.index_select(0, rows)

        return Batch(
            of(self.numeric), of(self.codes).long(), tuple(of(bag).long() for bag in self.bags),
            tuple(map(of, self.vectors)), of(self.target), of(self.row),
            None if self.weight is None else of(self.weight),
        )  # fmt: skip


class Store:
    """Reader of a training store. Opening it maps files; cells are read when batches are drawn."""

    def __init__(self, directory: Path, layout: dict[str, Any], device: torch.device) -> None:
        self.directory, self.device = directory, device
        self.schema = ModelSchema.from_dict(layout)
        self._rows: dict[str, int] = layout["rows"]
        self._places: dict[str, tuple[str, int, str]] = {name: tuple(place) for name, place in layout["places"].items()}
        self._dtypes = {file: dtype for file, _, dtype in self._places.values()}
        self._lines = lines_of(self.schema.fields, self._places)
        self._slices: dict[str, Any] = layout["slices"]
        self._columns: dict[tuple[str, str], np.ndarray | None] = {}

    @classmethod
    def open(cls, directory: Path | str, *, device: torch.device | str = "cpu") -> Store:
        """Open a store folder.

        Args:
            directory: folder written by ``prepare``.
            device: device on which batches are assembled. A GPU receives a chunk in one copy, and transposes, shuffles
                and slices it many times faster than the CPU.

        Raises:
            AuditError: the store is incomplete.
        """
        directory = Path(directory)
        path = directory / "layout.json"
        if not path.is_file():
            raise AuditError(f"store={directory}: the training store is incomplete; run the load stage again")
        return cls(directory, json.loads(path.read_text(encoding="utf-8")), torch.device(device))

    @property
    def group_labels(self) -> pl.Series | None:
        """Raw text of group code 0, 1, ..., or None without a group column."""
        path = self.directory / "group_labels.parquet"
        return pl.read_parquet(path)["label"] if path.is_file() else None

    def rows(self, split: SplitName) -> int:
        """Rows of a split."""
        return self._rows[split]

    def first_row(self, split: SplitName) -> int:
        """Row number in the store of a split's first row; the store's order is train, validation, test."""
        return sum(self._rows[before] for before in SPLITS[: SPLITS.index(split)])

    def target(self, split: SplitName) -> np.ndarray:
        """Labels of a split in order: float32 (rows,), or int64 class ids for multiclass; of the decision target."""
        return self._column(split, "target")

    def targets(self, split: SplitName) -> np.ndarray:
        """Labels of all targets: float32 (rows, targets), NaN where a row has none; with one target as ``target``."""
        return self._labels(split, slice(None)) if self.schema.outputs else self.target(split)

    def _labels(self, split: SplitName, rows: slice | np.ndarray) -> np.ndarray:
        """Labels of some rows."""
        if not self.schema.outputs:
            return self.target(split)[rows]
        further = (self._column(split, f"target_{number}") for number in range(1, len(self.schema.outputs)))
        return np.stack([labels[rows] for labels in (self.target(split), *further)], axis=1)

    def weight(self, split: SplitName) -> np.ndarray | None:
        """float64 (rows,) > 0, the weight of each row, or None without weights."""
        return self._column_if_there(split, "weight")

    def effective_rows(self, split: SplitName) -> float:
        """Number of rows of a split; with weights its effective sample size."""
        weight = self.weight(split)
        return self.rows(split) if weight is None or not len(weight) else effective_size(weight)

    def row_id(self, split: SplitName) -> np.ndarray:
        """Raw row ids of a split in order (row numbers of the input if no row_id column is configured)."""
        return self.ids(split).to_numpy()

    def ids(self, split: SplitName) -> pl.Series:
        """The same as a Polars series; text takes a fraction of the memory."""
        return pl.concat(self.row_ids(split))

    def row_ids(self, split: SplitName) -> Iterator[pl.Series]:
        """The same, part by part."""
        for path in sorted((self.directory / split).glob("row_id_*.parquet")):
            yield pl.read_parquet(path)["row_id"]

    def group(self, split: SplitName) -> np.ndarray | None:
        """int32 (rows,) dense group codes, or None without a group column."""
        return self._column_if_there(split, "group")

    def slice_labels(self, column: str) -> tuple[str, ...]:
        """The labels of a slice column.

        Raises:
            AuditError: the column was not named in ``slices``.
        """
        if column not in self._slices:
            named = ", ".join(self._slices) or "no slices"
            raise AuditError(f"slices={column}: not stored; the configuration has {named}")
        return tuple(self._slices[column]["labels"])

    def slice_values(self, split: SplitName, column: str) -> np.ndarray:
        """Text labels (rows,) of a slice column.

        Raises:
            AuditError: the column was not named in ``slices``.
        """
        return np.asarray(self.slice_labels(column), dtype=object)[self.slice_codes(split, column)]

    def slice_codes(self, split: SplitName, column: str) -> np.ndarray:
        """int32 (rows,), indices into ``slice_labels``.

        Raises:
            AuditError: the column was not named in ``slices``.
        """
        self.slice_labels(column)
        return self._column(split, self._slices[column]["file"])

    def production_score(self, split: SplitName) -> np.ndarray | None:
        """float64 (rows,) production scores, NaN where a row has none; None without such a column."""
        return self._column_if_there(split, "production_score")

    def _column(self, split: SplitName, name: str) -> np.ndarray:
        """A memory-mapped column, one value per row; copy-on-write, and its pages can be evicted."""
        found = self._column_if_there(split, name)
        if found is None:
            raise FileNotFoundError(self.directory / split / f"{name}.npy")
        return found

    def _column_if_there(self, split: SplitName, name: str) -> np.ndarray | None:
        if (split, name) not in self._columns:
            path = self.directory / split / f"{name}.npy"
            self._columns[split, name] = np.load(path, mmap_mode="c").view(np.ndarray) if path.is_file() else None
        return self._columns[split, name]

    def batches(
        self, split: SplitName, size: int, *, seed: int | None = None, schema: ModelSchema | None = None
    ) -> Iterator[Batch]:
        """Batches of one pass over a split.

        Args:
            split: which rows.
            size: rows per batch; the last batch of the pass may be shorter.
            seed: seed of the shuffle; None keeps the table's order. A split that fits one chunk is shuffled as a
                whole; a larger one by drawing chunks from 64 random runs of rows each and shuffling inside the
                chunk.
            schema: fields of the batch; None = all.

        Yields:
            ``Batch`` with fields in schema order inside each form, on the store's device.
        """
        batches = self._batches(split, size, seed, schema or self.schema)
        # Not on a CPU: another thread would allocate from a separate malloc arena, which returns freed pages to the
        # system; a batch then costs twice the CPU time.
        return prefetched(batches) if self.device.type == "cuda" else batches

    def _batches(self, split: SplitName, size: int, seed: int | None, schema: ModelSchema) -> Iterator[Batch]:
        generator = None if seed is None else np.random.default_rng(seed)
        left: list[Batch] = []  # an incomplete batch, or empty
        for runs in self._runs(self.rows(split), self._chunk_rows(schema, size), size, generator):
            chunk = self._read(split, runs, schema)
            rows = len(chunk.target)
            order = None if generator is None else self._put(generator.permutation(rows))
            for start in range(-len(left[0]) if left else 0, rows, size):
                part = slice(max(start, 0), start + size)
                batch = chunk.take(part if order is None else order[part])
                if left:
                    batch = _join(left.pop(), batch)
                if len(batch) == size:
                    yield batch
                else:
                    left.append(batch.rows(torch.arange(len(batch), device=self.device)))  # a copy, no view
            del chunk, batch  # before the next chunk is read, to hold only one in memory
        yield from left

    def matrix(self, split: SplitName, schema: ModelSchema | None = None, rows: np.ndarray | None = None) -> np.ndarray:
        """float32 (rows, N) for scikit-learn: position of a numeric field, code of a code field, one number per bag or
        vector.

        A bag becomes the mean of its non-padding codes in frequency order (0 = empty), a vector its first value. These
        reductions serve baselines and the boosting reference, which need one column per feature.

        Args:
            split: which rows.
            schema: the columns; None = all fields.
            rows: positions within the split; None = all.
        """
        schema = schema or self.schema
        rows = np.arange(self.rows(split)) if rows is None else rows
        result = np.empty((len(rows), len(schema.fields)), np.float32, order="F")
        for place, field in enumerate(schema.fields):
            cells = self.cells(split, field, rows)
            if field.form == "bag":
                result[:, place] = cells.sum(axis=1, dtype=np.float64) / np.maximum((cells > 0).sum(axis=1), 1)
            else:
                result[:, place] = cells[:, 0]
        return result

    def cells(self, split: SplitName, field: Field, rows: np.ndarray) -> np.ndarray:
        """Encoded cells of some rows of one field, (rows, width), in their stored dtype.

        Args:
            split: which rows.
            field: of the store's schema.
            rows: positions within the split, (rows,).
        """
        file, line, _ = self._places[field.name]
        return self._file(split, file).at(line, field.width, rows)

    def _chunk_rows(self, schema: ModelSchema, size: int) -> int:
        row_bytes = sum(np.dtype(self._places[field.name][2]).itemsize * field.width for field in schema.fields) + 8
        return max(size, CHUNK_BYTES // row_bytes)

    @staticmethod
    def _runs(rows: int, chunk: int, size: int, generator: np.random.Generator | None) -> Iterator[list[Run]]:
        """The (start, stop) runs of rows that make up each chunk."""
        if rows <= chunk:
            yield [(0, rows)]
            return
        run = chunk if generator is None else max(chunk // BLOCKS_PER_CHUNK, min(size, chunk), 1)
        run -= run % BLOCK_ROWS if run > BLOCK_ROWS else 0  # whole blocks are faster to read
        starts = np.arange(0, rows, run)
        if generator is not None:
            generator.shuffle(starts)
        per_chunk = max(1, chunk // run)
        for first in range(0, len(starts), per_chunk):
            yield [(int(start), min(int(start) + run, rows)) for start in starts[first : first + per_chunk]]

    def _read(self, split: SplitName, runs: list[Run], schema: ModelSchema) -> _Chunk:
        """Rows of the given runs, with the needed fields, in order."""
        form = {
            name: [field for field in schema.fields if field.form == name]
            for name in ("numeric", "code", "bag", "vector")
        }
        rows = np.concatenate([np.arange(start, stop) for start, stop in runs])
        weight = self.weight(split)
        return _Chunk(
            self._block(split, form["numeric"], runs, torch.float32),
            self._block(split, form["code"], runs, torch.int32),
            tuple(self._block(split, [field], runs, torch.int32) for field in form["bag"]),
            tuple(self._block(split, [field], runs, torch.float32) for field in form["vector"]),
            self._put(self._labels(split, rows)),
            self._put(self.first_row(split) + rows),
            # Divided by their train mean, so that weighted and unweighted losses have the same scale.
            None if weight is None else self._put((weight[rows] / self._mean_weight).astype(np.float32)),
        )

    @cached_property
    def _mean_weight(self) -> float:
        train = self.weight("train")
        return 1.0 if train is None else float(train.mean())

    def _block(self, split: SplitName, fields: Sequence[Field], runs: list[Run], dtype: torch.dtype) -> torch.Tensor:
        """Cells of fields of one form, (rows, values), row-major, on the store's device.

        A CPU transposes lines to rows while copying; a GPU receives lines and transposes them itself.
        """
        by_file: dict[str, tuple[list[int], list[int]]] = {}
        values, rows = 0, sum(stop - start for start, stop in runs)
        for field in fields:
            file, line, _ = self._places[field.name]
            lines, places = by_file.setdefault(file, ([], []))
            lines += range(line, line + field.width)
            places += range(values, values + field.width)
            values += field.width
        on_card = self.device.type == "cuda"
        held = torch.empty((values, rows) if on_card else (rows, values), dtype=dtype, pin_memory=on_card)
        for file, (lines, places) in by_file.items():
            self._file(split, file).copy(lines, runs, held.numpy() if on_card else held.numpy().T, places)
        return held.to(self.device, non_blocking=True).t().contiguous() if on_card else held

    def files(self, split: SplitName) -> list[CellFile]:
        """The files of encoded cells."""
        return [self._file(split, file) for file in self._lines]

    def _file(self, split: SplitName, file: str) -> CellFile:
        path = self.directory / split / f"{file}.bin"
        return CellFile(path, self._dtypes[file], self._lines[file], self._rows[split])

    def _put(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(self.device)


def _join(first: Batch, second: Batch) -> Batch:
    def cat(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.cat((a, b))

    assert first.row is not None  # every batch of a store has row numbers
    assert second.row is not None
    return Batch(
        cat(first.numeric, second.numeric), cat(first.codes, second.codes),
        tuple(map(cat, first.bags, second.bags)), tuple(map(cat, first.vectors, second.vectors)),
        cat(first.target, second.target), cat(first.row, second.row),
        None if first.weight is None or second.weight is None else cat(first.weight, second.weight),
    )  # fmt: skip


def prefetched(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches; a thread prepares the next one while the caller works."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch

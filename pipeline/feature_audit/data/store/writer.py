"""Pass 2: encodes the table chunk by chunk into the training store's files. Layout: ``reader.py``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from feature_audit.data.encoding.encoder_set import Encoders
from feature_audit.data.reading.files import ROW_GROUP
from feature_audit.data.store.cells import CellFile, lines_of
from feature_audit.data.table.dataset import Labelled, LabelledTable
from feature_audit.data.table.splits import SPLITS
from feature_audit.data.table.statistics import chunk_rows
from feature_audit.disk import require_room
from feature_audit.schema import Field, ModelSchema

#: int8 (rows of the input,): index of each row's split in ``SPLITS``, -1 if the row is left out.
SPLIT_OF_ROW = "split_of_row.npy"
#: Number of columns encoded in parallel.
_THREADS = min(4, os.cpu_count() or 1)


def code_dtype(cardinality: int) -> np.dtype[Any]:
    """The smallest of uint8, uint16 and int32 that holds the codes."""
    return np.dtype(np.uint8 if cardinality <= 256 else np.uint16 if cardinality <= 65_536 else np.int32)


def places_of(fields: Sequence[Field]) -> dict[str, tuple[str, int, str]]:
    """Field name -> (file, first line of the field in it, dtype); a file has one line per value (``cells.py``).

    Numeric fields share one file and code fields one file per dtype; a bag or vector has a file of ``width`` lines.
    """
    places: dict[str, tuple[str, int, str]] = {}
    used: dict[str, int] = {}
    for number, field in enumerate(fields):
        if field.form == "numeric":
            file, dtype = "numeric", np.dtype(np.float32)
        elif field.form == "code":
            dtype = code_dtype(field.cardinality)
            file = f"codes_{dtype.name}"
        elif field.form == "bag":
            file, dtype = f"bag_{number}", code_dtype(field.cardinality)
        else:
            file, dtype = f"vector_{number}", np.dtype(np.float32)
        places[field.name] = (file, used.get(file, 0), dtype.name)
        used[file] = used.get(file, 0) + field.width
    return places


def write_store(
    directory: Path, table: LabelledTable, encoders: Encoders, schema: ModelSchema, slices: Mapping[str, Labelled],
    *, production: np.ndarray | None = None, progress: Callable[[str], None],
) -> None:  # fmt: skip
    """Encode every row once and write it to its split's files.

    Args:
        directory: folder of the store, created if needed.
        table: the raw table with labels, split and groups.
        encoders: fitted on train.
        schema: the fields, in the encoders' order.
        slices: column -> codes (rows,) and their labels.
        production: float64 (rows,) production scores, or None.
        progress: called with the share done.
    """
    of_row, row_id, group = table.split.of_row, table.roles.row_id, table.group
    places = places_of(schema.fields)
    totals = np.bincount(of_row, minlength=3)
    directory.mkdir(parents=True, exist_ok=True)
    row_bytes = sum(field.width * np.dtype(places[field.name][2]).itemsize for field in schema.fields)
    require_room(directory, len(of_row) * row_bytes, f"the training store of {len(of_row):,} rows")
    writers = {code: _SplitWriter(directory / split, int(totals[code])) for code, split in enumerate(SPLITS)}
    for writer in writers.values():
        writer.open(lines_of(schema.fields, places), {file: dtype for file, _, dtype in places.values()})
    names = list(schema.names) + ([row_id] if row_id and row_id not in schema.names else [])
    start = 0
    # Fields are independent, and most time is spent in NumPy, Polars and writes, which release the GIL.
    with ThreadPoolExecutor(_THREADS) as pool:
        for chunk in table.source.chunks(chunk_rows(len(names)), names):
            stop = start + chunk.height
            inside = of_row[start:stop]
            rows = {code: np.flatnonzero(inside == code) for code in writers}
            list(pool.map(partial(_write_field, chunk, rows, writers, encoders, places), schema.names))
            for code, writer in writers.items():
                writer.ids(chunk[row_id] if row_id else table.source.row_numbers(start, stop), rows[code])
                writer.advance(len(rows[code]))
            if stop * 10 // len(of_row) > start * 10 // len(of_row):  # one line per 10 %
                progress(f"encoding: {stop / len(of_row):.0%} of {len(of_row):,} rows")
            start = stop
    for code, writer in writers.items():
        writer.close()
        mine = of_row == code
        np.save(writer.directory / "target.npy", table.target.values[mine])
        for number, other in enumerate(table.further.values(), start=1):
            np.save(writer.directory / f"target_{number}.npy", other.values[mine])
        if table.weight is not None:
            np.save(writer.directory / "weight.npy", table.weight[mine])
        if group is not None:
            np.save(writer.directory / "group.npy", group[0][mine])
        if production is not None:
            np.save(writer.directory / "production_score.npy", production[mine])
        for number, (codes, _) in enumerate(slices.values()):
            np.save(writer.directory / f"slice_{number}.npy", codes[mine])
    np.save(directory / SPLIT_OF_ROW, table.source.spread(of_row))
    if group is not None:
        pl.DataFrame({"label": group[1]}).write_parquet(directory / "group_labels.parquet")
    layout = {
        **schema.to_dict(),
        "places": places,
        "rows": {split: int(totals[code]) for code, split in enumerate(SPLITS)},
        "slices": {
            name: {"file": f"slice_{i}", "labels": labels} for i, (name, (_, labels)) in enumerate(slices.items())
        },
    }
    (directory / "layout.json").write_text(json.dumps(layout), encoding="utf-8")


def _write_field(
    chunk: pl.DataFrame,
    rows: Mapping[int, np.ndarray],
    writers: Mapping[int, _SplitWriter],
    encoders: Encoders,
    places: Mapping[str, tuple[str, int, str]],
    name: str,
) -> None:
    """Encode one column of a chunk and write each split's rows to its file."""
    cells = encoders.encode_column(name, chunk[name])
    file, line, dtype = places[name]
    lines = cells[None] if cells.ndim == 1 else cells.T
    lines = lines.astype(dtype, copy=False)
    for code, writer in writers.items():
        if len(rows[code]):
            mine = lines if len(rows[code]) == chunk.height else lines[:, rows[code]]
            writer.write(file, line, mine)


class _SplitWriter:
    """Appends encoded lines to one split's files; uses positional writes, so memory holds one chunk."""

    def __init__(self, directory: Path, rows: int) -> None:
        self.directory = directory
        self.rows = rows
        self._done = 0
        self._files: dict[str, tuple[int, CellFile]] = {}
        self._ids: list[Path] = []
        directory.mkdir(parents=True, exist_ok=True)

    def open(self, lines: Mapping[str, int], dtypes: Mapping[str, str]) -> None:
        """Create the files, empty."""
        for file, count in lines.items():
            path = self.directory / f"{file}.bin"
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
            self._files[file] = handle, CellFile(path, dtypes[file], count, self.rows)

    def write(self, file: str, line: int, lines: np.ndarray) -> None:
        """Write ``lines`` (width, chunk rows) at the split's current row, from ``line`` on; thread-safe."""
        handle, cells = self._files[file]
        for offset, values in enumerate(np.ascontiguousarray(lines)):
            cells.write(handle, line + offset, self._done, values)

    def ids(self, ids: pl.Series, rows: np.ndarray) -> None:
        """Append the ids of the given rows."""
        if len(rows):
            path = self.directory / f"row_id_{len(self._ids):06d}.parquet"
            ids[rows].alias("row_id").to_frame().write_parquet(path, row_group_size=ROW_GROUP)
            self._ids.append(path)

    def advance(self, rows: int) -> None:
        """Advance by the rows just written."""
        self._done += rows

    def close(self) -> None:
        """Close every file."""
        for handle, _ in self._files.values():
            os.close(handle)

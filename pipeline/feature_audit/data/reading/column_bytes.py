"""Bytes per row of each column of the log: exact for Parquet, estimated for other local files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import polars as pl

from feature_audit.config import AuditConfig
from feature_audit.data.reading.files import ARROW, JSON, TEXT, bare_suffix, format_of, local_files
from feature_audit.data.reading.remote import is_remote

#: Maximum number of files whose statistics are read, and of column chunks in each, evenly spaced.
_MOST_FILES, _MOST_CHUNKS = 20, 100_000

Item = TypeVar("Item")


@dataclass(frozen=True)
class ColumnBytes:
    """Bytes per row.

    Attributes:
        origin: source of the figures, for the report.
        stored: column -> bytes in the file, compressed if the file is.
        plain: column -> bytes before compression.
    """

    origin: str
    stored: dict[str, float]
    plain: dict[str, float]


def column_bytes(config: AuditConfig, data: str, directory: Path, sample: pl.DataFrame) -> ColumnBytes | None:
    """Bytes per row of the columns in ``sample``; None if unknown, as for remote Parquet files.

    Args:
        config: says whether the user's ``prepare`` function builds the table.
        data: path, glob, folder or URI.
        directory: folder of the prepared table, as Parquet.
        sample: some rows of the log.
    """
    names = sample.columns
    if config.prepare:
        return _of_parquet(
            [directory / "prepared.parquet"], names, "the table that prepare returns, written as Parquet"
        )
    if is_remote(data):
        kind = bare_suffix(Path(data.split("?", maxsplit=1)[0]))
        kind = next((name for name, ends in (("text", TEXT), ("json", JSON), ("arrow", ARROW)) if kind in ends), "")
        return _of_sample(sample, kind) if kind else None
    files = local_files(data)
    kind = format_of(files[0])
    if kind == "parquet":
        return _of_parquet(files, names, "statistics of the Parquet files")
    return _of_sample(sample, kind)


def _of_parquet(files: Sequence[Path], names: Sequence[str], origin: str) -> ColumnBytes | None:
    """Sizes of the column chunks; a hive key column takes 0 bytes.

    None if pyarrow does not support a type that Polars reads, such as 128-bit integers.
    """
    import pyarrow
    import pyarrow.parquet as pq

    stored: dict[str, float] = defaultdict(float)
    plain: dict[str, float] = defaultdict(float)
    rows, known = 0, set(names)
    for file in _spread(files, _MOST_FILES):
        try:
            metadata = pq.read_metadata(file)
        except pyarrow.ArrowException:
            return None
        owners = [_owner(metadata.schema.column(place).path, known) for place in range(metadata.num_columns)]
        for group in _spread(range(metadata.num_row_groups), max(1, _MOST_CHUNKS // max(metadata.num_columns, 1))):
            chunks = metadata.row_group(group)
            rows += chunks.num_rows
            for place, owner in enumerate(owners):
                if owner is not None:
                    chunk = chunks.column(place)
                    stored[owner] += chunk.total_compressed_size
                    plain[owner] += chunk.total_uncompressed_size
    rows = max(rows, 1)
    return ColumnBytes(origin, {n: stored[n] / rows for n in names}, {n: plain[n] / rows for n in names})


def _owner(path: str, known: set[str]) -> str | None:
    """The column of a Parquet leaf, such as ``tags`` of ``tags.list.element``; names may contain dots."""
    parts = path.split(".")
    tried = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((name for name in tried if name in known), None)


def _of_sample(sample: pl.DataFrame, kind: str) -> ColumnBytes:
    """For Arrow the cells' size in memory, which is the file's layout; for text their length plus a separator."""
    found = {column.name: _cell_bytes(column, kind) for column in sample}
    what = "memory size of the cells" if kind == "arrow" else "text length of the cells"
    return ColumnBytes(f"estimated from {what} in {sample.height:,} rows", found, found)


def _cell_bytes(cells: pl.Series, kind: str) -> float:
    if kind == "arrow" or cells.dtype.is_nested():
        return cells.estimated_size() / max(len(cells), 1)
    key = len(cells.name) + 4 if kind == "json" else 1  # quotes, colon, comma; or a separator
    length = cells.cast(pl.String).str.len_bytes().fill_null(0).mean()
    return key + float(length if isinstance(length, int | float) else 0.0)


def _spread(items: Sequence[Item], most: int) -> Sequence[Item]:
    """At most ``most`` items, evenly spaced."""
    return items[:: -(-len(items) // most)] if len(items) > most else items

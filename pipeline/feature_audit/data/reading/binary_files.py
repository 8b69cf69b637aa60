"""Parquet and Arrow files as one lazy frame."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from feature_audit.data.messages import READ_ERRORS, one_line
from feature_audit.data.reading.files import hive_keys
from feature_audit.data.reading.split_marks import marked
from feature_audit.errors import AuditError

#: First bytes of a stream of Arrow messages; an Arrow file starts with ARROW1.
_STREAM = b"\xff\xff\xff\xff"


def scan_binary(files: tuple[Path, ...], suffix: str, root: Path | None, splits: Mapping[Path, str]) -> pl.LazyFrame:
    """One scan over Parquet or Arrow files with matching columns and types.

    Args:
        files: in row order.
        suffix: ``parquet`` or ``arrow``.
        root: the folder below which hive keys (``day=1/``) become columns (``files.hive_root``), or None.
        splits: file -> split, or empty.

    Raises:
        AuditError: a file cannot be read, or two files have different columns or types.
    """
    first: pl.Schema | None = None
    for file in files:
        schema = _schema_of(file, suffix)
        if first is None:
            first = schema
        else:
            _same_schema(first, schema, files[0], file)
    hive = bool(hive_keys(files[0], root))

    def scan(mine: list[Path]) -> pl.LazyFrame:
        if suffix == "arrow":
            return pl.scan_ipc(mine, hive_partitioning=hive, glob=False)
        return pl.scan_parquet(
            mine,
            hive_partitioning=hive,
            glob=False,
            cast_options=pl.ScanCastOptions(integer_cast="upcast", float_cast="upcast"),
        )

    if not splits:
        return scan(list(files))
    parts = {split: [file for file in files if splits[file] == split] for split in dict.fromkeys(splits.values())}
    return pl.concat([marked(scan(mine), split) for split, mine in parts.items()], how="vertical_relaxed")


def _schema_of(file: Path, suffix: str) -> pl.Schema:
    try:
        scan = pl.scan_parquet if suffix == "parquet" else pl.scan_ipc
        return scan(file, glob=False).collect_schema()
    except READ_ERRORS as error:
        if suffix == "arrow" and _starts_with(file, _STREAM):
            raise AuditError(f"data={file}: an Arrow stream, not an Arrow file; write it as Parquet") from None
        raise AuditError(f"data={file}: not a readable {suffix} file ({one_line(error)}); write it again") from None


def _starts_with(file: Path, mark: bytes) -> bool:
    with file.open("rb") as stream:
        return stream.read(len(mark)) == mark


def _same_schema(first: pl.Schema, other: pl.Schema, first_file: Path, file: Path) -> None:
    missing = [name for name in first if name not in other]
    extra = [name for name in other if name not in first]
    if missing or extra:
        which, where = (missing[0], first_file) if missing else (extra[0], file)
        raise AuditError(
            f"data={file}: column {which} is only in {where.name}; all files of a glob need the same columns"
        )
    for name, dtype in first.items():
        if dtype != other[name] and not _widens(other[name], dtype):
            raise AuditError(
                f"data={file}: column {name} is {other[name]}, but {dtype} in {first_file.name}; write it with one type"
            )


def _widens(narrow: pl.DataType, wide: pl.DataType) -> bool:
    """True if Polars casts ``narrow`` to ``wide`` without loss, as its scan options allow."""
    if narrow.is_float() and wide.is_float():
        return narrow == pl.Float32 and wide == pl.Float64
    if (narrow.is_signed_integer() and wide.is_signed_integer()) or (
        narrow.is_unsigned_integer() and wide.is_unsigned_integer()
    ):
        return int(re.sub(r"\D", "", str(narrow))) < int(re.sub(r"\D", "", str(wide)))
    return False

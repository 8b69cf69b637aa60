"""CSV and TSV (also .gz): every column's type is decided over all rows, then the table is staged once as Parquet."""

from __future__ import annotations

import csv
import fnmatch
import gzip
import io
from collections.abc import Callable
from pathlib import Path

import polars as pl

from feature_audit.config import ReaderConfig
from feature_audit.data.columns import one_line
from feature_audit.errors import AuditError

#: Texts that mean "no number" in a column whose other cells are all numbers; in a column of words they stay words.
NULL_WORDS = ("NA", "N/A", "NaN", "nan", "NULL", "null", "None", "none", "?", "\\N", "-", "#N/A", "n/a")
#: Datetime formats that are tried, in this order; the first one that fits every cell is taken.
DATE_FORMATS = (
    "%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S%.fZ", "%Y-%m-%dT%H:%M:%S%:z", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M",
    "%Y/%m/%d", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%m/%d/%Y", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y", "%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%d.%m.%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%d-%m-%Y",
    "%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%b %d, %Y", "%d-%m-%y", "%m/%d/%y", "%d/%m/%y",
)  # fmt: skip
ROW_GROUP = 65_536


def read_text(
    files: tuple[Path, ...], reader: ReaderConfig, staged: Path, progress: Callable[[str], None]
) -> tuple[pl.LazyFrame, tuple[str, ...]]:
    """Read text files as strings, decide types on every row, write one typed Parquet file and scan it.

    Args:
        files: CSV or TSV files with the same columns.
        reader: separator, header, names, null texts and types from the configuration.
        staged: the Parquet file to write.
        progress: told what takes long.

    Returns:
        The typed table and notes on what was decided.

    Raises:
        AuditError: wrong number of columns, different headers, a row that is too long; the line names file and line.
    """
    separators = [reader.separator or ("," if ".csv" in file.name.lower() else "\t") for file in files]
    names = _names(files, separators, reader)
    frames = [
        pl.scan_csv(
            file, separator=separator, has_header=reader.has_header, infer_schema=False, new_columns=names,
            null_values=list(reader.null_values),
        )
        for file, separator in zip(files, separators, strict=True)
    ]  # fmt: skip
    frame = pl.concat(frames)
    progress(f"reading {len(files)} text file(s): deciding the types of {len(names)} columns")
    try:
        facts = frame.select(_facts(name) for name in names).collect()
        notes: list[str] = []
        typed = frame.select(_typed(name, facts[name][0], reader, notes) for name in names)
        staged.parent.mkdir(parents=True, exist_ok=True)
        typed.sink_parquet(staged, row_group_size=ROW_GROUP, maintain_order=True)
    except pl.exceptions.PolarsError as error:
        for file, separator in zip(files, separators, strict=True):
            _find_long_row(file, separator, len(names))
        raise AuditError(
            f"data={files[0]}: cannot be read as text ({one_line(error)}); check reader.separator"
        ) from None
    return pl.scan_parquet(staged), tuple(notes)


def _names(files: tuple[Path, ...], separators: list[str], reader: ReaderConfig) -> list[str]:
    """Column names, checked to be the same (or as many) in every file."""
    first: list[str] | None = None
    for file, separator in zip(files, separators, strict=True):
        with _open(file) as stream:
            row = next(csv.reader(stream, delimiter=separator), None)
        if not row:
            raise AuditError(f"data={file}: the file is empty")
        if not reader.has_header:
            row = _given_names(file, len(row), reader)
        elif len(set(row)) < len(row):
            repeated = next(name for name in row if row.count(name) > 1)
            raise AuditError(f"data={file}: the header names column {repeated!r} twice; rename one")
        if first is not None and row != first:
            other = next((b for a, b in zip(first, row, strict=False) if a != b), f"{len(row)} columns")
            raise AuditError(
                f"data={file}: its header differs from {files[0].name} at {other}; all files need the same columns"
            )
        first = row
    assert first is not None
    return first


def _given_names(file: Path, width: int, reader: ReaderConfig) -> list[str]:
    if not reader.columns:
        return [f"column_{index}" for index in range(width)]
    if len(reader.columns) != width:
        raise AuditError(f"reader.columns names {len(reader.columns)} columns, but {file} has {width}")
    return list(reader.columns)


def _facts(name: str) -> pl.Expr:
    """How many cells of a text column read as each type, as one struct."""
    cell = pl.col(name)
    word = cell.str.strip_chars()
    held = pl.when(word.is_in(list(NULL_WORDS))).then(None).otherwise(word)
    dates = [held.str.to_datetime(pattern, strict=False).count().alias(pattern) for pattern in DATE_FORMATS]
    return pl.struct(
        cell.count().alias("cells"),
        held.count().alias("held"),
        held.cast(pl.Int64, strict=False).count().alias("integer"),
        held.cast(pl.Float64, strict=False).count().alias("float"),
        held.str.to_lowercase().is_in(["true", "false"]).sum().alias("boolean"),
        held.str.contains(r"^0\d+$").sum().alias("padded"),
        *dates,
    ).alias(name)


def _typed(name: str, facts: dict[str, int], reader: ReaderConfig, notes: list[str]) -> pl.Expr:
    """The text column as its decided type; ``reader.types`` wins over the decision."""
    said = next((kind for glob, kind in reader.types.items() if glob == name or fnmatch.fnmatchcase(name, glob)), None)
    kind, pattern = _decide(facts) if said is None else (said, None)
    cell = pl.col(name)
    word = cell.str.strip_chars()
    if said is not None and kind == "datetime":
        pattern = max(DATE_FORMATS, key=lambda form: facts[form])
    if kind == "string":
        return cell
    lost = facts["held"] - facts[pattern or kind]
    if lost:
        notes.append(f"{name}: {lost} of {facts['held']} cells are not {kind} and count as missing")
    if kind == "boolean":
        return (
            word.str.to_lowercase()
            .replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean)
            .alias(name)
        )
    if pattern is not None:
        return word.str.to_datetime(pattern, strict=False).alias(name)
    return word.cast(pl.Int64 if kind == "integer" else pl.Float64, strict=False).alias(name)


def _decide(facts: dict[str, int], share: float = 0.995) -> tuple[str, str | None]:
    """The narrowest type that (nearly) every cell has; text where none fits."""
    held = facts["held"]
    if held == 0 or facts["padded"]:  # 00123 is a code, not a number
        return "string", None
    if facts["boolean"] == held:
        return "boolean", None
    if facts["integer"] == held:
        return "integer", None
    if facts["float"] >= share * held:
        return "float", None
    pattern = next((form for form in DATE_FORMATS if facts[form] == held), None)
    return ("datetime", pattern) if pattern else ("string", None)


def _open(file: Path) -> io.TextIOBase:
    if file.suffix == ".gz":
        return gzip.open(file, "rt", encoding="utf-8", errors="replace", newline="")
    return file.open(encoding="utf-8", errors="replace", newline="")


def _find_long_row(file: Path, separator: str, width: int) -> None:
    """Raise with the line of the first row that has more cells than the header."""
    with _open(file) as stream:
        rows = csv.reader(stream, delimiter=separator)
        for row in rows:
            if len(row) > width:
                raise AuditError(
                    f"data={file}: line {rows.line_num} has {len(row)} cells, the header {width}; quote or fix that row"
                )

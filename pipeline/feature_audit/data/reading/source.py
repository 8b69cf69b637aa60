"""Opens the user's data as one lazy Polars frame with a fixed row order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl

from feature_audit.config import AuditConfig
from feature_audit.config.sections import ReaderConfig
from feature_audit.data.messages import READ_ERRORS, one_line
from feature_audit.data.reading import delimited, recbole
from feature_audit.data.reading.binary_files import scan_binary
from feature_audit.data.reading.calendar import within_calendar
from feature_audit.data.reading.files import (
    JSON,
    ROW_GROUP,
    TEXT,
    bare_suffix,
    format_of,
    hive_keys,
    hive_root,
    local_files,
    looks_like_splits,
    split_of_files,
)
from feature_audit.data.reading.json_files import scan_json
from feature_audit.data.reading.prepare_function import call_prepare
from feature_audit.data.reading.remote import is_remote, open_remote, path_of
from feature_audit.errors import AuditError

Progress = Callable[[str], None]

#: Reader settings that JSON files do not support, and those that only text files support.
_JSON_UNREAD = ("separator", "has_header", "columns", "null_values", "types")
_UNREAD = (*_JSON_UNREAD, "row_number")


@dataclass(frozen=True)
class Source:
    """A table to audit.

    Attributes:
        frame: all rows in a fixed order, typed.
        origin: column -> source table, if the input names it (RecBole's user and item files).
        notes: decisions made while reading, for the report.
        used: int64 row numbers of ``frame`` that the audit uses, ascending; None = all. All methods skip the others.
    """

    frame: pl.LazyFrame
    origin: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    used: np.ndarray | None = None

    def column(self, name: str) -> pl.Series:
        """One whole column.

        Raises:
            AuditError: a file is corrupt.
        """
        return self.select(pl.col(name))

    def select(self, expression: pl.Expr) -> pl.Series:
        """One expression over the columns, evaluated row by row.

        Raises:
            AuditError: a file is corrupt.
            PolarsError: the expression cannot be computed.
        """
        values = self.collect(self.frame.select(expression)).to_series()
        return values if self.used is None else values[self.used]

    def rows(self, columns: Sequence[str], start: int, length: int) -> pl.DataFrame:
        """Consecutive rows of some columns."""
        frame = self.frame.select(columns)
        if self.used is None:
            return self.collect(frame.slice(start, length))
        wanted = self.used[start : start + length]
        if not len(wanted):
            return self.collect(frame.head(0))
        return self.collect(frame.slice(wanted[0], wanted[-1] - wanted[0] + 1))[wanted - wanted[0]]

    def row_numbers(self, start: int, stop: int) -> pl.Series:
        """Input row numbers (from 0) of consecutive rows."""
        return pl.Series("row", np.arange(start, stop) if self.used is None else self.used[start:stop])

    def spread(self, codes: np.ndarray) -> np.ndarray:
        """int8 codes of the used rows, expanded to input rows up to the last used one; -1 for the others."""
        if self.used is None:
            return codes
        spread = np.full(int(self.used[-1]) + 1, -1, dtype=np.int8)
        spread[self.used] = codes
        return spread

    def without(self, rows: np.ndarray, why: str) -> Source:
        """The same table without the rows where bool ``rows`` is true, and a note with their number and the reason."""
        used = np.arange(len(rows)) if self.used is None else self.used
        note = f"{int(rows.sum()):,} of {len(rows):,} rows are left out: {why}"
        return replace(self, used=used[~rows], notes=(*self.notes, note))

    @staticmethod
    def collect(frame: pl.LazyFrame) -> pl.DataFrame:
        """Run a query on the table; a corrupt file raises ``AuditError``."""
        try:
            return frame.collect()
        except READ_ERRORS as error:
            raise AuditError(f"data: cannot be read to the end ({one_line(error)}); write the file again") from None

    def chunks(self, rows: int, columns: list[str] | None = None) -> Iterator[pl.DataFrame]:
        """The table in order, in chunks of ``rows`` rows (the last may be shorter), so that memory is bounded.

        Raises:
            AuditError: a file is corrupt.
        """
        frame = self.frame if columns is None else self.frame.select(columns)
        try:
            start = 0
            for batch in frame.collect_batches(chunk_size=rows, maintain_order=True):
                stop = start + batch.height
                chunk = batch
                if self.used is not None:
                    first, last = np.searchsorted(self.used, [start, stop])
                    chunk = batch[self.used[first:last] - start]
                start = stop
                yield from chunk.iter_slices(rows)
        except READ_ERRORS as error:
            raise AuditError(f"data: cannot be read to the end ({one_line(error)}); write the file again") from None


def open_source(config: AuditConfig, data: str, directory: Path, progress: Progress) -> Source:
    """Open ``data``, staging text and prepared tables as Parquet once.

    Args:
        config: reader settings and ``prepare``.
        data: path, glob, folder or URI.
        directory: where staged tables are written.
        progress: called with a message before each long step.

    Raises:
        AuditError: the data are missing, empty, corrupt, ragged or of mixed types; the message names the file.
    """
    source = _open(config, data, directory, progress)
    frame, notes = within_calendar(source.frame, Source.collect)
    return replace(source, frame=frame, notes=(*source.notes, *notes))


def _open(config: AuditConfig, data: str, directory: Path, progress: Progress) -> Source:
    if config.prepare:
        _no_split_files(config, "prepare builds the table; let it add a split column")
        _refuse_unread(config.reader, "the table that prepare builds")
        made = call_prepare(config.prepare, data)
        return Source(_stage(made, directory / "prepared.parquet", progress, f"prepare={config.prepare}"))
    shown = f"data={data}"
    staged = directory / "staged.parquet"
    if is_remote(data):
        _no_split_files(config, "it supports only local files")
        as_text = bare_suffix(path_of(data)) in (*TEXT, *JSON)
        _refuse_unread(config.reader, "files of a URI", " or copy the files to this machine" if as_text else "")
        remote = open_remote(data)
        return Source(_stage(remote, staged, progress, shown) if as_text else _not_empty(remote, shown))
    files = local_files(data)
    suffix = _common_format(files)
    splits = split_of_files(files, config.split_files) if config.split_files else {}
    if suffix != "text":
        _refuse_unread(config.reader, f"{suffix} files", keys=_JSON_UNREAD if suffix == "json" else _UNREAD)
    notes, root = _split_notes(config, files), hive_root(data)
    if suffix == "inter":
        _no_split_files(config, "a .inter file cannot be split by files; give split=<column>")
        if len(files) > 1:
            raise AuditError(f"data={data}: {len(files)} .inter files; point to one")
        frame, origin = recbole.read_atomic(files[0], progress)
        return Source(_stage(frame, staged, progress, shown), origin)
    if suffix == "text":
        keys = {file: hive_keys(file, root) for file in files}
        frame, more = delimited.read_text(files, config.reader, staged, progress, splits, keys)
        return Source(_numbered(_not_empty(frame, shown), config.reader.row_number), notes=(*notes, *more))
    if suffix == "json":
        frame = _numbered(_stage(scan_json(files, splits, root), staged, progress, shown), config.reader.row_number)
        return Source(frame, notes=notes)
    return Source(_not_empty(scan_binary(files, suffix, root, splits), shown), notes=notes)


def _refuse_unread(reader: ReaderConfig, what: str, more: str = "", keys: tuple[str, ...] = _UNREAD) -> None:
    """Refuse a setting that would have no effect.

    Raises:
        AuditError: one of ``keys`` is set.
    """
    for key in keys:
        value = getattr(reader, key)
        if value != getattr(ReaderConfig(), key):
            kinds = "; kinds says what a column is" if key == "types" else ""
            raise AuditError(f"reader.{key}={value}: {what} are read without it; leave it out{more}{kinds}")


def _common_format(files: tuple[Path, ...]) -> str:
    """The common format of all files.

    Raises:
        AuditError: a file is empty, its format is unknown, or formats differ.
    """
    suffix = format_of(files[0])
    for file in files:
        if file.stat().st_size == 0:
            raise AuditError(f"data={file}: the file is empty")
        if format_of(file) != suffix:
            raise AuditError(
                f"data={file}: a {format_of(file)} file among {suffix} files; point to files of one format"
            )
    return suffix


def _no_split_files(config: AuditConfig, why: str) -> None:
    if config.split_files:
        raise AuditError(f"split_files={config.split_files}: {why}")


def _split_notes(config: AuditConfig, files: tuple[Path, ...]) -> tuple[str, ...]:
    """A question if files are named like splits but no split is configured."""
    if len(files) == 1 or config.split_files or config.time or config.split:
        return ()
    sentence = looks_like_splits(files)
    return () if sentence is None else (sentence,)


def _numbered(frame: pl.LazyFrame, name: str | None) -> pl.LazyFrame:
    """The frame with a first column of row numbers from 0, if a name for it is given."""
    if name is None:
        return frame
    if name in frame.collect_schema():
        raise AuditError(f"reader.row_number={name}: the table already has a column of that name; choose another")
    return frame.with_row_index(name)


def _not_empty(frame: pl.LazyFrame, shown: str) -> pl.LazyFrame:
    try:
        rows, columns = frame.select(pl.len()).collect().item(), len(frame.collect_schema())
    except READ_ERRORS as error:
        raise AuditError(f"{shown}: cannot be read ({one_line(error)})") from None
    if not rows or not columns:
        raise AuditError(f"{shown}: no {'columns' if rows else 'rows'}")
    return frame


def _stage(frame: pl.LazyFrame, path: Path, progress: Progress, shown: str) -> pl.LazyFrame:
    """Write the table once as Parquet and scan it; ``shown`` names its origin in messages."""
    progress(f"writing the prepared table to {path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        frame.sink_parquet(path, row_group_size=ROW_GROUP, maintain_order=True)
    except READ_ERRORS as error:
        raise AuditError(f"{shown}: the table cannot be built ({one_line(error)})") from None
    return _not_empty(pl.scan_parquet(path, glob=False), shown)

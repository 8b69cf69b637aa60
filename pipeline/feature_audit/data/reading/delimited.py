"""CSV and TSV (also .gz, .zst): types are decided over all rows, then the table is staged once as Parquet."""

from __future__ import annotations

import csv
import itertools
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from feature_audit.config.sections import ReaderConfig
from feature_audit.data.columns.moments import MOST, likely_formats
from feature_audit.data.columns.roles import SPLIT_COLUMN, match_globs
from feature_audit.data.messages import READ_ERRORS, UNPACK_ERRORS, listing, one_line
from feature_audit.data.reading.files import ROW_GROUP, bare_suffix
from feature_audit.data.reading.row_shape import Shape, open_text, scan_lines, shape_of
from feature_audit.data.reading.split_marks import keyed, marked
from feature_audit.data.reading.text_bytes import require_text
from feature_audit.data.reading.text_types import Facts, held_words, set_type, type_facts, typed
from feature_audit.errors import AuditError
from feature_audit.plurals import counted

#: Number of first rows that decide which datetime formats are tried on all rows.
PEEK_ROWS = 2_000
#: Number of first lines used to guess the separator.
_GLANCE_LINES = 50


@dataclass(frozen=True)
class _File:
    """One text file, scanned as strings."""

    path: Path
    separator: str
    names: list[str]
    frame: pl.LazyFrame
    blank_lines: int


def read_text(
    files: tuple[Path, ...],
    reader: ReaderConfig,
    staged: Path,
    progress: Callable[[str], None],
    splits: Mapping[Path, str] | None = None,
    keys: Mapping[Path, Mapping[str, str | None]] | None = None,
) -> tuple[pl.LazyFrame, tuple[str, ...]]:
    """Read text files as strings, decide types over all rows, write one typed Parquet file and scan it.

    Args:
        files: CSV or TSV files with the same columns.
        reader: separator, header, names, null texts and types from the configuration.
        staged: the Parquet file to write.
        progress: called with a message before each long step.
        splits: file -> split of its rows, which becomes a column; None = no split files.
        keys: file -> its hive keys, which become columns.

    Returns:
        The typed table, and notes on decisions made.

    Raises:
        AuditError: the number of columns or the headers are wrong, types are mixed, or a row is too short or too long;
            the message names the file, and the line if one is at fault.
    """
    opened = _open_all(files, reader, staged.parent / "plain")
    if keys:
        opened = [replace(file, frame=keyed(file.frame, keys[file.path])) for file in opened]
    names = list(dict.fromkeys([*opened[0].names, *(keys or {}).get(files[0], {})]))
    for pattern in reader.types:
        match_globs("reader.types", [pattern], names)
    progress(f"reading {counted(len(files), 'text file')}: deciding the types of {counted(len(names), 'column')}")
    notes = _separator_notes(opened, reader)
    notes += [
        f"{file.path.name}: {counted(file.blank_lines, 'empty line is', 'empty lines are')} skipped"
        for file in opened
        if file.blank_lines
    ]
    if reader.has_header and names[0] == "" and len(names) > 1:
        notes.append("the first column has no name, like the row names that pandas and R write, so it is left out")
        names = names[1:]
    per_file = [_read_facts(file, names, reader) for file in opened]
    if "" in names and not any(facts[""]["held"] for facts in per_file):
        notes.append("a column without a name has no cells, so it is left out")
        names = [name for name in names if name]
    columns = []
    for name in names:
        facts = _agree(name, [facts[name] for facts in per_file], opened)
        columns.append(typed(name, facts, reader, notes))
    if splits:
        columns.append(pl.col(SPLIT_COLUMN))
        opened = [replace(file, frame=marked(file.frame, splits[file.path])) for file in opened]
    staged.parent.mkdir(parents=True, exist_ok=True)
    try:
        pl.concat([file.frame for file in opened]).select(columns).sink_parquet(
            staged, row_group_size=ROW_GROUP, maintain_order=True
        )
    except READ_ERRORS as error:
        raise _unreadable(opened, error) from None
    shutil.rmtree(staged.parent / "plain", ignore_errors=True)
    return pl.scan_parquet(staged, glob=False), tuple(notes)


def _open_all(files: tuple[Path, ...], reader: ReaderConfig, copies: Path) -> list[_File]:
    """Scan every file as strings after checking that headers agree; files that Polars would misread are rewritten."""
    opened: list[_File] = []
    for number, path in enumerate(files):
        require_text(path)
        separator = reader.separator or _guess_separator(path)
        names = _names(path, separator, reader)
        if opened and names != opened[0].names:
            first = opened[0]
            raise AuditError(
                f"data={path}: its header differs from that of {first.path.name}: {_difference(first.names, names)}; "
                "all files need the same columns in the same order"
            )
        copy = copies / f"{number}.csv"
        shape = _check_rows(path, separator, len(names), copy)
        frame = _scan(copy if shape.rewritten else path, separator, names, reader)
        blank = shape.blank if len(names) > 1 else 0  # an empty line of one column is a missing cell
        if blank and not shape.rewritten:  # Polars reads an empty line as a row of nulls
            frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))
        opened.append(_File(path, separator, names, frame, blank))
    return opened


def _difference(first: list[str], names: list[str]) -> str:
    """How the columns of a file differ from those of the first one."""
    if len(first) == len(names):
        return next(f"{b} in place of {a}" for a, b in zip(first, names, strict=True) if a != b)
    missing, extra = ([name for name in one if name not in other] for one, other in ((first, names), (names, first)))
    parts = [f"{word} {listing(found, 3)}" for word, found in (("without", missing), ("with", extra)) if found]
    return ", ".join(parts) or counted(len(names), "column")


def _scan(path: Path, separator: str, names: list[str], reader: ReaderConfig) -> pl.LazyFrame:
    """A text file as strings. Multi-byte separators, which Polars does not support, are split without quoting."""
    if len(separator.encode()) == 1:
        return pl.scan_csv(
            path, separator=separator, has_header=reader.has_header, infer_schema=False, new_columns=names,
            null_values=list(reader.null_values), encoding="utf8-lossy", glob=False,
        )  # fmt: skip
    cell = pl.element().str.strip_chars().str.replace('(?s)^"(.*)"$', "${1}")
    cell = pl.when(~cell.is_in(["", *reader.null_values])).then(cell)
    cells = scan_lines(path).slice(int(reader.has_header)).select(pl.col("line").str.split(separator).list.eval(cell))
    return cells.select(pl.col("line").list.get(place, null_on_oob=True).alias(n) for place, n in enumerate(names))


def _guess_separator(path: Path) -> str:
    """The usual separator of the suffix; if the first line lacks it, the first other one common to all lines.

    Raises:
        AuditError: the file cannot be read.
    """
    suffix = bare_suffix(path)
    usual = {".csv": ",", ".dat": "::"}.get(suffix, "\t")
    others = ("\t", "::", "|", ";", ",") if suffix in (".csv", ".tsv", ".tab") else ("::", "|", ";", ",", " ")
    lines = [line for line in _first_lines(path, _GLANCE_LINES) if line]
    if not lines or usual in lines[0]:
        return usual
    for sign in others:
        if sign in lines[0] and all(line.count(sign) == lines[0].count(sign) for line in lines):
            return sign
    return usual


def _first_lines(path: Path, count: int) -> list[str]:
    try:
        with open_text(path) as stream:
            return [line.rstrip("\r\n") for line in itertools.islice(stream, count)]
    except UNPACK_ERRORS as error:
        raise AuditError(f"data={path}: cannot be read ({one_line(error)}); write it again") from None


def _separator_notes(files: list[_File], reader: ReaderConfig) -> list[str]:
    """A note on the detected separator."""
    notes = []
    found = {file.separator for file in files if not reader.separator}
    if found - {",", "\t"}:
        notes.append(
            f"cells are separated by {', '.join(map(repr, sorted(found)))}; set reader.separator to change this"
        )
    return notes


def _check_rows(path: Path, separator: str, width: int, copy: Path) -> Shape:
    """The shape of a file whose rows all have the header's length; other files are refused."""
    shape = shape_of(path, separator, width, copy)
    if shape.problem is not None:
        raise AuditError(f"data={path}: the row that starts in line {shape.bad_line}: {shape.problem}; fix its quotes")
    if shape.bad_line is not None and width == 1 and (shape.cells or 0) > 2:
        raise AuditError(
            f"data={path}: the first line is no header: it has 1 cell, and line {shape.bad_line} has {shape.cells}; "
            "remove the lines above the header"
        )
    if shape.bad_line is not None:
        raise AuditError(
            f"data={path}: line {shape.bad_line} has {shape.cells} cells, but the header has {width}; quote or fix "
            "that row"
        )
    return shape


def _first_row(file: Path, separator: str) -> list[str] | None:
    if len(separator.encode()) > 1:
        return next((line.split(separator) for line in _first_lines(file, 1)), None)
    try:
        with open_text(file) as stream:
            return next(csv.reader(stream, delimiter=separator), None)
    except (*UNPACK_ERRORS, csv.Error) as error:
        raise AuditError(f"data={file}: cannot be read ({one_line(error)}); write it again") from None


def _names(file: Path, separator: str, reader: ReaderConfig) -> list[str]:
    row = _first_row(file, separator)
    if not row:
        raise AuditError(f"data={file}: the file is empty")
    if reader.has_header:
        if len(row) > 1 and all(re.fullmatch(r"-?\d+(\.\d+)?", cell) for cell in row) and row != _counted(row):
            raise AuditError(
                f"data={file}: the first line contains numbers instead of names ({', '.join(row[:4])}); give "
                f"reader.has_header: false and reader.columns with {len(row)} names"
            )
        repeated = next((name for name in row if row.count(name) > 1), None)
        if repeated is not None:
            raise AuditError(f"data={file}: column {repeated!r} occurs twice in the header; rename one")
        return row
    if not reader.columns:
        return [f"column_{index}" for index in range(len(row))]
    if len(reader.columns) != len(row):
        raise AuditError(
            f"reader.columns: {counted(len(reader.columns), 'name')}, but {file} has {counted(len(row), 'column')}; "
            "give one name per column"
        )
    return list(reader.columns)


def _counted(row: list[str]) -> list[str]:
    """Numbers from the row's first one on, as pandas and R name columns without names."""
    first = int(row[0]) if row[0].isdigit() else 0
    return [str(first + place) for place in range(len(row))]


def _read_facts(file: _File, names: list[str], reader: ReaderConfig) -> dict[str, Facts]:
    """Column -> number of cells that parse as each type; formats that do not fit the first cells are not counted."""
    try:
        peek = file.frame.head(PEEK_ROWS).select(held_words(name) for name in names).collect()
        empty = [name for name in names if not peek[name].count()]
        late = file.frame.select(held_words(name).drop_nulls().head(PEEK_ROWS).implode() for name in empty).collect()
        likely = {}
        for name in names:
            words = (peek[name] if name not in empty else late[name].explode()).drop_nulls()
            given = set_type(name, reader)
            number = given is None and words.cast(pl.Float64, strict=False).count() >= MOST * len(words)
            likely[name] = () if number else likely_formats(words, 0.0 if given == "datetime" else MOST)
        counts = file.frame.select(type_facts(name, likely[name]) for name in names).collect()
    except READ_ERRORS as error:
        raise _unreadable([file], error) from None
    return {name: counts[name][0] for name in names}


def _agree(name: str, facts: list[Facts], files: list[_File]) -> Facts:
    """The counts of all files combined; numbers in one file and words in another are an error."""
    for one, file in zip(facts, files, strict=True):
        if one["held"] and one["float"] == 0 and any(other["float"] == other["held"] > 0 for other in facts):
            numbers = next(
                f.path.name for f, other in zip(files, facts, strict=True) if other["float"] == other["held"] > 0
            )
            raise AuditError(
                f"data={file.path}: column {name} contains text here, but numbers in {numbers}; write it with one "
                f"type, or set reader.types.{name}"
            )
    keys = [key for key in facts[0] if all(key in one for one in facts)]  # in the order of preference of formats
    return {key: sum(one[key] for one in facts) for key in keys}


def _unreadable(files: list[_File], error: BaseException) -> AuditError:
    """Error for a file that Polars cannot read although its row lengths are right."""
    path = files[0].path
    remedy = "write it again" if path.suffix.lower() in (".gz", ".zst") else "check its quotes and reader.separator"
    return AuditError(f"data={path}: cannot be read as text ({one_line(error)}); {remedy}")

"""CSV and TSV (also .gz): each column's type is decided over all rows, then the table is staged once as Parquet."""

from __future__ import annotations

import csv
import fnmatch
import itertools
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from feature_audit.config.sections import ReaderConfig
from feature_audit.data.columns.casting import NULL_WORDS
from feature_audit.data.columns.moments import MOST, is_date, likely_formats, text_moment
from feature_audit.data.columns.roles import SPLIT_COLUMN, match_globs
from feature_audit.data.messages import READ_ERRORS, UNPACK_ERRORS, one_line
from feature_audit.data.reading.files import ROW_GROUP, bare_suffix
from feature_audit.data.reading.row_shape import Shape, open_text, scan_lines, shape_of
from feature_audit.data.reading.split_marks import marked
from feature_audit.data.reading.text_bytes import require_text
from feature_audit.errors import AuditError

#: Maximum share of cells that may fail to parse as a type set by the user.
MOST_LOST = 0.5
#: Number of first rows that decide which datetime formats are tried on all rows.
PEEK_ROWS = 2_000
#: Number of first lines used to guess the separator.
_GLANCE_LINES = 50

_NUMBERS = {"integer": pl.Int64, "unsigned": pl.UInt64, "float": pl.Float64}

Facts = dict[str, int]


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
) -> tuple[pl.LazyFrame, tuple[str, ...]]:
    """Read text files as strings, decide types over all rows, write one typed Parquet file and scan it.

    Args:
        files: CSV or TSV files with the same columns.
        reader: separator, header, names, null texts and types from the configuration.
        staged: the Parquet file to write.
        progress: called with a message before each long step.
        splits: file -> split of its rows, which becomes a column; None = no split files.

    Returns:
        The typed table, and notes on decisions made.

    Raises:
        AuditError: the number of columns or the headers are wrong, types are mixed, or a row is too short or too long;
            the message names the file, and the line if one is at fault.
    """
    opened = _open_all(files, reader, staged.parent / "plain")
    names = opened[0].names
    for pattern in reader.types:
        match_globs("reader.types", [pattern], names)
    progress(f"reading {len(files)} text file(s): deciding the types of {len(names)} columns")
    notes = _separator_notes(opened, reader)
    notes += [f"{file.path.name}: {file.blank_lines} empty lines are skipped" for file in opened if file.blank_lines]
    if reader.has_header and names[0] == "" and len(names) > 1:
        notes.append("the first column has no name, like the row names that pandas and R write, so it is left out")
        names = names[1:]
    per_file = [_read_facts(file, names, reader) for file in opened]
    typed = []
    for name in names:
        facts = _agree(name, [facts[name] for facts in per_file], opened)
        typed.append(_typed(name, facts, reader, notes))
    if splits:
        typed.append(pl.col(SPLIT_COLUMN))
        opened = [replace(file, frame=marked(file.frame, splits[file.path])) for file in opened]
    staged.parent.mkdir(parents=True, exist_ok=True)
    try:
        pl.concat([file.frame for file in opened]).select(typed).sink_parquet(
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
            pairs = zip(first.names, names, strict=False)
            other = next((f"{b} in place of {a}" for a, b in pairs if a != b), f"{len(names)} columns")
            raise AuditError(
                f"data={path}: its header differs from that of {first.path.name}: {other}; all files need the same "
                "columns in the same order"
            )
        copy = copies / f"{number}.csv"
        shape = _check_rows(path, separator, len(names), copy)
        frame = _scan(copy if shape.rewritten else path, separator, names, reader)
        blank = shape.blank if len(names) > 1 else 0  # an empty line of one column is a missing cell
        if blank and not shape.rewritten:  # Polars reads an empty line as a row of nulls
            frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))
        opened.append(_File(path, separator, names, frame, blank))
    return opened


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
        raise AuditError(f"reader.columns: {len(reader.columns)} names, but {file} has {len(row)} columns")
    return list(reader.columns)


def _counted(row: list[str]) -> list[str]:
    """Numbers from the row's first one on, as pandas and R name columns without names."""
    first = int(row[0]) if row[0].isdigit() else 0
    return [str(first + place) for place in range(len(row))]


def _read_facts(file: _File, names: list[str], reader: ReaderConfig) -> dict[str, Facts]:
    """Column -> number of cells that parse as each type; formats that do not fit the first cells are not counted."""
    try:
        peek = file.frame.head(PEEK_ROWS).select(_held(name) for name in names).collect()
        empty = [name for name in names if not peek[name].count()]
        late = file.frame.select(_held(name).drop_nulls().head(PEEK_ROWS).implode() for name in empty).collect()
        likely = {}
        for name in names:
            words = (peek[name] if name not in empty else late[name].explode()).drop_nulls()
            said = _said(name, reader)
            number = said is None and words.cast(pl.Float64, strict=False).count() >= MOST * len(words)
            likely[name] = () if number else likely_formats(words, 0.0 if said == "datetime" else MOST)
        counted = file.frame.select(_facts(name, likely[name]) for name in names).collect()
    except READ_ERRORS as error:
        raise _unreadable([file], error) from None
    return {name: counted[name][0] for name in names}


def _said(name: str, reader: ReaderConfig) -> str | None:
    """The type set by ``reader.types``, or None."""
    return next((kind for glob, kind in reader.types.items() if fnmatch.fnmatchcase(name, glob)), None)


def _held(name: str) -> pl.Expr:
    """The stripped words of a text column; texts that mean missing become null."""
    word = pl.col(name).str.strip_chars()
    return pl.when(word.is_in(list(NULL_WORDS))).then(None).otherwise(word).alias(name)


def _facts(name: str, formats: tuple[str, ...]) -> pl.Expr:
    """Counts for one text column, as a struct."""
    held = _held(name)
    number = held.cast(pl.Float64, strict=False)
    whole = held.str.contains(r"^[-+]?\d+$")
    return pl.struct(
        held.count().alias("held"),
        held.cast(pl.Int64, strict=False).count().alias("integer"),
        held.cast(pl.UInt64, strict=False).count().alias("unsigned"),
        number.count().alias("float"),
        whole.sum().alias("whole"),
        (whole & (number.abs() > 2**53)).sum().alias("long"),
        (number.is_null() & held.str.contains(r"\d")).sum().alias("written"),
        held.str.to_lowercase().is_in(["true", "false"]).sum().alias("boolean"),
        held.str.contains(r"^0\d+$").sum().alias("padded"),
        held.str.contains("\ufffd", literal=True).sum().alias("undecoded"),
        *(is_date(held, pattern).sum().alias(pattern) for pattern in formats),
    ).alias(name)


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
    keys = set.intersection(*(set(one) for one in facts))
    return {key: sum(one[key] for one in facts) for key in keys}


def _typed(name: str, facts: Facts, reader: ReaderConfig, notes: list[str]) -> pl.Expr:
    """The text column cast to its decided type; ``reader.types`` takes precedence."""
    said = _said(name, reader)
    kind, pattern = _decide(facts) if said is None else (said, None)
    if facts["undecoded"]:
        notes.append(
            f"{name}: {facts['undecoded']} of {facts['held']} cells are not UTF-8, so their other characters are all "
            "replaced by the same one; write the file as UTF-8"
        )
    if kind == "string":
        return pl.col(name)
    if kind == "datetime" and pattern is None:
        formats = [key for key in facts if "%" in key]
        pattern = max(formats, key=lambda form: facts[form], default=None)
        if pattern is None:
            raise AuditError(
                f"reader.types.{name}=datetime: its cells do not match any known datetime format; give ISO dates"
            )
    lost = facts["held"] - facts[pattern or kind]
    if lost > MOST_LOST * facts["held"]:
        raise AuditError(
            f"reader.types.{name}={kind}: {lost} of {facts['held']} cells cannot be read as {kind}; give string, or "
            "fix the column"
        )
    if lost:
        notes.append(f"{name}: {lost} of {facts['held']} cells are not {kind} and are treated as missing")
    word = pl.col(name).str.strip_chars()
    if kind == "boolean":
        truth = {"true": True, "false": False}
        return word.str.to_lowercase().replace_strict(truth, default=None, return_dtype=pl.Boolean).alias(name)
    if pattern is not None:
        return text_moment(word, pattern).alias(name)
    return word.cast(_NUMBERS[kind], strict=False).alias(name)


def _decide(facts: Facts) -> tuple[str, str | None]:
    """The narrowest type that fits (nearly) every cell; text if none fits."""
    held = facts["held"]
    if held == 0 or facts["padded"]:  # 00123 is a code, not a number
        return "string", None
    if facts["boolean"] == held:
        return "boolean", None
    whole = next((kind for kind in ("integer", "unsigned") if facts[kind] == held), None)
    if whole is not None:
        return whole, None
    if facts["float"] >= MOST * held:
        if facts["whole"] < facts["float"]:
            # "12,000" among plain numbers: one form for the whole column is found later.
            return ("string" if facts["written"] else "float"), None
        return ("string" if facts["written"] or facts["long"] else "integer"), None  # a float would merge long codes
    pattern = next((key for key in facts if "%" in key and facts[key] >= MOST * held), None)
    return ("datetime", pattern) if pattern else ("string", None)


def _unreadable(files: list[_File], error: BaseException) -> AuditError:
    """Error for a file that Polars cannot read although its row lengths are right."""
    path = files[0].path
    remedy = "write it again" if path.suffix == ".gz" else "check its quotes and reader.separator"
    return AuditError(f"data={path}: cannot be read as text ({one_line(error)}); {remedy}")

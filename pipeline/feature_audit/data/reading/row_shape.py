"""Finds rows of a text file with too few or too many cells, and quotes that Polars would misread.

Polars silently fills the missing cells of a short row with nulls, so that a truncated or shifted file would pass. It
also treats an inch mark (``5" pipe``) as an opening quote when it looks for the ends of rows. One streaming pass over
the raw lines checks that each line is a complete row. Only a file with quotes in which some line is not a row is read
again by Python's ``csv``, which rewrites it in a form that cannot be misread.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from feature_audit.data.messages import READ_ERRORS, UNPACK_ERRORS
from feature_audit.data.reading.text_bytes import unpacked

#: A character that does not occur in text, used as the scan's separator so that a line is one cell.
_NONE = "\x01"
#: Placeholder for a whole quoted cell.
_QUOTED = "\x03"
#: Cell length beyond which a quote counts as never closed.
_LONGEST_CELL = 1 << 24


@dataclass(frozen=True)
class Shape:
    """Result of checking the lines of a text file.

    Attributes:
        blank: number of empty lines.
        bad_line: number of the first line (from 1; the last line of a row with quoted line breaks) whose row has the
            wrong number of cells, or None.
        cells: number of cells of that row.
        problem: the error in that row, if it is not the number of cells.
        rewritten: the file must be read from its copy.
    """

    blank: int = 0
    bad_line: int | None = None
    cells: int = 0
    problem: str | None = None
    rewritten: bool = False


def shape_of(path: Path, separator: str, width: int, copy: Path | None = None) -> Shape:
    """Check every row of a file against its header.

    Args:
        path: text file, also .gz and .zst.
        separator: cell separator.
        width: number of cells that every row must have.
        copy: path of the rewritten file if one is needed; None = ``"`` is an ordinary character.
    """
    quotes = copy is not None and len(separator.encode()) == 1
    lines = scan_lines(path, separator).with_row_index("number")
    line, sign = pl.col("line").fill_null(""), f"\\x{{{ord(separator[0]):x}}}"
    try:
        quoted = quotes and bool(_streamed(lines.select(line.str.contains('"', literal=True).any())).item())
        bare = line.str.replace_all(f'(^|{sign})"(?:[^"]|"")*"', f"${{1}}{_QUOTED}") if quoted else line
        wrong = (line != "") & (bare.str.count_matches(separator, literal=True) != width - 1)
        if quoted:
            wrong |= bare.str.contains(f'"|{_QUOTED}[^{sign}]')
        first = pl.col("number").filter(wrong).min()
        blank, number = _streamed(lines.select((line == "").sum().alias("blank"), first.alias("first"))).row(0)
        if number is None:
            return Shape(blank)
        text = _streamed(lines.filter(pl.col("number") == number))["line"][0]
    except READ_ERRORS:
        return _row_by_row(path, separator, width, copy) if quotes and copy else Shape()
    if quoted and copy:
        return _row_by_row(path, separator, width, copy)
    return Shape(blank, number + 1, text.count(separator) + 1)


def scan_lines(path: Path, unlike: str = "") -> pl.LazyFrame:
    """A text file as one column ``line``; empty lines are null.

    Args:
        path: text file, also .gz and .zst.
        unlike: text that lines may contain, so that it is not used as the scan's separator.
    """
    frame = pl.scan_csv(
        path, separator=_NONE if unlike != _NONE else "\x02", has_header=False, infer_schema=False, quote_char=None,
        new_columns=["line"], encoding="utf8-lossy", glob=False,
    )  # fmt: skip
    return frame.select(pl.col("line").str.strip_suffix("\r"))


def _streamed(frame: pl.LazyFrame) -> pl.DataFrame:
    return frame.collect(engine="streaming")


def _row_by_row(path: Path, separator: str, width: int, copy: Path) -> Shape:
    """Read with ``csv``, which treats a quote inside a cell as a character, and rewrite the file for Polars."""
    blank, line = 0, 0
    copy.parent.mkdir(parents=True, exist_ok=True)
    csv.field_size_limit(_LONGEST_CELL)
    with open_text(path) as stream, copy.open("w", encoding="utf-8", newline="") as plain:
        rows = csv.reader(stream, delimiter=separator, strict=True)
        write = csv.writer(plain, delimiter=separator, lineterminator="\n").writerow
        try:
            for row in rows:
                if not row and width > 1:
                    blank += 1
                    continue
                if len(row or [""]) != width:
                    return Shape(blank, rows.line_num, len(row))
                line = rows.line_num
                write(row)
        except csv.Error as error:
            return Shape(blank, line + 1, problem=str(error))
        except UNPACK_ERRORS:
            return Shape(blank)  # Polars reports it
    return Shape(blank, rewritten=True)


def open_text(file: Path) -> io.TextIOBase:
    """A text file for reading line by line; .gz and .zst files are decompressed."""
    return io.TextIOWrapper(unpacked(file), encoding="utf-8-sig", errors="replace", newline="")

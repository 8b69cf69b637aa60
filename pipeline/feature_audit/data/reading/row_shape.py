"""Finds rows of a text file that have too few or too many cells.

Polars fills the cells that a short row lacks with null and says nothing, so a file that was cut or shifted would pass.
One streaming pass over the raw lines counts separators; only a file with quotes where some line does not add up is read
again, row by row.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from feature_audit.data.messages import READ_ERRORS

#: A character that no text holds: the scan's "separator", so that a line is one cell.
_NONE = "\x01"


@dataclass(frozen=True)
class Shape:
    """What the lines of a text file look like.

    Attributes:
        blank: empty lines.
        bad_line: number of the first line (from 1; the last one of a row with line breaks in quotes) whose row has a
            wrong number of cells, or None.
        cells: cells of that row.
    """

    blank: int = 0
    bad_line: int | None = None
    cells: int = 0


def shape_of(path: Path, separator: str, width: int, *, quotes: bool = True) -> Shape:
    """Check every row of a file against its header.

    Args:
        path: text file, also .gz.
        separator: between cells.
        width: cells that every row must have.
        quotes: whether ``"`` quotes cells that hold separators or line breaks.
    """
    quotes = quotes and len(separator.encode()) == 1
    lines = scan_lines(path, separator).with_row_index("number")
    line = pl.col("line").fill_null("")
    try:
        quoted = quotes and bool(_streamed(lines.select(line.str.contains('"', literal=True).any())).item())
        bare = line.str.replace_all('"[^"]*"', "") if quoted else line
        wrong = (line != "") & (bare.str.count_matches(separator, literal=True) != width - 1)
        if quoted:
            wrong |= bare.str.contains('"', literal=True)
        first = pl.col("number").filter(wrong).min()
        blank, number = _streamed(lines.select((line == "").sum().alias("blank"), first.alias("first"))).row(0)
        if number is None:
            return Shape(blank)
        text = _streamed(lines.filter(pl.col("number") == number))["line"][0]
    except READ_ERRORS:
        return _row_by_row(path, separator, width)
    return _row_by_row(path, separator, width) if quoted else Shape(blank, number + 1, text.count(separator) + 1)


def scan_lines(path: Path, unlike: str = "") -> pl.LazyFrame:
    """A text file as one column ``line``; empty lines are null.

    Args:
        path: text file, also .gz.
        unlike: what the lines may hold, so that it cannot serve as the scan's own separator.
    """
    frame = pl.scan_csv(
        path, separator=_NONE if unlike != _NONE else "\x02", has_header=False, infer_schema=False, quote_char=None,
        new_columns=["line"], encoding="utf8-lossy", glob=False,
    )  # fmt: skip
    return frame.select(pl.col("line").str.strip_suffix("\r"))


def _streamed(frame: pl.LazyFrame) -> pl.DataFrame:
    return frame.collect(engine="streaming")


def _row_by_row(path: Path, separator: str, width: int) -> Shape:
    blank = 0
    with contextlib.suppress(OSError, EOFError, csv.Error), open_text(path) as stream:
        rows = csv.reader(stream, delimiter=separator)
        for row in rows:
            if not row:
                blank += 1
            elif len(row) != width:
                return Shape(blank, rows.line_num, len(row))
    return Shape(blank)


def open_text(file: Path) -> io.TextIOBase:
    """A text file for line-wise reading, unpacked where it is gzipped."""
    if file.suffix == ".gz":
        return gzip.open(file, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return file.open(encoding="utf-8-sig", errors="replace", newline="")

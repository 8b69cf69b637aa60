"""Finds rows of a text file that have too few or too many cells, and quotes that Polars would misread.

Polars silently fills the missing cells of a short row with null, so a truncated or shifted file would pass;
and it takes an inch mark (``5" pipe``) for an opening quote when it looks for the ends of rows. One streaming pass over
the raw lines checks that each is a row by itself. Only a file with quotes where some line is none is read again, row by
row, by Python's ``csv``, which writes what it reads in a form that cannot be misread.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from feature_audit.data.messages import READ_ERRORS

#: A character that no text holds: the scan's "separator", so that a line is one cell.
_NONE = "\x01"
#: Stands for a whole quoted cell.
_QUOTED = "\x03"
#: Characters of a cell beyond which a quote is taken for one that is never closed.
_LONGEST_CELL = 1 << 24


@dataclass(frozen=True)
class Shape:
    """What the lines of a text file look like.

    Attributes:
        blank: empty lines.
        bad_line: number of the first line (from 1; the last one of a row with line breaks in quotes) whose row has a
            wrong number of cells, or None.
        cells: cells of that row.
        problem: what is wrong with that row, where it is not the number of its cells.
        rewritten: the file has to be read from its copy.
    """

    blank: int = 0
    bad_line: int | None = None
    cells: int = 0
    problem: str | None = None
    rewritten: bool = False


def shape_of(path: Path, separator: str, width: int, copy: Path | None = None) -> Shape:
    """Check every row of a file against its header.

    Args:
        path: text file, also .gz.
        separator: between cells.
        width: cells that every row must have.
        copy: where the file is written in a plain form if it needs to be; None = ``"`` is a character as any other.
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


def _row_by_row(path: Path, separator: str, width: int, copy: Path) -> Shape:
    """Read as ``csv`` does, which takes a quote inside a cell for a character, and write what Polars cannot misread."""
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
        except (EOFError, gzip.BadGzipFile, zlib.error):
            return Shape(blank)  # Polars will say so
    return Shape(blank, rewritten=True)


def open_text(file: Path) -> io.TextIOBase:
    """A text file for line-wise reading, unpacked where it is gzipped."""
    if file.suffix == ".gz":
        return gzip.open(file, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return file.open(encoding="utf-8-sig", errors="replace", newline="")

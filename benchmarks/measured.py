"""Tables of the benchmarks: Markdown on the terminal, and the same figures unrounded in a CSV file.

The scripts of every folder use it, so that a table in docs/results and its raw file come from one run. A script that
imports it adds this folder to the end of ``sys.path``: further in front, ``selectors`` would be taken for the standard
library's module.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from scipy import stats


class Table:
    """A table that is printed row by row, because rows can be minutes apart."""

    def __init__(self, head: Sequence[object], path: Path | None = None) -> None:
        """Print the head.

        Args:
            head: titles of the columns.
            path: CSV file that the figures are added to; None = only print.
        """
        self.path = path
        print(line(head) + "\n|" + "---|" * len(head), flush=True)

    def add(self, cells: Iterable[object], *figures: Mapping[str, object]) -> None:
        """Print a row, and add its figures to the file.

        Args:
            cells: of the row, as they are shown.
            figures: lines of the file by column: what was measured, and on what. One row may be several lines.
        """
        print(line(cells), flush=True)
        if self.path:
            append(self.path, *figures)


def line(cells: Iterable[object]) -> str:
    """One row in Markdown."""
    return f"| {' | '.join(map(str, cells))} |"


def append(path: Path, *figures: Mapping[str, object]) -> None:
    """Add lines to a CSV file; the first ones name the columns, and later ones may leave some empty.

    Floats are written with six digits.

    Raises:
        SystemExit: the file has other columns, so it belongs to another benchmark.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(name for one in figures for name in one))
    known: list[str] = []
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            known = next(csv.reader(file), [])
    if known and (missing := [name for name in names if name not in known]):
        raise SystemExit(f"--csv {path}: it has no column {', '.join(missing)}; name a new file")
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, known or names, lineterminator="\n")
        if not known:
            writer.writeheader()
        writer.writerows({name: written(value) for name, value in one.items()} for one in figures)


def written(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def csv_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--csv``."""
    parser.add_argument("--csv", type=Path, help="file that the raw figures are added to")


def with_interval(count: int, of: int) -> str:
    """Share with its exact (Clopper-Pearson) 95 % interval."""
    interval = stats.binomtest(count, of).proportion_ci(0.95, method="exact")
    return f"**{count / of:.1%}** ({interval.low:.1%} to {interval.high:.1%})"

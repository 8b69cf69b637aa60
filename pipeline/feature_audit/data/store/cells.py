"""A file of encoded cells: blocks of rows, each with one line per value.

A block is one sequential read, however many values a row has. Inside a block, the cells of one value are contiguous, so
that a model of 30 features does not read the others.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from feature_audit.disk import write_at
from feature_audit.schema import Field

#: Rows of a block; the last one of a file may have fewer. Not a power of two: successive lines would map to the same
#: cache sets, and transposing a tile would take three times as long.
BLOCK_ROWS = 1008
#: Lines of a tile that is transposed at once: source and destination stay in a core's cache.
_TILE_LINES = 256

#: (start, stop) rows.
Run = tuple[int, int]


def lines_of(fields: Iterable[Field], places: Mapping[str, tuple[str, int, str]]) -> dict[str, int]:
    """File -> number of its lines; ``places`` as in ``writer.places_of``."""
    lines = Counter[str]()
    for field in fields:
        lines[places[field.name][0]] += field.width
    return lines


class CellFile:
    """Cells of ``lines`` values and ``rows`` rows.

    Args:
        path: path of the file; opened when cells are first read.
        dtype: dtype of a cell.
        lines: number of values per row.
        rows: number of rows in the file.
    """

    def __init__(self, path: Path, dtype: str, lines: int, rows: int) -> None:
        self.path, self.dtype, self.lines, self.rows = path, np.dtype(dtype), lines, rows

    def write(self, handle: int, line: int, row: int, cells: np.ndarray) -> None:
        """Write one value's cells from ``row`` on; safe to call from several threads.

        Args:
            handle: descriptor of the file, open for writing.
            line: line of the value.
            row: row of the first cell.
            cells: contiguous, in the file's dtype.
        """
        for (start, stop), first, height in self._pieces((row, row + len(cells))):
            part = cells[start - row : stop - row]
            place = first + line * height + start % BLOCK_ROWS
            write_at(handle, part.data.cast("B"), place * self.dtype.itemsize)

    def copy(self, lines: Sequence[int], runs: Sequence[Run], to: np.ndarray, places: Sequence[int]) -> None:
        """Copy the runs' cells of some lines.

        Args:
            lines: values to copy.
            runs: rows to copy, run by run.
            to: destination, (values, rows) in any memory order.
            places: position of each line in ``to``.
        """
        spans = _spans(lines, places)
        mapped, done = self._map(), 0
        for run in runs:
            for (start, stop), first, height in self._pieces(run):
                block = mapped[first : first + self.lines * height].reshape(self.lines, height)
                cells = slice(start % BLOCK_ROWS, start % BLOCK_ROWS + stop - start)
                into = slice(done, done + stop - start)
                done = into.stop
                for line, place, count in spans:
                    to[place : place + count, into] = block[line : line + count, cells]
        _drop_pages(mapped)

    def at(self, line: int, width: int, rows: np.ndarray) -> np.ndarray:
        """Cells (rows, width) of some rows, for ``width`` lines from ``line`` on."""
        start = rows // BLOCK_ROWS * BLOCK_ROWS
        height = np.minimum(BLOCK_ROWS, self.rows - start)
        places = (start * self.lines + rows - start)[:, None] + (line + np.arange(width)) * height[:, None]
        mapped = self._map()
        cells: np.ndarray = mapped[places]
        _drop_pages(mapped)
        return cells

    def _pieces(self, run: Run) -> Iterator[tuple[Run, int, int]]:
        """Split a run at block boundaries: rows, offset of the block's first cell in the file, rows of the block."""
        start, end = run
        while start < end:
            block = start - start % BLOCK_ROWS
            stop = min(end, block + BLOCK_ROWS)
            yield (start, stop), block * self.lines, min(BLOCK_ROWS, self.rows - block)
            start = stop

    def _map(self) -> np.ndarray:
        return np.memmap(self.path, dtype=self.dtype, mode="r").view(np.ndarray)


def _spans(lines: Sequence[int], places: Sequence[int]) -> list[tuple[int, int, int]]:
    """(first line, first place, count) of lines contiguous in both source and destination, at most one tile each."""
    spans: list[tuple[int, int, int]] = []
    for line, place in zip(lines, places, strict=True):
        first, to, count = spans[-1] if spans else (-1, -1, 0)
        if (line, place) == (first + count, to + count) and count < _TILE_LINES:
            spans[-1] = (first, to, count + 1)
        else:
            spans.append((line, place, 1))
    return spans


def _drop_pages(mapped: np.ndarray) -> None:
    """Release the mapped pages, so that resident memory counts only what was copied, not the file."""
    base: Any = mapped
    while base is not None and not isinstance(base, mmap.mmap):
        base = getattr(base, "_mmap", None) or getattr(base, "base", None)
    if base is not None and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)

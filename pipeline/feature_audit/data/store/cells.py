"""One file of encoded cells: blocks of rows, and in each block one line per value.

A block is one sequential read, however many values a row has; inside it one value's cells lie together, so that a model
of 30 features touches nothing of the others.
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

#: Rows of a block; the last one of a file may have fewer. No power of two: lines that lie one apart would share their
#: places in a core's cache, and turning a tile would take three times as long.
BLOCK_ROWS = 1008
#: Lines of a tile that is turned at once: both of its ends stay in a core's cache.
_TILE_LINES = 256

#: (start, stop) rows.
Run = tuple[int, int]


def lines_of(fields: Iterable[Field], places: Mapping[str, tuple[str, int, str]]) -> dict[str, int]:
    """File -> its lines; ``places`` as in ``writer.places_of``."""
    lines = Counter[str]()
    for field in fields:
        lines[places[field.name][0]] += field.width
    return lines


class CellFile:
    """Cells of ``lines`` values and ``rows`` rows.

    Args:
        path: of the file; not opened before cells are asked for.
        dtype: of a cell.
        lines: values of a row.
        rows: in the file.
    """

    def __init__(self, path: Path, dtype: str, lines: int, rows: int) -> None:
        self.path, self.dtype, self.lines, self.rows = path, np.dtype(dtype), lines, rows

    def write(self, handle: int, line: int, row: int, cells: np.ndarray) -> None:
        """Put one value's cells at ``row`` and the rows after it; threads may do so at once.

        Args:
            handle: of the file, open for writing.
            line: of the value.
            row: of the first cell.
            cells: contiguous, of the file's dtype.
        """
        for (start, stop), first, height in self._pieces((row, row + len(cells))):
            part = cells[start - row : stop - row]
            place = first + line * height + start % BLOCK_ROWS
            write_at(handle, part.data.cast("B"), place * self.dtype.itemsize)

    def copy(self, lines: Sequence[int], runs: Sequence[Run], to: np.ndarray, places: Sequence[int]) -> None:
        """Copy the runs' cells of some lines.

        Args:
            lines: which values.
            runs: which rows, one run after the other.
            to: where they go, (values, rows) of any memory order.
            places: in ``to`` of the lines.
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
        _forget(mapped)

    def at(self, line: int, width: int, rows: np.ndarray) -> np.ndarray:
        """Cells (rows, width) of some rows of the lines from ``line`` on."""
        start = rows // BLOCK_ROWS * BLOCK_ROWS
        height = np.minimum(BLOCK_ROWS, self.rows - start)
        places = (start * self.lines + rows - start)[:, None] + (line + np.arange(width)) * height[:, None]
        mapped = self._map()
        cells: np.ndarray = mapped[places]
        _forget(mapped)
        return cells

    def _pieces(self, run: Run) -> Iterator[tuple[Run, int, int]]:
        """A run cut at the blocks' ends: rows, the place of the block's first cell in the file, the block's rows."""
        start, end = run
        while start < end:
            block = start - start % BLOCK_ROWS
            stop = min(end, block + BLOCK_ROWS)
            yield (start, stop), block * self.lines, min(BLOCK_ROWS, self.rows - block)
            start = stop

    def _map(self) -> np.ndarray:
        return np.memmap(self.path, dtype=self.dtype, mode="r").view(np.ndarray)


def _spans(lines: Sequence[int], places: Sequence[int]) -> list[tuple[int, int, int]]:
    """(first line, first place, count) of lines that lie together and stay together, at most a tile's."""
    spans: list[tuple[int, int, int]] = []
    for line, place in zip(lines, places, strict=True):
        first, to, count = spans[-1] if spans else (-1, -1, 0)
        if (line, place) == (first + count, to + count) and count < _TILE_LINES:
            spans[-1] = (first, to, count + 1)
        else:
            spans.append((line, place, 1))
    return spans


def _forget(mapped: np.ndarray) -> None:
    """Give the mapped pages back, so that resident memory counts what was copied, not the file."""
    base: Any = mapped
    while base is not None and not isinstance(base, mmap.mmap):
        base = getattr(base, "_mmap", None) or getattr(base, "base", None)
    if base is not None and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)

"""A file of cells gives back what was written, in whatever pieces it was written and is read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from feature_audit.data.store.cells import BLOCK_ROWS, CellFile
from feature_audit.data.store.reader import prefetched

ROWS = (1, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 2 * BLOCK_ROWS + 300)


def written(folder: Path, rows: int, lines: int, dtype: str) -> tuple[CellFile, np.ndarray]:
    """A file and its content (lines, rows), written in pieces of other lengths than a block's, lines in any order."""
    rng = np.random.default_rng(rows)
    content = rng.integers(0, 250, (lines, rows)).astype(dtype)
    file = CellFile(folder / "cells.bin", dtype, lines, rows)
    with file.path.open("wb") as handle:
        for start in range(0, rows, 700):
            for line in rng.permutation(lines):
                file.write(handle.fileno(), int(line), start, np.ascontiguousarray(content[line, start : start + 700]))
    return file, content


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("rows", ROWS)
def test_any_lines_of_any_runs(tmp_path: Path, rows: int, dtype: str) -> None:
    file, content = written(tmp_path, rows, 300, dtype)
    assert file.path.stat().st_size == content.nbytes
    rng = np.random.default_rng(1)
    edges = np.sort(rng.integers(0, rows + 1, 6))
    runs = [(int(a), int(b)) for a, b in edges.reshape(3, 2)[::-1]]
    chosen = np.concatenate([np.arange(*run) for run in runs]).astype(int)
    for lines in (list(range(300)), rng.permutation(300)[:40].tolist()):
        places = rng.permutation(len(lines)).tolist()
        to = np.empty((len(chosen), len(lines)), dtype=np.float64)
        file.copy(lines, runs, to.T, places)
        expected = np.empty_like(to)
        expected[:, places] = content[lines][:, chosen].T
        np.testing.assert_array_equal(to, expected)


@pytest.mark.parametrize("rows", ROWS)
def test_cells_of_any_rows(tmp_path: Path, rows: int) -> None:
    file, content = written(tmp_path, rows, 7, "uint16")
    some = np.random.default_rng(2).integers(0, rows, 50)
    np.testing.assert_array_equal(file.at(2, 3, some), content[2:5, some].T)


def test_prefetched_batches_are_the_same_in_the_same_order() -> None:
    assert list(prefetched(iter(range(1, 40)))) == list(range(1, 40))  # type: ignore[arg-type]


def test_the_next_one_is_prepared_while_the_caller_works() -> None:
    second = threading.Event()

    def batches() -> Iterator[Any]:
        yield "first"
        second.set()
        yield "second"

    drawn = prefetched(batches())
    assert next(drawn) == "first"
    assert second.wait(timeout=60)  # before it is requested
    assert list(drawn) == ["second"]


def test_an_abandoned_batch_iterator_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    drawn = prefetched(iter([1, 2, 3]))  # type: ignore[arg-type]
    next(drawn)
    [thread] = set(threading.enumerate()) - before  # those of other tests may end at any time
    del drawn
    assert not thread.is_alive()


def test_an_error_while_prefetching_is_raised_at_the_next_batch() -> None:
    def batches() -> Iterator[Any]:
        yield "first"
        raise ZeroDivisionError

    drawn = prefetched(batches())
    assert next(drawn) == "first"
    with pytest.raises(ZeroDivisionError):
        next(drawn)

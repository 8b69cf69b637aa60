"""A file of cells gives back what was written, in whatever pieces it was written and is read."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from data_helpers import every_kind, prepared_of
from feature_audit.data import Store
from feature_audit.data.store import reader as store_module
from feature_audit.data.store.cells import BLOCK_ROWS, CellFile

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


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return prepared_of(every_kind(2_500), tmp_path_factory.mktemp("ahead"), row_id="row", time="at")[1]


def test_a_batch_prepared_ahead_is_the_same_batch(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def batches(cores: int) -> list[torch.Tensor]:
        monkeypatch.setattr(store_module.os, "sched_getaffinity", lambda _: set(range(cores)))
        before = threading.active_count()
        drawn = store.batches("train", 100, seed=3)
        first = next(drawn)
        assert threading.active_count() == before + (cores > torch.get_num_threads())
        parts = [first, *drawn]
        assert threading.active_count() == before
        return [part.numeric for part in parts]

    alone, ahead = batches(1), batches(64)
    assert len(alone) == len(ahead)
    assert all(torch.equal(one, other) for one, other in zip(alone, ahead, strict=True))


def test_batches_that_nobody_asks_for_any_more_leave_no_thread(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module.os, "sched_getaffinity", lambda _: set(range(64)))
    before = threading.active_count()
    drawn = store.batches("train", 100)
    next(drawn)
    del drawn
    assert threading.active_count() == before


def test_what_fails_ahead_fails_where_it_is_asked_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module.os, "sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.setattr(CellFile, "copy", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        next(store.batches("train", 100))

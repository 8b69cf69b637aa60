"""A sample of a store's train and validation rows, by whole groups if there are groups, as a smaller store.

A group (or a row, without groups) is selected by the hash of its label (its id), independently of the rest of the log:
a 10 % sample contains the 1 % sample, and rows appended to the log do not change it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl

from feature_audit.data.store.cells import BLOCK_ROWS, CellFile
from feature_audit.data.store.reader import Store
from feature_audit.data.table.splits import SPLITS
from feature_audit.disk import require_room, whole
from feature_audit.errors import AuditError
from feature_audit.schema import SplitName

_SAMPLED: tuple[SplitName, ...] = ("train", "validation")
_ORIGIN = "origin.npy"


def share_of_rows(rows: float | None, there: int) -> float:
    """``rows`` as a share: a count divided by ``there`` (at most 1), or a share below 1 as given; None = 1."""
    if rows is None:
        return 1.0
    return rows if rows < 1 else min(rows / max(there, 1), 1.0)


def pick_rows(store: Store, *, share: float, seed: int) -> dict[SplitName, np.ndarray]:
    """Positions within train and validation of the sampled rows, int64, ascending.

    Args:
        store: all rows.
        share: share of the groups, or of the rows without groups, above 0.
        seed: seed of the hash.

    Raises:
        AuditError: the sample lacks rows of a split or a class of a binary target.
    """
    picked = {split: np.flatnonzero(_is_picked(store, split, share, seed)) for split in _SAMPLED}
    _require_both_classes(store, picked, share)
    return picked


def write_sample(store: Store, directory: Path, picked: dict[SplitName, np.ndarray]) -> None:
    """Copy the picked rows into a store without test rows; ``layout.json`` is written last.

    Raises:
        DiskFullError: there is not enough disk space.
    """
    layout = json.loads((store.directory / "layout.json").read_text(encoding="utf-8"))
    layout["rows"] = {split: len(picked[split]) if split in picked else 0 for split in SPLITS}
    files = [file for split in _SAMPLED for file in store.files(split)]
    directory.mkdir(parents=True, exist_ok=True)
    row_bytes = sum(file.lines * file.dtype.itemsize for file in files) // len(_SAMPLED)
    require_room(directory, row_bytes * sum(layout["rows"].values()), "the sample of the training store")
    for split, rows in picked.items():
        place = directory / split
        place.mkdir(exist_ok=True)
        for file in store.files(split):
            _copy(file, rows, place / file.path.name)
        for path in (store.directory / split).glob("*.npy"):  # each has one value per row
            np.save(place / path.name, np.load(path, mmap_mode="r")[rows])
        np.save(place / _ORIGIN, rows)
    with whole(directory / "layout.json") as unfinished:
        unfinished.write_text(json.dumps(layout), encoding="utf-8")


def origin(sample: Store, split: SplitName) -> np.ndarray:
    """int64 (rows,), ascending: row positions of a sample in the split of its original store."""
    return np.load(sample.directory / split / _ORIGIN)


def _is_picked(store: Store, split: SplitName, share: float, seed: int) -> np.ndarray:
    """Bool (rows,)."""
    group, labels = store.group(split), store.group_labels
    if group is None or labels is None:
        return np.concatenate([[], *(_is_low(ids, share, seed) for ids in store.row_ids(split))]).astype(bool)
    return _is_low(labels, share, seed)[group]


def _is_low(labels: pl.Series, share: float, seed: int) -> np.ndarray:
    return (labels.hash(seed) < int(share * 2**64)).to_numpy()


def _require_both_classes(store: Store, picked: dict[SplitName, np.ndarray], share: float) -> None:
    for split, rows in picked.items():
        target = store.target(split)
        if not len(rows) or (store.schema.task == "binary" and np.ptp(target[rows]) < np.ptp(target)):
            what = "no row" if not len(rows) else "a single class"
            raise AuditError(
                f"rows: the sample has {what} of {split} ({len(rows):,} of {len(target):,} rows, a share of "
                f"{share:.3g}); give more rows"
            )


def _copy(file: CellFile, rows: np.ndarray, path: Path) -> None:
    """Write the selected rows of a file, block by block."""
    with path.open("wb") as handle:
        for first in range(0, len(rows), BLOCK_ROWS):
            cells = file.at(0, file.lines, rows[first : first + BLOCK_ROWS])
            handle.write(np.ascontiguousarray(cells.T).data)

"""Facts about rows that are computed block by block equal those from whole columns."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
import pytest
from feature_audit.data.reading.source import Source
from feature_audit.data.table.dataset import label_digest
from feature_audit.data.table.splits import _by_hash
from feature_audit.data.table.statistics import sample_positions
from feature_audit.data.table.target import read_codes


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("dataset._BLOCK_ROWS", "target._BLOCK_ROWS", "splits._BLOCK", "statistics._BLOCK"):
        monkeypatch.setattr(f"feature_audit.data.table.{place}", 7)


def numbers(values: int, rows: int = 100) -> np.ndarray:
    return np.random.default_rng(values).integers(0, values, rows)


@pytest.mark.parametrize(
    "label",
    [pl.Series(numbers(2)), pl.Series(numbers(2)).cast(pl.Boolean), pl.Series(numbers(3)).cast(pl.String),
     pl.Series(numbers(10**9, 300)) / 7, pl.Series([1.0, None, 2.0] * 10)],
)  # fmt: skip
def test_a_label_has_the_digest_of_its_ranks(label):
    ranks = label.rank("dense").fill_null(0).cast(pl.Int32).to_numpy()
    flipped = np.where(ranks > 0, ranks.max() + 1 - ranks, 0).astype(np.int32)
    digests = [hashlib.blake2b(one.tobytes(), digest_size=16).hexdigest() for one in (ranks, flipped)]
    assert label_digest(label) == min(digests)


@pytest.mark.parametrize("cells", [[5, -2, None, 5, 9] * 9, [None, 0, 0, -1] * 6, ["b", None, "a"] * 5, [3, 1, 2] * 4])
def test_groups_are_coded_in_the_order_of_their_labels_and_null_is_the_last(cells):
    codes, labels = read_codes(Source(pl.LazyFrame({"user": cells})), "user")
    assert codes.dtype == np.int32
    assert [labels[code] for code in codes] == ["(none)" if cell is None else str(cell) for cell in cells]
    assert labels[: len(set(cells) - {None})] == [str(one) for one in sorted(set(cells) - {None})]


def test_a_row_has_the_same_split_whatever_block_it_is_in(monkeypatch):
    found = _by_hash(1_000, 3, 0.2, 0.15)
    monkeypatch.setattr("feature_audit.data.table.splits._BLOCK", 1_000)
    np.testing.assert_array_equal(found, _by_hash(1_000, 3, 0.2, 0.15))
    assert found.dtype == np.int8
    assert 0.1 < np.mean(found == 2) < 0.3


def test_a_sample_holds_the_chosen_rows_of_its_split(monkeypatch):
    monkeypatch.setattr("feature_audit.data.table.statistics.MIN_SAMPLE_ROWS", 40)
    monkeypatch.setattr("feature_audit.data.table.statistics.SAMPLE_CELLS", 40)
    of_row = _by_hash(500, 1, 0.2, 0.15)
    found = sample_positions(of_row, 1, seed=4)
    chosen = np.random.default_rng([4, 1]).choice(np.flatnonzero(of_row == 0), 40, replace=False)
    np.testing.assert_array_equal(found["train"], np.sort(chosen))
    assert (of_row[found["test"]] == 2).all()

"""A sample is a store of some rows: whole groups, chosen by their ids, not by their position."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from data_helpers import every_kind, prepared_of
from feature_audit.data import Store, origin, pick_rows, share_of_rows, write_sample
from feature_audit.errors import AuditError

SPLITS = ("train", "validation")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Store]:
    """The same rows with and without a group; and with other rows before and after them."""
    frame = every_kind(2_500).with_columns(weight=pl.lit(1.0) + pl.col("count"))
    more = every_kind(3_500, seed=1).with_columns(
        (pl.col("row") + 90_000), (pl.col("user") + 500), weight=pl.lit(1.0) + pl.col("count")
    )
    longer = pl.concat([more.head(1_000), frame, more.tail(2_500)])
    keys = {"row_id": "row", "weight": "weight", "split": "random"}
    made = {
        "grouped": (frame, {**keys, "group": "user"}),
        "longer": (longer, {**keys, "group": "user"}),
        "rows": (frame, keys),
        "longer rows": (longer, keys),
    }
    return {
        name: prepared_of(table, tmp_path_factory.mktemp("sample"), **given)[1] for name, (table, given) in made.items()
    }


def names(store: Store, picked: dict, column: str) -> set:
    """Users or row ids of the picked rows."""
    labels = np.asarray(store.group_labels) if column == "user" else None
    parts = [store.row_id(s) if labels is None else labels[store.group(s)] for s in SPLITS]
    return set(np.concatenate([part[picked[s]] for part, s in zip(parts, SPLITS, strict=True)]).tolist())


def test_a_sample_has_whole_groups_and_about_its_share(stores: dict[str, Store]) -> None:
    store = stores["grouped"]
    picked = pick_rows(store, share=0.3, seed=0)
    users = {split: np.unique(store.group(split)[picked[split]]) for split in SPLITS}
    for split in SPLITS:
        everywhere = np.union1d(users["train"], users["validation"])
        assert (np.isin(store.group(split), everywhere) == np.isin(np.arange(store.rows(split)), picked[split])).all()
    assert 12 <= len(np.union1d(users["train"], users["validation"])) <= 36  # of 80


@pytest.mark.parametrize(("one", "other", "column"), [("grouped", "longer", "user"), ("rows", "longer rows", "row")])
def test_other_rows_before_and_after_leave_it_as_it_is(
    stores: dict[str, Store], one: str, other: str, column: str
) -> None:
    short, long = stores[one], stores[other]
    few = names(short, pick_rows(short, share=0.3, seed=0), column)
    many = names(long, pick_rows(long, share=0.3, seed=0), column)
    there = {split: np.arange(short.rows(split)) for split in SPLITS}
    known = names(short, there, column) & names(long, {s: np.arange(long.rows(s)) for s in SPLITS}, column)
    assert 0 < len(few & known) < len(known)
    assert few & known == many & known


def test_a_larger_sample_holds_a_smaller_one_and_another_seed_another(stores: dict[str, Store]) -> None:
    store = stores["rows"]
    small, large, other = (
        pick_rows(store, share=share, seed=seed)["train"] for share, seed in ((0.1, 0), (0.3, 0), (0.1, 1))
    )
    assert set(small) < set(large)
    assert set(small) != set(other)


@pytest.mark.parametrize("name", ["grouped", "rows"])
def test_its_cells_labels_and_weights_are_those_of_its_rows(
    stores: dict[str, Store], name: str, tmp_path: Path
) -> None:
    store = stores[name]
    write_sample(store, tmp_path / "sample", pick_rows(store, share=0.5, seed=0))
    sample = Store.open(tmp_path / "sample")
    assert sample.rows("test") == 0
    for split in SPLITS:
        rows = origin(sample, split)
        assert len(rows) == sample.rows(split)
        np.testing.assert_array_equal(sample.matrix(split), store.matrix(split)[rows])
        np.testing.assert_array_equal(sample.target(split), store.target(split)[rows])
        np.testing.assert_array_equal(sample.weight(split), store.weight(split)[rows])
        batch = next(sample.batches(split, 64, seed=1))
        first = sample.first_row(split)
        np.testing.assert_array_equal(batch.target, sample.target(split)[batch.row - first])


def test_a_sample_without_a_class_is_one_line(stores: dict[str, Store]) -> None:
    with pytest.raises(AuditError, match=r"rows: the sample has (no row|a single class) of \w+ .*; give more rows"):
        pick_rows(stores["rows"], share=0.001, seed=0)


def test_a_number_is_a_share_of_what_is_there() -> None:
    assert share_of_rows(None, 500) == 1
    assert share_of_rows(100, 500) == 0.2
    assert share_of_rows(501, 500) == 1
    assert share_of_rows(0.3, 500) == 0.3

"""Every row belongs to one split, by time, at random, by group or as given by the user."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from data_helpers import every_kind, prepared_of
from feature_audit.config import AuditConfig
from feature_audit.data.columns.roles import Roles
from feature_audit.data.table.splits import TEST, TRAIN, VALIDATION, Split, overlap, split_rows
from feature_audit.errors import AuditError
from feature_audit.labels import Target
from hypothesis import given, reject, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.usefixtures("without_expectations")


def split(kind: str, rows: int, *, time: np.ndarray | None = None, **keys: Any) -> Split:
    """Rows whose labels are all different, split by a kind."""
    roles = Roles(pl.col("y"), ("y",), None, None, None, kind, None, {}, None, (), (), ())
    target = Target(np.arange(rows, dtype=np.float32), "regression", ())
    return split_rows(AuditConfig(**keys), roles, target, time=time, group=None, column=None)


@given(st.lists(st.integers(0, 400), min_size=400, max_size=900), st.floats(0.15, 0.5), st.floats(0.15, 0.5))
@settings(max_examples=80)
def test_time_split_is_ordered_and_keeps_ties_together(times, test_share, validation_share):
    time = np.array(times, dtype=float)
    try:
        found = split("time", len(time), time=time, test_share=test_share, validation_share=validation_share)
    except AuditError:
        reject()  # too many ties for three splits
    for code in (VALIDATION, TEST):
        assert time[found.of_row < code].max() < time[found.of_row == code].min()
    assert (found.of_row[time >= found.info["test_from"]] == TEST).all()
    most_tied = np.unique(time, return_counts=True)[1].max() / len(time)
    assert abs((found.of_row == TEST).mean() - test_share) <= most_tied + 1 / len(time)


def test_time_split_shares_without_ties():
    time = np.random.default_rng(0).permutation(10_000).astype(float)
    assert split("time", 10_000, time=time).rows() == {"train": 6_800, "validation": 1_200, "test": 2_000}


@given(st.integers(0, 10_000), st.integers(400, 3_000))
@settings(max_examples=30)
def test_a_row_keeps_its_random_split_when_rows_are_added(seed, rows):
    before, after = (split("random", count, seed=seed).of_row for count in (rows, rows + 500))
    np.testing.assert_array_equal(before, after[:rows])


def test_random_shares_and_seeds():
    of_row = split("random", 200_000, seed=0).of_row
    np.testing.assert_allclose(np.bincount(of_row) / 200_000, [0.68, 0.12, 0.2], atol=0.005)
    other = split("random", 200_000, seed=1).of_row
    assert (of_row == TEST)[other == TEST].mean() == pytest.approx(0.2, abs=0.01)  # seeds are independent


def test_no_group_is_in_two_splits(tmp_path):
    frame = every_kind(3_000)
    made, store = prepared_of(frame, tmp_path, group="user", split="group", row_id="row")
    groups = {split: set(store.group(split)) for split in ("train", "validation", "test")}
    assert not groups["train"] & groups["test"]
    assert not groups["train"] & groups["validation"]
    assert not groups["validation"] & groups["test"]
    assert made.split_info["overlap"]["test"]["units_in_train"] == 0


def test_given_split_column(tmp_path):
    part = pl.Series(["Train", " TEST", "dev", "train", "train"] * 300)
    made, store = prepared_of(every_kind().with_columns(part=part), tmp_path, split="part", row_id="row")
    assert made.rows == {"train": 900, "validation": 300, "test": 300}
    assert "part" not in made.schema.names
    assert (store.row_id("test") % 5 == 1).all()
    assert made.split_info["kind"] == "column"


def test_validation_is_carved_from_train_where_the_column_has_none(tmp_path):
    part = pl.Series(["train", "test", "train"] * 500)
    made, store = prepared_of(every_kind().with_columns(part=part), tmp_path, split="part", row_id="row")
    assert made.rows["test"] == 500
    assert 100 < made.rows["validation"] < 200
    assert (store.row_id("validation") % 3 != 2).all()
    assert made.split_info["validation"].startswith("a random 15%")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["train", "test", "x"], "split=part: unknown value 'x'"),
        (["train", "test", None], "split=part: unknown value None"),
        (["train", "val", "train"], "split=part: no row is test"),
    ],
)
def test_wrong_split_columns(tmp_path, values, message):
    with pytest.raises(AuditError, match=message):
        prepared_of(every_kind().with_columns(part=pl.Series(values * 500)), tmp_path, split="part")


def test_one_moment_for_all_rows_cannot_be_split_by_time(tmp_path):
    with pytest.raises(AuditError, match="split=time: the train split has 0 of 1500 rows"):
        prepared_of(every_kind().with_columns(at=pl.datetime(2024, 1, 1)), tmp_path, time="at")


@pytest.mark.parametrize(
    "time",
    [
        pl.col("at").cast(pl.String),
        pl.col("at").dt.strftime("%d.%m.%Y %H:%M"),
        pl.col("at").dt.epoch("s"),
        pl.col("at").dt.epoch("ms").cast(pl.Float64),
        pl.col("at").dt.replace_time_zone("Europe/Berlin"),
    ],
)
def test_time_in_any_form_gives_the_same_split(tmp_path, time):
    made, store = prepared_of(every_kind().with_columns(at=time), tmp_path, time="at", row_id="row")
    assert made.rows == {"train": 1_020, "validation": 180, "test": 300}
    assert store.row_id("test").min() == 11_200


def test_overlap_counts_units_and_rows():
    of_row = np.array([TRAIN, TRAIN, VALIDATION, TEST, TEST, TEST, TEST])
    group = np.array([0, 1, 1, 0, 0, 2, 3])
    assert overlap(of_row, group)["test"] == {"units": 3, "units_in_train": 1, "rows_of_units_in_train": 0.5}

"""Row weights in the store: read, checked, left out where they are zero, and never a feature."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from data_helpers import prepared_of
from feature_audit.config.files import load_config
from feature_audit.data.overview import overview
from feature_audit.errors import AuditError, UsageError
from feature_audit.weighting import effective_size

pytestmark = pytest.mark.usefixtures("without_expectations")

ROWS = 2_000
SPLITS = ("train", "validation", "test")


def log(**more: object) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.normal(size=ROWS)
    return pl.DataFrame(
        {
            "at": [datetime(2024, 1, 1) + timedelta(minutes=minute) for minute in range(ROWS)],
            "x": x,
            "shop": rng.choice(["a", "b", "c"], ROWS),
            "w": rng.integers(1, 6, ROWS),
            "y": (x + rng.normal(size=ROWS) > 1).astype(int),
        }
    ).with_columns(**more)


def test_weights_are_aligned_with_their_rows_and_not_a_feature(tmp_path) -> None:
    frame = log()
    made, store = prepared_of(frame, tmp_path, weight="w", time="at")
    assert "w" not in [column.name for column in made.columns]
    train = store.weight("train")
    for split in SPLITS:
        np.testing.assert_array_equal(store.weight(split), frame["w"].to_numpy()[store.row_id(split)])
        for seed in (None, 3):
            batch = next(iter(store.batches(split, 100, seed=seed)))
            rows = batch.row.numpy() - store.first_row(split)
            expected = (store.weight(split)[rows] / train.mean()).astype(np.float32)
            np.testing.assert_array_equal(batch.weight.numpy(), expected)
            np.testing.assert_array_equal(batch.rows(batch.row[:3] * 0 + 7).weight.numpy(), expected[[7, 7, 7]])
    assert store.effective_rows("test") == effective_size(store.weight("test"))
    assert store.effective_rows("test") < store.rows("test")


def test_a_log_without_weights_has_none(tmp_path) -> None:
    made, store = prepared_of(log(), tmp_path, exclude="w")
    assert store.weight("train") is None
    assert next(iter(store.batches("train", 8, seed=0))).weight is None
    assert store.effective_rows("test") == store.rows("test")
    assert "weighted_by" not in made.summary


def test_rows_of_weight_zero_are_left_out_and_counted(tmp_path) -> None:
    zero = np.arange(ROWS) % 10 == 4
    frame = log(w=pl.Series(np.where(zero, 0.0, 2.5)), shop=pl.Series(np.where(zero, "ghost", "a")))
    made, store = prepared_of(frame, tmp_path, weight="w", time="at")
    notes = [finding.detail for finding in made.findings if not finding.column]
    assert "200 of 2,000 rows are left out: weight=w is 0 there" in notes
    ids = np.concatenate([store.row_id(split) for split in SPLITS])
    assert sorted(ids.tolist()) == np.flatnonzero(~zero).tolist()
    assert store.target("test").tolist() == frame["y"].to_numpy()[store.row_id("test")].tolist()
    assert "ghost" not in (made.directory / "encoders.json").read_text()


def test_sampled_negatives_count_more_and_the_overview_says_so(tmp_path) -> None:
    frame = log()
    made, store = prepared_of(frame.drop("w"), tmp_path, negative_sampling=0.1)
    for split in SPLITS:
        np.testing.assert_array_equal(store.weight(split), np.where(store.target(split) == 1, 1.0, 10.0))
    share = frame["y"].mean()
    by_weight = share / (share + 10 * (1 - share))
    assert made.summary["positives_share_by_weight"] == pytest.approx(by_weight)
    line = overview(made.summary, "random", {"numeric": 1})[0]
    assert f"{100 * share:.3g} % positive, {100 * by_weight:.3g} % by weight" in line
    assert "every negative counts as 10 rows (negative_sampling=0.1) (effective sample size: train " in line


def test_the_key_of_the_store_changes_with_the_weight(tmp_path) -> None:
    made = [
        prepared_of(log(), tmp_path / name, **{"exclude": "w", **keys})[0]
        for name, keys in (
            ("none", {}), ("column", {"weight": "w"}), ("rate", {"negative_sampling": 0.5}),
            ("other", {"negative_sampling": 0.25}),
        ) if not (tmp_path / name).mkdir()
    ]  # fmt: skip
    assert len({one.content for one in made}) == 4
    assert len({one.family for one in made}) == 1, "it is the same table, whose looks add up"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("W", {}, "weight=W: no such column; did you mean w?"),
        ("wigth", {"weight": 1.0}, "weight=wigth: no such column; did you mean weight?"),
        ("y", {}, "weight=y: the column has another role; name the column of the weight"),
        ("at", {}, "weight=at: the column has another role"),
        ("shop", {}, "weight=shop: '.' is not a number; name a numeric column"),
        ("w", {"w": -1}, r"weight=w: 2,000 of 2,000 rows have a negative weight \(first: row 0, -1\); give"),
        ("w", {
            "w": pl.Series([1.0, None] * 1_000)}, r"weight=w: 1,000 of .* rows have no weight \(first: row 1, None"),
        ("w", {"w": pl.Series([1.0, 2.0, float("nan"), 1.0] * 500)}, r"weight=w: 500 of 2,000 rows have no weight"),
        ("w", {"w": pl.Series(["1", "2", "", "1"] * 500)}, r"weight=w: '' is not a number"),
        ("w", {"w": pl.Series([1.0, float("inf")] * 1_000)}, r"weight=w: 1,000 of .* rows have a weight outside 1e-30"),
        ("w", {"w": 0}, "weight=w: it is 0 in every row, so no row counts; name another column, or leave out weight"),
        ("w", {"w": pl.lit([1.0])}, r"weight=w: its type List\(Float64\) is not numeric"),
    ],
)  # fmt: skip
def test_a_column_that_is_no_weight_is_one_line(tmp_path, name: str, change: dict[str, object], message: str) -> None:
    change = {key: pl.lit(value) if isinstance(value, int | float) else value for key, value in change.items()}
    with pytest.raises(AuditError, match=message):
        prepared_of(log(**change), tmp_path, weight=name, time="at")


@pytest.mark.parametrize("written", [pl.Series(["0.5", " 2 "] * 1_000), pl.Series([True, False] * 1_000)])
def test_weights_in_other_types_are_numbers_too(tmp_path, written: pl.Series) -> None:
    _, store = prepared_of(log(w=written), tmp_path, weight="w")
    assert set(np.unique(store.weight("train"))) <= {0.5, 1.0, 2.0}


def test_a_rule_may_not_name_the_weight(tmp_path) -> None:
    with pytest.raises(AuditError, match="never_drop=w: the column is not a feature"):
        prepared_of(log(), tmp_path, weight="w", never_drop="w")


@pytest.mark.parametrize(
    ("label", "task"),
    [(pl.Series(np.linspace(0, 1, ROWS)), "regression"), (pl.Series([0, 1, 2, 3] * 500), "multiclass")],
)
def test_only_binary_labels_have_negatives(tmp_path, label: pl.Series, task: str) -> None:
    with pytest.raises(AuditError, match=f"negative_sampling=0.1: a {task} target has no negatives; give weight="):
        prepared_of(log(y=label), tmp_path, negative_sampling=0.1, exclude="w")
    with pytest.raises(UsageError, match=f"negative_sampling=0.1: task={task} has no negatives; give weight="):
        load_config(None, {"negative_sampling": "0.1", "task": task})


def test_negatives_are_not_guessed(tmp_path) -> None:
    """A sampled log may hold more clicks than negatives, so the rarer value says nothing."""
    frame = log(y=pl.when(pl.col("y") == 1).then(pl.lit("seen")).otherwise(pl.lit("gone"))).drop("w")
    with pytest.raises(
        AuditError, match="it is unclear which value of target=y is negative; give positive=seen or positive=gone"
    ):
        prepared_of(frame, tmp_path, negative_sampling=0.5)
    _, store = prepared_of(frame, tmp_path, negative_sampling=0.5, positive="gone")
    np.testing.assert_array_equal(store.weight("test"), np.where(store.target("test") == 1, 1.0, 2.0))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"negative_sampling": "0"}, "negative_sampling='0': .*greater than 0"),
        ({"negative_sampling": "10"}, "negative_sampling='10': .*less than or equal to 1"),
        ({"negative_sampling": "10%"}, "give negative_sampling=0.1, a plain number"),
        ({"negative_sampling": "nan"}, "negative_sampling='nan'"),
        ({"negative_sampling": "0.1", "weight": "w"}, "negative_sampling=0.1: weight=w already weights the rows"),
    ],
)
def test_invalid_rates_are_refused_before_the_log_is_opened(given: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_config(None, given)


def test_one_heavy_row_is_a_finding(tmp_path) -> None:
    made, store = prepared_of(log(w=pl.Series([1.0] * (ROWS - 1) + [1e6])), tmp_path, weight="w", time="at")
    found = [finding.detail for finding in made.findings if "weighted by w" in finding.detail]
    assert len(found) == 1
    size = f"the effective sample size of the {store.rows('test')} test rows is 1.0 (the heaviest row has 100% of"
    assert size in found[0]

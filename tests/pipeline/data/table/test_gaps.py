"""Rows without a time or a label are left out everywhere and counted; the other rows keep their numbers."""

from __future__ import annotations

import gzip
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from data_helpers import prepared_of
from feature_audit.errors import AuditError

pytestmark = pytest.mark.usefixtures("without_expectations")


def log(gaps: float, rows: int = 2_000, **more: object) -> tuple[pl.DataFrame, np.ndarray]:
    """A log whose times are missing on some rows; only these have the shop "ghost"."""
    rng = np.random.default_rng(0)
    missing = rng.random(rows) < gaps
    at = pl.Series([datetime(2024, 1, 1) + timedelta(minutes=minute) for minute in range(rows)])
    shop = np.where(missing, "ghost", rng.choice(["a", "b", "c"], rows))
    frame = pl.DataFrame(
        {
            "at": at.set(pl.Series(missing), None),
            "shop": shop,
            "x": rng.normal(size=rows),
            "y": rng.integers(0, 2, rows),
        }
    )
    return frame.with_columns(**more), missing


def test_a_few_rows_without_a_time_are_left_out_with_a_note(tmp_path) -> None:
    frame, missing = log(0.005)
    made, store = prepared_of(frame, tmp_path, time="at")
    assert sum(made.rows.values()) == made.summary["rows"] == (~missing).sum()
    notes = [finding.detail for finding in made.findings if not finding.column]
    assert f"{missing.sum()} of 2,000 rows are left out: time=at is missing or unreadable there" in notes
    ids = np.concatenate([store.row_id(split) for split in ("train", "validation", "test")])
    assert sorted(ids.tolist()) == np.flatnonzero(~missing).tolist(), "row numbers are those of the input"
    values = frame["x"].to_numpy()
    batch = next(iter(store.batches("test", 5)))
    order = np.argsort(values[store.row_id("test")[:5]])
    assert order.tolist() == np.argsort(batch.numeric[:, 0].numpy()).tolist(), "each number is that of its own row"
    assert "ghost" not in (made.directory / "encoders.json").read_text()


def test_many_rows_without_a_time_need_a_setting(tmp_path) -> None:
    frame, missing = log(0.1)
    with pytest.raises(
        AuditError, match=rf"time=at: {missing.sum()} of 2,000 rows have no time \(first: row .*give drop_rows=no_time"
    ):
        prepared_of(frame, tmp_path, time="at")
    made, _ = prepared_of(frame, tmp_path, time="at", drop_rows="no_time")
    assert made.summary["rows"] == (~missing).sum()


def test_unreadable_text_times_count_as_missing(tmp_path) -> None:
    frame, missing = log(0.1)
    words = pl.col("at").dt.strftime("%Y-%m-%d %H:%M:%S+01:00").fill_null("soon")
    made, _ = prepared_of(frame.with_columns(words), tmp_path, time="at", drop_rows=["no_time"])
    assert made.summary["rows"] == (~missing).sum()
    assert made.split_info["train_from"] == "2023-12-31 23:00:00"
    with pytest.raises(AuditError, match=r"time=shop: '\w+' does not match any known datetime format"):
        prepared_of(frame, tmp_path, time="shop")


def test_rows_without_a_label_need_a_setting(tmp_path) -> None:
    frame, _ = log(0.0)
    frame = frame.with_columns(y=pl.when(pl.int_range(2_000) % 10 != 3).then("y"))
    with pytest.raises(AuditError, match=r"200 of 2000 rows have no label \(first: row 3\); give drop_rows=no_label"):
        prepared_of(frame, tmp_path, time="at")
    made, store = prepared_of(frame, tmp_path, drop_rows="no_label,no_time", group="shop")
    assert made.summary["rows"] == 1_800
    assert not (store.row_id("train") % 10 == 3).any()
    assert len(store.group("train")) == made.rows["train"]


def test_all_rows_gone_is_one_line(tmp_path) -> None:
    frame, _ = log(1.0)
    with pytest.raises(AuditError, match="drop_rows=no_time: no rows are left"):
        prepared_of(frame, tmp_path, time="at", drop_rows="no_time")


def test_gzip_text_with_gaps(tmp_path) -> None:
    frame, missing = log(0.005)
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(frame.write_csv().encode()))
    made, _ = prepared_of(path, tmp_path, time="at")
    assert made.summary["rows"] == (~missing).sum()


def test_rows_without_a_group_are_one_group_unless_dropped(tmp_path) -> None:
    frame, _ = log(0.0)
    frame = frame.with_columns(pl.when(pl.int_range(2_000) % 8 != 5).then("shop").alias("shop"))
    made, store = prepared_of(frame, tmp_path, group="shop")
    assert made.summary["rows"] == 2_000
    assert "(none)" in store.group_labels
    made, store = prepared_of(frame, tmp_path, group="shop", time="at", drop_rows="no_group")
    assert made.summary["rows"] == 1_750
    assert "(none)" not in store.group_labels
    assert "250 of 2,000 rows are left out: group=shop is missing there" in [one.detail for one in made.findings]
    everywhere = np.concatenate([store.row_id(split) for split in ("train", "validation", "test")])
    assert not (everywhere % 8 == 5).any()

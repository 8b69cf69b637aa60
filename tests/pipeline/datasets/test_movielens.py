"""The MovieLens feature table: no look-ahead, and the same values as a plain loop over the past."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from feature_audit.datasets.movielens import GENRES, build, past_sums
from feature_audit.errors import AuditError
from polars.testing import assert_frame_equal

_REAL = Path(__file__).parents[3] / "../shared/data/ml-100k/ml-100k.inter"
_DAY = 86_400


def _write(folder: Path, inter: pl.DataFrame) -> str:
    rng = np.random.default_rng(5)
    folder.mkdir(exist_ok=True)
    users = pl.DataFrame(
        {
            "user_id:token": [f"{u}" for u in range(12)],
            "age:token": rng.integers(15, 70, 12),
            "gender:token": rng.choice(["M", "F"], 12),
            "occupation:token": rng.choice(["student", "writer"], 12),
            "zip_code:token": [f"{z}" for z in rng.integers(10_000, 99_999, 12)],
        }
    )
    items = pl.DataFrame(
        {
            "item_id:token": [f"{i}" for i in range(20)],
            "movie_title:token_seq": [f"The Film {i}" for i in range(20)],
            "release_year:token": ["V", *(f"{y}" for y in rng.integers(1950, 1998, 19))],
            "class:token_seq": [" ".join(rng.choice(GENRES, rng.integers(1, 4), replace=False)) for _ in range(20)],
        }
    )
    names = {
        "user_id": "user_id:token",
        "item_id": "item_id:token",
        "rating": "rating:float",
        "time": "timestamp:float",
    }
    for suffix, frame in (("inter", inter.rename(names)), ("user", users), ("item", items)):
        frame.write_csv(folder / f"small.{suffix}", separator="\t")
    return str(folder / "small.inter")


@pytest.fixture
def inter() -> pl.DataFrame:
    """400 ratings over 60 days; half of the seconds hold several ratings, also of one user."""
    rng = np.random.default_rng(3)
    seconds = np.sort(880_000_000 + rng.integers(0, 60 * _DAY, 200))
    pairs = rng.permutation(12 * 20)[:200]
    more = rng.permutation(12 * 20)[:200]
    return pl.DataFrame(
        {
            "user_id": (np.concatenate([pairs, more]) // 20).astype(str),
            "item_id": (np.concatenate([pairs, more]) % 20).astype(str),
            "rating": rng.integers(1, 6, 400),
            "time": np.concatenate([seconds, seconds[rng.integers(0, 200, 200)]]),
        }
    ).unique(["user_id", "item_id", "time"], maintain_order=True)


def _features(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.drop("rating")


def test_features_ignore_current_and_later_ratings(tmp_path: Path, inter: pl.DataFrame) -> None:
    before = build(_write(tmp_path / "a", inter)).collect()
    assert before["timestamp"].is_sorted()
    for share in (0.3, 0.6, 0.9):
        moment = int(inter["time"].sort()[int(share * len(inter))])
        turned = pl.when(pl.col("time") >= moment).then(6 - pl.col("rating")).otherwise("rating")
        after = build(_write(tmp_path / "b", inter.with_columns(turned.alias("rating")))).collect()
        until = pl.col("timestamp") <= pl.from_epoch(pl.lit(moment))
        assert not before["rating"].equals(after["rating"])
        assert_frame_equal(_features(before.filter(until)), _features(after.filter(until)), check_exact=True)


def test_features_ignore_later_rows(tmp_path: Path, inter: pl.DataFrame) -> None:
    whole = build(_write(tmp_path / "a", inter)).collect()
    moment = int(inter["time"].sort()[250])
    cut = build(_write(tmp_path / "b", inter.filter(pl.col("time") <= moment))).collect()
    assert len(cut) < len(whole)
    assert_frame_equal(whole.filter(pl.col("timestamp") <= pl.from_epoch(pl.lit(moment))), cut, check_exact=True)


def test_features_ignore_other_rows_of_the_same_second(tmp_path: Path, inter: pl.DataFrame) -> None:
    whole = build(_write(tmp_path / "a", inter)).collect()
    alone = inter.unique("time", keep="first", maintain_order=True)
    last_tie = int(inter.filter(pl.col("time").is_duplicated())["time"].max())
    kept = inter.filter(pl.col("time") < last_tie)
    lone = pl.concat([kept, alone.filter(pl.col("time") == last_tie)])
    cut = build(_write(tmp_path / "b", lone)).collect().tail(1)
    same = whole.join(cut.select("user_id", "item_id", "timestamp"), on=["user_id", "item_id", "timestamp"])
    assert_frame_equal(same, cut, check_exact=True)


def test_the_past_does_matter(tmp_path: Path, inter: pl.DataFrame) -> None:
    """Checks that the tests above compare something."""
    before = build(_write(tmp_path / "a", inter)).collect()
    turned = inter.with_columns(
        pl.when(pl.int_range(pl.len()) < 100).then(6 - pl.col("rating")).otherwise("rating").alias("rating")
    )
    after = build(_write(tmp_path / "b", turned)).collect()
    changed = [name for name in before.columns if not before[name].equals(after[name])]
    assert {"user_mean_all", "item_liked_30d", "ctx_site_mean_1d", "hist_genre_mean_all", "user_last_rating"} <= set(
        changed
    )


def test_numbers_equal_a_loop_over_the_past(tmp_path: Path, inter: pl.DataFrame) -> None:
    table = build(_write(tmp_path / "a", inter)).collect()
    rows = inter.to_dicts()
    epoch = table["timestamp"].dt.epoch("s").to_list()
    for row, now in zip(table.iter_rows(named=True), epoch, strict=True):
        past = [r for r in rows if r["time"] < now]
        mine = [r["rating"] for r in past if r["user_id"] == row["user_id"]]
        week = [r["rating"] for r in past if r["item_id"] == row["item_id"] and now - r["time"] <= 7 * _DAY]
        prior = (sum(r["rating"] for r in past) + 350) / (len(past) + 100)
        assert row["user_count_all"] == len(mine)
        assert row["user_mean_all"] == pytest.approx((sum(mine) + 5 * prior) / (len(mine) + 5))
        assert row["item_count_7d"] == len(week)
        assert row["item_liked_7d"] == pytest.approx(
            (sum(r >= 4 for r in week) + 5 * (sum(r["rating"] >= 4 for r in past) + 50) / (len(past) + 100))
            / (len(week) + 5)
        )
        seen = [r["item_id"] for r in past if r["user_id"] == row["user_id"] and now - r["time"] <= 7 * _DAY]
        assert set(row["hist_recent_items"]) <= set(seen)
        assert len(row["hist_recent_items"]) == min(20, len(seen))
        if len(mine) > 1:
            assert row["user_spread_all"] == pytest.approx(np.std(mine))


def test_windows_leave_out_their_end() -> None:
    events = pl.DataFrame({"key": ["a"] * 5, "_time": [0, 10, 10, 11, 20], "value": [1, 2, 4, 8, 16]})
    past = past_sums(events, ["key"], ["value"], {"10s": 10, "all": None})
    assert past["_time"].to_list() == [0, 10, 11, 20]
    assert past["value__10s"].to_list() == [0, 1, 6, 14]
    assert past["value__all"].to_list() == [0, 1, 7, 15]


def test_a_missing_file_or_column_is_named(tmp_path: Path, inter: pl.DataFrame) -> None:
    path = Path(_write(tmp_path / "a", inter))
    (tmp_path / "a/small.item").write_text("item_id:token\tmovie_title:token_seq\n1\tX\n")
    with pytest.raises(AuditError, match=r"small\.item: no column release_year"):
        build(str(path))
    (tmp_path / "a/small.user").unlink()
    with pytest.raises(AuditError, match=r"small\.user is missing"):
        build(str(path))


@pytest.mark.skipif(not _REAL.is_file(), reason="MovieLens-100k is not in ../shared/data")
def test_the_real_table() -> None:
    table = build(str(_REAL)).collect()
    features = [name for name in table.columns if name not in ("user_id", "item_id", "rating", "timestamp")]
    assert len(table) == 100_000
    assert len(features) >= 200
    assert table["timestamp"].is_sorted()
    assert all(name.split("_")[0] in ("user", "item", "hist", "ctx") for name in features)
    assert max(table.select(features).null_count().row(0)) < 0.5 * len(table)

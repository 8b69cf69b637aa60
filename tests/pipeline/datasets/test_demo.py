"""The demo log: deterministic, as varied as documented, and consistent with its truth."""

from __future__ import annotations

import shutil
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from feature_audit.datasets.demo import ColumnTruth, Truth, build, ensure_demo, grade, make_demo
from polars.testing import assert_frame_equal
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

_KEYS = {"impression_id", "event_time", "user_id", "clicked"}


@pytest.fixture(scope="module")
def demo() -> tuple[pl.DataFrame, Truth]:
    return make_demo(0)


def _aucs(frame: pl.DataFrame, names: list[str]) -> np.ndarray:
    """AUC of each column's values without null rows, in the better direction."""
    known = pl.col(names).is_not_null()
    positives = (pl.col(names).is_not_null() & (pl.col("clicked") == 1)).sum().cast(pl.Float64)
    ranks = pl.col(names).rank().filter(pl.col("clicked") == 1).sum()
    area = (ranks - positives * (positives + 1) / 2) / (positives * (known.sum() - positives))
    auc = frame.select(area).to_numpy()[0]
    return np.maximum(auc, 1 - auc)


def test_the_same_seed_gives_the_same_log_and_another_seed_another() -> None:
    first, truth = make_demo(7, n_rows=4_000)
    again, truth_again = make_demo(7, n_rows=4_000)
    assert_frame_equal(first, again, check_exact=True)
    assert truth == truth_again
    other, _ = make_demo(8, n_rows=4_000)
    assert not first["clicked"].equals(other["clicked"])


def test_the_demo_has_the_documented_size_and_types(demo: tuple[pl.DataFrame, Truth]) -> None:
    frame, truth = demo
    assert 60_000 <= len(frame) <= 80_000
    assert len(truth.columns) >= 400
    assert set(frame.columns) == {*truth.columns, *_KEYS}
    assert {name.split("_")[0] for name in truth.columns} == {"user", "item", "ctx", "hist", "vec"}
    dtypes = Counter(frame.schema[name].base_type() for name in truth.columns)
    assert dtypes[pl.Array] >= 4
    assert dtypes[pl.List] >= 1
    assert dtypes[pl.Datetime] >= 1
    cardinality = [frame[name].n_unique() for name in truth.columns if frame.schema[name] == pl.String]
    assert min(cardinality) <= 3
    assert max(cardinality) >= 2_000
    shares = np.array([frame[name].null_count() / len(frame) for name in truth.columns])
    assert (shares > 0.25).sum() >= 20
    assert (shares == 0).sum() >= 100


def test_time_users_and_label(demo: tuple[pl.DataFrame, Truth]) -> None:
    frame, _ = demo
    assert frame["event_time"].is_sorted()
    assert frame["event_time"].max() - frame["event_time"].min() > pl.Series([40]).cast(pl.Duration("us"))[0]  # type: ignore[operator]
    assert frame["impression_id"].n_unique() == len(frame)
    assert 0.15 <= frame["clicked"].mean() <= 0.25  # type: ignore[operator]
    test = frame.tail(len(frame) // 5)
    assert test["user_id"].n_unique() >= 2_000
    visits = frame["user_id"].value_counts()["count"]
    assert visits.max() > 5 * visits.median()  # type: ignore[operator]
    seen = set(frame.head(int(0.8 * len(frame)))["user_id"])
    assert 0.02 < np.mean([user not in seen for user in test["user_id"]]) < 0.5


def test_attributes_belong_to_their_entity(demo: tuple[pl.DataFrame, Truth]) -> None:
    frame, _ = demo
    for table, key in (("user", "user_id"), ("item", "item_id")):
        names = [name for name in frame.columns if name.startswith(f"{table}_") and name not in ("user_id", "item_id")]
        assert frame.select(key, *names).unique().select(key).is_unique().all()


def test_constants_duplicates_and_leaks_are_what_they_are_called(demo: tuple[pl.DataFrame, Truth]) -> None:
    frame, truth = demo
    assert all(frame[name].n_unique() == 1 for name in truth.names("constant"))
    assert all(frame[name].n_unique() > 1 for name in truth.names("signal", "copy", "noise", "leak"))
    duplicates = truth.names("duplicate")
    assert len(duplicates) >= 5
    for name in duplicates:
        assert frame[name].equals(frame[str(truth.columns[name].of)], null_equal=True)
    missing = frame.select("clicked", pl.col("hist_feedback_score").is_null().cast(pl.Int8).alias("missing"))
    assert _aucs(frame, ["ctx_landing_page_ms"])[0] > 0.99
    assert _aucs(frame, ["hist_feedback_score"])[0] < 0.6
    assert _aucs(missing, ["missing"])[0] > 0.985


def test_no_honest_column_alone_comes_near_a_leak(demo: tuple[pl.DataFrame, Truth]) -> None:
    frame, truth = demo
    scalar = [name for name in truth.names("signal", "copy", "noise") if frame.schema[name].is_numeric()]
    assert _aucs(frame, scalar).max() < 0.7
    known = frame.select("clicked", scalar[0]).drop_nulls()
    auc = roc_auc_score(known["clicked"], known[scalar[0]])
    assert _aucs(frame, scalar[:1])[0] == pytest.approx(max(auc, 1 - auc))
    assert 0.8 < truth.bayes_auc < 0.92


def test_copies_correlate_with_their_source_and_noise_with_nothing(demo: tuple[pl.DataFrame, Truth]) -> None:
    frame, truth = demo
    source = {truth.columns[name].group: name for name in truth.names("signal")}
    checked = 0
    for name in truth.names("copy"):
        origin = source[truth.columns[name].group]
        pair = frame.head(10_000).select(name, origin).drop_nulls()
        if not all(dtype.is_numeric() for dtype in pair.dtypes) or origin in ("ctx_local_time",):
            continue
        assert spearmanr(pair[name], pair[origin]).statistic > 0.35, name
        checked += 1
    assert checked > 50
    noise = [name for name in truth.names("noise") if frame.schema[name].is_numeric()]
    aucs = _aucs(frame, noise)
    signals = [name for name in truth.names("signal") if frame.schema[name].is_numeric()]
    assert aucs.max() < 0.53  # attributes of 5,000 users, so chance differences are larger than with independent rows
    assert _aucs(frame, signals).mean() > aucs.mean() + 0.01


def test_it_is_made_once_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "make_demo", partial(make_demo, n_rows=2_000))
    data = ensure_demo(tmp_path, seed=3)
    written = data.path.stat().st_mtime_ns
    assert ensure_demo(tmp_path, seed=3).path.stat().st_mtime_ns == written
    assert sorted(tmp_path.iterdir()) == sorted([data.path, data.truth])
    truth = Truth.read(data.truth)
    schema = pl.read_parquet_schema(data.path)
    assert truth.seed == 3
    assert set(truth.columns) < set(schema)
    assert {data.defaults[key] for key in ("target", "row_id", "time", "group")} == _KEYS
    data.path.unlink()
    assert ensure_demo(tmp_path, seed=3).path.is_file()


def test_another_generator_makes_another_file_and_another_wording_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(shutil.copytree(Path(build.__file__).parent, tmp_path / "source"))
    monkeypatch.setattr(build, "make_demo", partial(make_demo, n_rows=500))
    monkeypatch.setattr(build, "__file__", str(source / "build.py"))

    world = source / "world.py"
    text = world.read_text(encoding="utf-8")
    names = []
    for edited in (
        text,
        text.replace('"""', '"""Reworded. ', 1),
        text.replace("DAYS = 42", "DAYS = 42  # six weeks"),
        text.replace("DAYS = 42", "DAYS = 43"),
    ):
        world.write_text(edited, encoding="utf-8")
        build._version.cache_clear()
        names.append(ensure_demo(tmp_path / "data").path.name)
    build._version.cache_clear()
    assert names[0] == names[1] == names[2] != names[3]


def test_truth_survives_the_file(tmp_path: Path, demo: tuple[pl.DataFrame, Truth]) -> None:
    demo[1].write(tmp_path / "truth.json")
    assert Truth.read(tmp_path / "truth.json") == demo[1]


def test_grades() -> None:
    columns = {
        "a": ColumnTruth("signal", "a"),
        "a_est": ColumnTruth("copy", "a"),
        "a_dup": ColumnTruth("duplicate", "a", of="a"),
        "b": ColumnTruth("signal", "b"),
        "b_est": ColumnTruth("copy", "b"),
        "b_v1": ColumnTruth("copy", "b"),
        "b_v1_dup": ColumnTruth("duplicate", "b", of="b_v1"),
        "c": ColumnTruth("signal", "c"),
        "n": ColumnTruth("noise"),
        "n_dup": ColumnTruth("duplicate", of="n"),
        "one": ColumnTruth("constant"),
        "after": ColumnTruth("leak"),
        "item_id": ColumnTruth("key"),
    }
    truth = Truth(columns, seed=0, bayes_auc=0.9, version="x")
    best = grade(["a", "b", "c"], truth)
    assert (best.covered, best.covered_by_copy, best.missed, best.surplus_copies) == (("a", "b", "c"), (), (), ())
    mixed = grade(["a_dup", "a_est", "b_v1_dup", "b_est", "n", "n_dup", "one", "after", "item_id", "n"], truth)
    assert mixed.kept == 9
    assert (mixed.covered, mixed.covered_by_copy, mixed.missed) == (("a",), ("b",), ("c",))
    assert mixed.surplus_copies == ("a_est", "b_est")
    assert (mixed.noise, mixed.constants, mixed.leaks, mixed.keys) == (
        ("n", "n_dup"),
        ("one",),
        ("after",),
        ("item_id",),
    )
    assert "1 of 3 signals exactly, 1 by a copy, 1 missed" in mixed.summary
    with pytest.raises(KeyError):
        grade(["typo"], truth)

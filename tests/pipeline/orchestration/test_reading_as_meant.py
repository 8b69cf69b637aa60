"""Cells formatted for people, through the command line: the full model is as good as with plain cells."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import redirect_stderr
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from command_line import feature_audit, tracking_in

pytestmark = pytest.mark.slow

ROWS = 4_000


def auc_of(data: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[float, str]:
    """The full model's validation AUC, and the output of the command."""
    train(data, *words)
    output = capsys.readouterr().err
    return auc_in(output), output


def train(data: Path, *words: str) -> None:
    keys = ("--target", "y", "--profile", "quick", "--threads", "1", "--data", str(data))
    assert feature_audit("baseline", *keys, *words) == 0


def auc_in(output: str) -> float:
    found = re.search(r"full model: validation auc ([\d.]+)", output)
    assert found
    return float(found[1])


def log(rng: np.random.Generator, logit: np.ndarray, **columns: object) -> pl.DataFrame:
    clicked = rng.random(len(logit)) < 1 / (1 + np.exp(-logit))
    return pl.DataFrame({**columns, "noise": rng.normal(size=len(logit)).round(4), "y": clicked.astype(int)})


def lists(join: Callable[[list[str]], str]) -> pl.DataFrame:
    rng = np.random.default_rng(6)
    taste, items = rng.normal(0, 2.4, 40), [rng.integers(0, 40, rng.integers(1, 9)) for _ in range(ROWS)]
    text = [join([f"c{item}" for item in row]) for row in items]
    return log(rng, np.array([taste[row].mean() for row in items]), clicks=text)


@pytest.fixture(scope="module")
def lists_as_meant(tmp_path_factory: pytest.TempPathFactory) -> float:
    """The AUC with native lists: one training, with which every way of writing them is compared."""
    output = StringIO()
    with tracking_in(tmp_path_factory.mktemp("meant")) as folder, redirect_stderr(output):
        lists("|".join).write_csv("meant.csv")
        train(folder / "meant.csv")
    return auc_in(output.getvalue())


@pytest.mark.parametrize(
    "join",
    [
        "^".join, " ".join, ",".join,
        lambda row: str(row).replace("'", '"'),
        lambda row: "|".join(f"{one}:.5" for one in row),
    ],
    ids=["hat", "space", "comma", "JSON", "weights"],
)  # fmt: skip
def test_lists(
    lists_as_meant: float, home: Path, capsys: pytest.CaptureFixture[str], join: Callable[[list[str]], str]
) -> None:
    lists(join).write_csv("written.csv")
    written, output = auc_of(home / "written.csv", capsys)
    assert lists_as_meant > 0.7
    assert written == pytest.approx(lists_as_meant, abs=0.01)
    assert "text read as lists, with their separators: clicks (" in output


def test_histories_with_the_oldest_first(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(7)
    taste, items = rng.normal(0, 1.8, 30), rng.integers(0, 30, (6_000, 60))
    frame = log(rng, taste[items[:, -20:]].mean(1) * 4, seen=pl.Series(items.tolist(), dtype=pl.List(pl.Int64)))
    frame.write_parquet("written.parquet")
    frame.with_columns(pl.col("seen").list.reverse()).write_parquet("newest_first.parquet")
    (home / "first.yaml").write_text("encoding: {list_end: first}")
    written, _ = auc_of(home / "written.parquet", capsys)
    newest_first, _ = auc_of(home / "newest_first.parquet", capsys, "--config", "first.yaml")
    assert written == pytest.approx(newest_first, abs=0.01)
    assert written > 0.68
    _, output = auc_of(home / "newest_first.parquet", capsys)
    assert "seen: the first 32 entries predict better" in output
    assert "give encoding.list_end: first" in output


def test_dates(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(2)
    start, hours = datetime(2014, 1, 6), rng.integers(0, 24 * 300, ROWS)
    at = [start + timedelta(hours=int(hour)) for hour in hours]
    by_day, by_hour = rng.normal(0, 1, 7), rng.normal(0, 1, 24)
    frame = log(rng, np.array([by_day[moment.weekday()] + by_hour[moment.hour] for moment in at]), at=at)
    frame.write_parquet("meant.parquet")
    meant, _ = auc_of(home / "meant.parquet", capsys)
    assert meant > 0.65
    forms = {
        "number": pl.col("at").dt.strftime("%y%m%d%H").cast(pl.Int64),
        "zone": pl.col("at").dt.strftime("%F %T+0000"),
    }
    for name, form in forms.items():
        frame.with_columns(form.alias("at")).write_csv(f"{name}.csv")
        written, output = auc_of(home / f"{name}.csv", capsys)
        assert written == pytest.approx(meant, abs=0.01)
        assert ("numbers read as datetimes: at (%y%m%d%H)" in output) == (name == "number")


def test_rows_without_a_time(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = lists("|".join).with_row_index("ts").with_columns(pl.when(pl.col("ts") % 10 > 0).then(pl.col("ts") + 10**9))
    frame.write_csv("log.csv")
    words = ("baseline", "--data", str(home / "log.csv"), "--target", "y", "--time", "ts", "--threads", "1")
    assert feature_audit(*words) == 1
    assert "400 of 4,000 rows have no time (first: row 0); give drop_rows=no_time" in capsys.readouterr().err
    assert feature_audit(*words, "--drop_rows", "no_time") == 0
    assert "400 of 4,000 rows are left out: time=ts" in capsys.readouterr().err
    assert feature_audit(*words, "--drop-rows", "no_tim") == 2
    assert "drop_rows" in capsys.readouterr().err


def test_numbers_with_a_word_for_none(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng, rows = np.random.default_rng(0), 600
    pay = ["k.A." if row % 10 == 0 else f"€ {rng.uniform(1000, 9999):.2f}" for row in range(rows)]
    code = [f"{rng.integers(0, 300)}{rng.choice(['', '', '', 'A', 'B'])}" for _ in range(rows)]
    frame = pl.DataFrame({"pay": pay, "code": code, "x": rng.normal(size=rows), "y": rng.integers(0, 2, rows)})
    frame.write_csv("pay.csv")
    assert feature_audit("load", "--data", "pay.csv", "--target", "y") == 0
    output = capsys.readouterr().err
    assert "pay: 90% of its cells are numbers, the others are k.A., so it is read as categories" in output
    assert output.count("of its cells are numbers") == 1, "numbers among many other words are codes"
    assert feature_audit("load", "--data", "pay.csv", "--target", "y", "--kinds", "{pay: numeric}") == 0
    assert "pay: 60 cells are not numbers and are treated as missing" in capsys.readouterr().err


def test_times_in_two_formats_are_not_called_missing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moments = [datetime(2026, 6, 1) + timedelta(hours=row) for row in range(400)]
    at = [f"{moment:%d.%m.%Y %H:%M}" if row % 4 == 1 else f"{moment:%F %H:%M}" for row, moment in enumerate(moments)]
    pl.DataFrame({"at": at, "x": np.arange(400) % 7, "y": np.arange(400) % 2}).write_csv("at.csv")
    assert feature_audit("load", "--data", "at.csv", "--target", "y", "--time", "at") == 1
    output = capsys.readouterr().err
    assert (
        "time=at: 100 of 400 rows have no time (first: row 1); write '01.06.2026 01:00' like the other times" in output
    )

"""Labels, times and cells as people write them: read as meant, or refused in one line with the remedy."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from command_line import feature_audit, tracking_in
from hostile import ROWS, TABLE, Case, check


def label(*values: object) -> bytes:
    return TABLE.with_columns(y=pl.Series([values[row % len(values)] for row in range(ROWS)])).write_csv().encode()


def timed(times: list[str]) -> bytes:
    return TABLE.with_columns(t=pl.Series(times)).write_csv().encode()


def column(cells: list[str]) -> bytes:
    return TABLE.with_columns(cell=pl.Series(cells)).write_csv().encode()


DROP, REGRESSION = ("--drop_rows", "no_label"), ("--task", "regression")
MULTICLASS = ("--task", "multiclass")
SPELT = "'NO', 'Yes', 'no', 'yes ' are read as "
LABELS = [
    Case("NA among words", label("yes", "no", "NA"), ("100 of 300 rows have no label (first: row 2)", "no_label")),
    Case("NA among words, left out", label("yes", "no", "no", "NA"), ("33.3 % positive",), 0, words=DROP),
    Case("NA as a class", label("yes", "no", "NA"), ("3 classes (NA, no, yes)",), 0, words=MULTICLASS),
    Case("a region called NA", label("EU", "APAC", "NA"), ("3 classes (APAC, EU, NA)",), 0),
    Case("none of three", label("none", "view", "buy"), ("3 classes (buy, none, view)",), 0),
    Case("None of a negation", label("clicked", "not clicked", "None"), ("100 of 300 rows have no label",)),
    Case("several spellings", label("Yes", "no", "yes ", "no", "NO", "no"), (SPELT, "33.3 % positive"), 0),
    Case("sums", label("$1,200.50", "$3.25", "$17.00"), ("y ($1,200.50 is read as 1200.5)", "regression"), 0),
    Case("decimal commas", label("0,5", "1,0", "4,5"), ("y (0,5 is read as 0.5)", "regression"), 0),
    Case("generations", label("3G", "4G", "5G"), ("3 classes (3G, 4G, 5G)",), 0),
    Case("stars", label("1 star", "2 stars", "5 stars"), ("3 classes (1 star",), 0),
    Case("stars as a number", label("1 star", "2 stars", "5 stars"), ("regression",), 0, words=REGRESSION),
]  # fmt: skip

DAYS = [date(2020, 1, 1) + timedelta(days=10 * row) for row in range(ROWS)]
FIRST_DAYS = [date(2000 + row // 12, row % 12 + 1, 1) for row in range(ROWS)]
EITHER = [date(2024, row % 12 + 1, row // 12 % 12 + 1) for row in range(ROWS)]
TIME, SPOKEN = ("--time", "t"), [f"{day:%d/%m/%Y}" for day in FIRST_DAYS]
UNSURE = "t: dates are read with the {} first, but all of them could also have the {} first"
TIMES = [
    Case("months", timed([f"{day:%Y-%m}" for day in DAYS]), ("split time",), 0, words=TIME),
    Case("unsure days", timed([f"{day:%m/%d/%Y}" for day in EITHER]), (UNSURE.format("month", "day"),), 0, words=TIME),
    Case("first days", timed(SPOKEN), (UNSURE.format("day", "month"),), 0, words=TIME),
    Case(
        "two units", timed([str((1_700_000_000 + row) * (1_000 if row % 9 else 1)) for row in range(ROWS)]),
        ("time=t: some times are epoch seconds, others milliseconds; write all in one unit",), words=TIME,
    ),
    Case("quarters", timed([f"{day:%Y}Q1" for day in DAYS]), ("'2020Q1' does not match any known",), words=TIME),
]  # fmt: skip


def clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


SECONDS = [(7919 * row) % 86_400 for row in range(ROWS)]
CELLS = [
    Case("clock times", column([clock(one) for one in SECONDS]), ("4 features (3 numeric", "is read as "), 0),
    Case("hours and minutes", column([clock(one)[:5] for one in SECONDS]), ("4 features (3 numeric",), 0),
    Case("durations of pandas", column([f"{one % 5} days {clock(one)}" for one in SECONDS]), ("3 numeric",), 0),
    Case(
        "half days", column([f"{datetime(2024, 1, 1) + timedelta(seconds=one):%I:%M %p}" for one in SECONDS]),
        ("4 features (3 numeric",), 0,
    ),
    Case("ratios", column([f"{one % 7}:{one % 5}" for one in SECONDS]), ("4 features (2 numeric, 2 categories)",), 0),
    Case(
        "vectors of NumPy", column([str(np.array([one % 3, one / 7 - 4e3, 0.5]).round(2)) for one in SECONDS]),
        ("1 vector",), 0,
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a tracking store."""
    with tracking_in(tmp_path_factory.mktemp("people")) as folder:
        yield folder


@pytest.mark.parametrize("case", [*LABELS, *TIMES, *CELLS], ids=lambda case: case.name)
def test_as_meant(home: Path, capfd: pytest.CaptureFixture[str], case: Case) -> None:
    check(case, home, capfd)


def test_a_sum_of_a_target_expression_is_a_number(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cells = label("$1,200.50", "$3.25", "$17.00")
    check(Case("sum", cells, ("33.3 % positive",), 0, target="y > 100"), home, capfd)


@pytest.mark.parametrize(("users", "looks"), [(90, True), (ROWS, False)])
def test_a_group_has_several_rows_in_a_unit(
    home: Path, capfd: pytest.CaptureFixture[str], users: int, looks: bool
) -> None:
    frame = TABLE.with_columns(pl.Series("Customer ID", [f"c{row % users}" for row in range(ROWS)]))
    frame.write_csv(home / "units.csv")
    capfd.readouterr()
    assert feature_audit("load", "--data", str(home / "units.csv"), "--target", "y", "--threads", "1") == 0
    assert ("looks like a group (group=Customer ID)" in capfd.readouterr().err) == looks


@pytest.mark.parametrize(("form", "later"), [("%Y-%m-%d", False), ("%Y-%m", False), ("%Y-%m-%d %H:%M", True)])
def test_a_moment_is_not_later_than_the_day_that_holds_it(
    home: Path, capfd: pytest.CaptureFixture[str], form: str, later: bool
) -> None:
    at = [datetime(2024, 1, 1) + timedelta(hours=53 * row) for row in range(ROWS)]
    times = pl.Series([f"{moment - timedelta(minutes=30):{form}}" for moment in at])
    TABLE.with_columns(t=times, at=pl.Series(at)).write_csv(home / "coarse.csv")
    capfd.readouterr()
    words = ("load", "--data", str(home / "coarse.csv"), "--target", "y", "--time", "t", "--threads", "1")
    assert feature_audit(*words) == 0
    assert ("are later than the time of the row" in capfd.readouterr().err) == later

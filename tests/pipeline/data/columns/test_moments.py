"""Datetimes as text of any zone and as numbers: read as what they are, as a feature and as the time column."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from data_helpers import prepared_of
from feature_audit.data import Encoders
from feature_audit.data.columns.casting import as_datetime
from feature_audit.data.columns.kinds import date_format, infer_kind
from feature_audit.errors import AuditError

pytestmark = pytest.mark.usefixtures("without_expectations")

NOON = datetime(2014, 10, 21, 12)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2014-10-21T14:00:00+02:00", NOON),
        ("2014-10-21T12:00:00Z", NOON),
        ("2014-10-21 12:00:00 UTC", NOON),
        ("2014-10-21 20:00:00+0800", NOON),
        ("2014-10-21 06:30:00 -0530", NOON),
        ("2014-10-21 14:00+02", NOON),
        ("2014-10-21T14:00:00.000+02:00[Europe/Berlin]", NOON),
        ("10/21/2014 2:00:00 PM +0200", NOON),
        ("Tue, 21 Oct 2014 12:00:00 GMT", NOON),
        ("Tue Oct 21 14:00:00 +0200 2014", NOON),
        ("21/Oct/2014:12:00:00 +0000", NOON),
        ("2014-10-21 14:00:00 GMT+2", NOON),
        ("2014-10-21T12:00:00.250Z", NOON + timedelta(milliseconds=250)),
        ("2014-10-21 12:00:00,250", NOON + timedelta(milliseconds=250)),
        ("10/21/2014 12:00 PM", NOON),
        ("October 21, 2014", datetime(2014, 10, 21)),
        ("2014.10.21 12:00", NOON),
        ("20141021T120000Z", NOON),
    ],
)
def test_text_is_read_in_utc(text: str, moment: datetime) -> None:
    values = pl.Series([text, None])
    assert as_datetime(values, date_format(values)).to_list() == [moment, None]


def test_zones_may_differ_from_cell_to_cell() -> None:
    values = pl.Series(["2014-10-21 14:00:00+02:00", "2014-10-21 07:00:00-0500", "2014-10-21 12:00:00"])
    assert as_datetime(values, date_format(values)).to_list() == [NOON] * 3


@pytest.mark.parametrize("text", ["2014-10-21 10:00:00 CET", "12:30", "1.2.3", "192.168.1.12", "2014-13-01", "5-10"])
def test_other_text_is_no_datetime(text: str) -> None:
    assert date_format(pl.Series([text] * 3)) is None


def days(form: str, count: int = 60, step: timedelta = timedelta(hours=31)) -> list[int]:
    return [int((datetime(2013, 11, 5, 7, 15) + number * step).strftime(form)) for number in range(count)]


@pytest.mark.parametrize("form", ["%Y%m%d", "%y%m%d%H", "%Y%m%d%H", "%Y%m%d%H%M", "%Y%m%d%H%M%S", "%d%m%Y"])
@pytest.mark.parametrize("dtype", [pl.Int64, pl.Float64, pl.String])
def test_numbers_that_write_dates_are_datetimes(form: str, dtype: type[pl.DataType]) -> None:
    numbers = pl.Series("x", [*days(form), None]).cast(dtype if dtype != pl.String else pl.Int64).cast(dtype)
    assert infer_kind("x", dtype(), numbers) == "datetime"
    moments = as_datetime(numbers, date_format(numbers))
    wanted = [
        datetime.strptime((datetime(2013, 11, 5, 7, 15) + n * timedelta(hours=31)).strftime(form), form)
        for n in range(60)
    ]
    assert moments.to_list() == [*wanted, None]


@pytest.mark.parametrize(
    "numbers",
    [
        list(range(20_140_000, 20_150_000, 7)),
        [20_141_021] * 50 + [20_141_022] * 50,
        np.random.default_rng(0).integers(10_000_000, 99_999_999, 500).tolist(),
        list(range(2_000, 2_024)),
        [int(v) for v in np.random.default_rng(0).normal(2e7, 1e5, 300)],
        [1_413_849_600 + 977 * number for number in range(300)],
    ],
)
def test_other_numbers_are_no_datetimes_unasked(numbers: list[int]) -> None:
    assert infer_kind("x", pl.Int64(), pl.Series("x", numbers)) != "datetime"


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (1_413_892_800, NOON),
        (1_413_892_800_000, NOON),
        (1_413_892_800_000_000, NOON),
        (1_413_892_800_000_000_000, NOON),
        (14_102_112, NOON),
        (201_410, datetime(2014, 10, 1)),
        (141_021, datetime(2014, 10, 21)),
        (41_933, datetime(2014, 10, 21)),
        (16_364, datetime(2014, 10, 21)),
    ],
)
def test_numbers_declared_as_dates_are_read_in_any_format(number: int, moment: datetime) -> None:
    for values in (pl.Series([number, 0]), pl.Series([str(number), ""])):
        assert as_datetime(values, date_format(values, asked=True))[0] == moment


def log(rows: int = 1_500) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    start = datetime(2014, 1, 6)
    at = [start + timedelta(minutes=int(minute)) for minute in np.sort(rng.integers(0, 60 * 24 * 200, rows))]
    seen = [start - timedelta(hours=int(hour)) for hour in rng.integers(0, 9_000, rows)]
    return pl.DataFrame({"at": at, "seen": seen, "x": rng.normal(size=rows), "y": rng.integers(0, 2, rows)})


WRITTEN = {
    "%Y%m%d%H": pl.col("seen").dt.strftime("%Y%m%d%H").cast(pl.Int64),
    "%y%m%d%H": pl.col("seen").dt.strftime("%y%m%d%H").cast(pl.Int64),
    "+0800": (pl.col("seen") + pl.duration(hours=8)).dt.strftime("%Y-%m-%d %H:%M:%S+0800"),
    " UTC": pl.col("seen").dt.strftime("%Y-%m-%d %H:%M:%S UTC"),
    "+00:00": pl.col("seen").dt.strftime("%Y-%m-%dT%H:%M:%S+00:00"),
    "AM/PM": pl.col("seen").dt.strftime("%m/%d/%Y %I:%M:%S %p"),
}


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize("how", WRITTEN)
def test_dates_in_any_notation_are_encoded_and_served_alike(tmp_path, how: str, suffix: str) -> None:
    _, store = prepared_of(log(), tmp_path, time="at")
    want = next(iter(store.batches("train", 500))).bags[0]
    frame = log().with_columns(WRITTEN[how].alias("seen"))
    path = tmp_path / f"written.{suffix}"
    frame.write_csv(path) if suffix == "csv" else frame.write_parquet(path)
    made, store = prepared_of(path, tmp_path / "written", time="at")
    assert {column.name: column.kind for column in made.columns} == {"seen": "datetime", "x": "numeric"}
    assert next(iter(store.batches("train", 500))).bags[0].tolist() == want.tolist()
    if suffix == "parquet":
        served = Encoders.load(made.directory / "encoders.json").encode_column("seen", frame["seen"])
        assert (
            served.tolist()
            == Encoders.load(made.directory / "encoders.json").encode_column("seen", log()["seen"]).tolist()
        )


@pytest.mark.parametrize("how", ["+0800", " UTC", "%y%m%d%H"])
def test_such_a_time_splits_and_exposes_dates_after_the_event(tmp_path, how: str) -> None:
    frame = log().with_columns(seen=pl.col("at")).with_columns(ts=WRITTEN[how], paid=pl.col("at") + pl.duration(days=2))
    made, _ = prepared_of(frame.drop("at", "seen"), tmp_path, time="ts")
    assert str(made.split_info["test_from"]).startswith("2014-")
    suspects = {
        finding.column: finding.detail for finding in made.findings if finding.kind in ("leak", "suspected_leak")
    }
    assert "later than the time of the row" in suspects["paid"]


def test_a_kind_that_no_number_has_is_refused(tmp_path) -> None:
    with pytest.raises(
        AuditError, match=r"kinds\.n=datetime: 2 does not match any known datetime format; give ISO dates, numbers such"
    ):
        prepared_of(
            log().with_columns(n=pl.Series(range(1, 1_501)) % 300 + 1), tmp_path, time="at", kinds={"n": "datetime"}
        )

"""The kinds inferred for columns from type, name and values."""

from __future__ import annotations

from datetime import date, time, timedelta

import polars as pl
import pytest
from feature_audit.data.columns.kinds import date_format, infer_kind, is_id_name
from feature_audit.data.columns.lists import list_format

MANY = list(range(60))


@pytest.mark.parametrize(
    ("name", "values", "dtype", "kind"),
    [
        ("price", [1.5, None, 2.0], pl.Float32, "numeric"),
        ("price", [1, 2, 3], pl.Decimal(8, 2), "numeric"),
        ("nights", MANY, pl.Int8, "numeric"),
        ("clicked", [0, 1, 1], pl.Int64, "numeric"),
        ("hotel_id", MANY, pl.Int64, "categorical"),
        ("hotelId", MANY, pl.UInt32, "categorical"),
        ("hotel_id", [float(v) for v in MANY], pl.Float64, "categorical"),
        ("bid", MANY, pl.Int64, "numeric"),
        ("humid", MANY, pl.Int64, "numeric"),
        ("has_id", [0, 1, 0], pl.Int64, "numeric"),
        ("flag", [True, None, False], pl.Boolean, "boolean"),
        ("flag", ["TRUE", "false", None], pl.String, "boolean"),
        ("x", ["1.5", "-2e3", None, "NA"], pl.String, "numeric"),
        ("zip", ["10115", "80331", "1"], pl.String, "categorical"),
        ("code", ["007", "12", "13"], pl.String, "categorical"),
        ("colour", ["red", "NA", "blue"], pl.String, "categorical"),
        ("day", ["2024-02-29", None, "2024-03-01"], pl.String, "datetime"),
        ("day", ["29.02.2024", "01.03.2024"], pl.String, "datetime"),
        ("day", ["2/29/2024 13:05", "3/1/2024 09:00"], pl.String, "datetime"),
        ("day", ["2024-02-30", "2024-03-01"], pl.String, "categorical"),
        ("version", ["1.2.3", "1.2.4"], pl.String, "categorical"),
        ("genres", ["a|b", "b", "a|c|b", "a"] * 20, pl.String, "multi"),
        ("title", ["one | two", "three", "four", "five", "six", "seven"], pl.String, "categorical"),
        ("tags", [["a"], [], None], pl.List(pl.String), "multi"),
        ("items", [[1, 2], [3]], pl.List(pl.Int64), "multi"),
        ("emb", [[0.1, 0.2], None, [1.0, 2.0]], pl.List(pl.Float32), "vector"),
        ("prices", [[0.1], [1.0, 2.0]], pl.List(pl.Float64), "multi"),
        ("emb", [[1, 2], [3, 4]], pl.Array(pl.Int32, 2), "vector"),
        ("when", [date(2024, 1, 1)], pl.Date, "datetime"),
        ("at", [time(1, 2)], pl.Time, "numeric"),
        ("took", [timedelta(hours=1)], pl.Duration, "numeric"),
        ("level", ["lo", "hi"], pl.Enum(["lo", "hi"]), "categorical"),
        ("level", ["lo", "hi"], pl.Categorical, "categorical"),
        ("nothing", [None, None], pl.Null, "categorical"),
        ("nothing", [None, None], pl.String, "categorical"),
        ("blob", [b"x"], pl.Binary, None),
        ("rec", [{"a": 1}], pl.Struct({"a": pl.Int64}), None),
    ],
)
def test_kinds(name, values, dtype, kind):
    assert infer_kind(name, dtype, pl.Series(name, values, dtype=dtype)) == kind


def test_id_names():
    assert all(map(is_id_name, ("id", "ID", "user_id", "item.id", "userId", "movieID", "uuid", "zip", "ZipCode")))
    assert not any(map(is_id_name, ("paid", "bid", "humidity", "idle", "grid", "width", "period")))


def test_day_first_and_month_first_are_distinguished_by_their_values():
    assert date_format(pl.Series(["13/02/2024", "01/12/2024"])) == "%d/%m/%Y"
    assert date_format(pl.Series(["02/13/2024", "12/01/2024"])) == "%m/%d/%Y"


def test_list_separators():
    assert list_format(pl.Series(["a;b", "b;c", "a"] * 10)) == ";"
    assert list_format(pl.Series(["a, b", "c"])) is None
    assert list_format(pl.Series([None, None], dtype=pl.String)) is None

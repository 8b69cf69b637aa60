"""Conversion of raw series of any type to the plain arrays and series that encoders and checks use."""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl

from feature_audit.data.columns.lists import split, split_numbers
from feature_audit.data.columns.moments import NUMBER_FORMATS, UNITS, number_moment, text_moment
from feature_audit.labels import NULL_WORDS

#: From here on, float64 does not represent every whole number.
BEYOND_FLOAT = 2**53
#: Type of a vocabulary's keys.
Key = Literal["text", "integer", "float", "boolean"]

#: Vector entries from here on are treated as damaged, like infinities; squares of smaller ones stay finite.
_LARGEST = 1e100
_TRUE = ("true", "t", "yes", "y", "1")
_FALSE = ("false", "f", "no", "n", "0")


def is_plain_number(dtype: pl.DataType) -> bool:
    """True for number types that NumPy has as well."""
    return (dtype.is_float() or dtype.is_integer()) and dtype not in (pl.Int128, pl.UInt128)


def as_float(values: pl.Series) -> np.ndarray:
    """float64 (B,); null and text that is not a number become NaN; durations and times are in seconds."""
    if is_plain_number(values.dtype):
        return values.to_numpy().astype(np.float64, copy=False)  # Polars turns nulls of numbers into NaN
    if values.dtype == pl.Duration:
        values = values.dt.total_microseconds() / 1e6
    elif values.dtype == pl.Time:
        values = values.cast(pl.Int64) / 1e9
    elif values.dtype.is_temporal():
        return epoch(values.cast(pl.Datetime("us")))
    elif values.dtype == pl.String:
        values = values.str.strip_chars()
    elif values.dtype in (pl.Categorical, pl.Enum):
        values = values.cast(pl.String)
    return values.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy().astype(np.float64, copy=False)


def as_key(values: pl.Series, key: Key) -> pl.Series:
    """Convert a flat series to the vocabulary's key type; cells that cannot be converted become null.

    Integers keep every digit: Int64 if the type fits, otherwise Int128, including text of digits.
    """
    if values.dtype in (pl.Categorical, pl.Enum):
        values = values.cast(pl.String)
    if key == "text":
        return _digits_of(values) if values.dtype.is_float() else values.cast(pl.String)
    if key == "boolean":
        if values.dtype == pl.String:
            words = values.str.strip_chars().str.to_lowercase()
            known = {**dict.fromkeys(_TRUE, 1), **dict.fromkeys(_FALSE, 0)}
            return words.replace_strict(known, default=None, return_dtype=pl.Int64)
        return values.cast(pl.Int64, strict=False)
    if values.dtype == pl.String:
        values = values.str.strip_chars()
    if key == "float":
        numbers = values.cast(pl.Float64, strict=False)
        return numbers.fill_nan(None) if np.isnan(numbers.to_numpy()).any() else numbers
    if (values.dtype.is_float() and not _all_whole(values)) or values.dtype.is_decimal():
        values = values.set(values != values.truncate(), None)
    fits = values.dtype.is_signed_integer() or values.dtype in (pl.UInt8, pl.UInt16, pl.UInt32, pl.Boolean, pl.Null)
    return values.cast(pl.Int64 if fits and values.dtype != pl.Int128 else pl.Int128, strict=False)


def _all_whole(floats: pl.Series) -> bool:
    """Uses NumPy, which avoids the cost of a Polars query for a few cells."""
    cells = floats.to_numpy()
    return bool((np.trunc(cells) == cells).all())


def key_of(dtype: pl.DataType, *, boolean: bool = False) -> Key:
    """The key type for columns of this type."""
    if boolean or dtype == pl.Boolean:
        return "boolean"
    if dtype.is_integer() and dtype != pl.UInt128:  # UInt128 exceeds every signed type; text is exact
        return "integer"
    return "float" if dtype.is_float() else "text"


def is_missing(values: pl.Series) -> pl.Series:
    """True for null, NaN and text that means missing; False for a cell that only fails to parse."""
    if values.dtype in (pl.Categorical, pl.Enum):
        values = values.cast(pl.String)
    if values.dtype == pl.String:
        return values.is_null() | values.str.strip_chars().is_in(["", *NULL_WORDS])
    return values.is_null() | values.is_nan() if values.dtype.is_float() else values.is_null()


def is_whole(values: pl.Series) -> bool:
    """True if there are numbers and all of them are whole."""
    if values.dtype == pl.String:
        numbers = values.str.strip_chars()
        numbers = numbers.filter(numbers.cast(pl.Float64, strict=False).is_finite().fill_null(False))
        return len(numbers) > 0 and bool(numbers.str.contains(r"^[-+]?\d+$").all())
    if values.dtype.is_float() or values.dtype.is_decimal():
        held = values.fill_nan(None).drop_nulls() if values.dtype.is_float() else values.drop_nulls()
        return len(held) > 0 and bool((held == held.truncate()).all())
    return values.dtype.is_integer() and values.count() > 0


def _digits_of(values: pl.Series) -> pl.Series:
    """Floats as text, whole ones as integers: pandas converts integer columns with nulls to floats."""
    values = values.fill_nan(None)
    whole = values.truncate() == values
    return values.cast(pl.Int128, strict=False).cast(pl.String).zip_with(whole.fill_null(False), values.cast(pl.String))


def as_lists(values: pl.Series, form: str | None) -> pl.Series:
    """A series of lists: arrays become lists, text is split by its list format (see ``lists``).

    Args:
        values: any cells.
        form: the list format of text; None = text holds numeric vectors.

    Raises:
        ValueError: text without a list format contains no number.
    """
    if values.dtype in (pl.Categorical, pl.Enum):
        values = values.cast(pl.String)
    if values.dtype == pl.String:
        return split(values, form) if form else split_numbers(values)
    if isinstance(values.dtype, pl.Array):
        return values.arr.to_list()
    if values.dtype == pl.Null:
        return values.cast(pl.List(pl.String))
    return values


def as_datetime(values: pl.Series, form: str | None) -> pl.Series:
    """Datetime in microseconds without a zone (UTC if cells name one), parsed by a format of ``moments``.

    Without a format, numbers are epoch seconds, milliseconds or microseconds by magnitude, and text is ISO.
    """
    if values.dtype in (pl.Categorical, pl.Enum):
        values = values.cast(pl.String)
    cell, frame = pl.col("cell"), values.alias("cell").to_frame()
    if values.dtype == pl.String:
        if form in UNITS or form in NUMBER_FORMATS:
            return frame.select(number_moment(cell.str.strip_chars(), form)).to_series().alias(values.name)
        return frame.select(text_moment(cell.str.strip_chars(), form or "%Y-%m-%d")).to_series().alias(values.name)
    if values.dtype.is_numeric():
        if form in UNITS or form in NUMBER_FORMATS:
            return frame.select(number_moment(cell, form)).to_series().alias(values.name)
        raw = as_float(values)
        size = np.nanmax(np.abs(raw)) if np.isfinite(raw).any() else 0.0
        unit = 1e6 if size < 1e11 else 1e3 if size < 1e14 else 1.0
        micro = pl.Series(values.name, np.where(np.isfinite(raw), raw * unit, 0).astype(np.int64))
        return micro.set(pl.Series(~np.isfinite(raw)), None).cast(pl.Datetime("us"))
    if values.dtype == pl.Null:
        return values.cast(pl.Datetime("us"))
    if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone:
        values = values.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return values.cast(pl.Datetime("us"))


def epoch(moments: pl.Series) -> np.ndarray:
    """float64 microseconds since 1970; null -> NaN."""
    return moments.cast(pl.Int64).cast(pl.Float64).to_numpy()  # Polars turns nulls of numbers into NaN


def date_part(moments: pl.Series, part: str) -> np.ndarray:
    """One part as int32, counted from 0; null -> 0."""
    cells = moments.to_numpy()
    days = cells.astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    parts = {
        "hour": lambda: (cells - days).astype("timedelta64[h]").astype(np.int64),
        "weekday": lambda: (days.astype(np.int64) + 3) % 7,  # 1970-01-01 was a Thursday
        "day": lambda: (days - months).astype(np.int64),
        "month": lambda: months.astype(np.int64) % 12,
    }
    return np.where(np.isnat(cells), 0, parts[part]()).astype(np.int32)


def as_matrix(values: pl.Series, width: int) -> np.ndarray:
    """float64 (B, width); null rows, rows of another length, infinities and extremely large entries become NaN."""
    lists = as_lists(values, None).cast(pl.List(pl.Float64))
    fits = (lists.list.len() == width).fill_null(False).to_numpy()
    matrix = np.full((len(values), width), np.nan)
    if fits.any():
        flat = lists.filter(pl.Series(fits)).list.explode().fill_null(float("nan")).to_numpy()
        matrix[fits] = flat.reshape(-1, width)
    return np.where(np.abs(matrix) < _LARGEST, matrix, np.nan)

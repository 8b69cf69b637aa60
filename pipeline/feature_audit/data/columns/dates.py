"""Anchors for dates: the time column, and dates assembled from year, month and day columns."""

from __future__ import annotations

import re

import numpy as np
import polars as pl

from feature_audit.data.columns.casting import as_datetime, as_float, epoch
from feature_audit.schema import Column

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LATE = re.compile(
    r"status|updat|modif|clos|cancel|discharg|death|died|outcome|result|resol|complet|finish|_end|end_|out$",
    re.IGNORECASE,
)
_PART = re.compile(r"^(?P<stem>.*?)[_\s.-]*(?P<part>year|month|day_of_month|dayofmonth|day)$", re.IGNORECASE)


def anchors(sample: pl.DataFrame, time: np.ndarray | None, *, is_datetime: bool) -> dict[str, np.ndarray]:
    """Name -> float64 (rows,) microseconds since 1970 (NaN = unknown).

    Args:
        sample: rows whose columns may contain parts of a date.
        time: the time of each row, or None.
        is_datetime: the time is in microseconds since 1970; other numbers are read as epoch seconds or milliseconds by
            magnitude, as for columns.
    """
    made = {}
    if time is not None:
        if is_datetime:
            made["the time column"] = time
        elif _looks_like_epoch(time):
            made["the time column"] = epoch(as_datetime(pl.Series(time), None))
    made.update(_assembled(sample))
    return made


def moments_of(
    column: Column, values: pl.Series, pattern: str | None, base: dict[str, np.ndarray]
) -> np.ndarray | None:
    """Microseconds since 1970 of a datetime column or of a numeric column of epoch times; None for other columns."""
    if not base:
        return None
    if column.kind == "datetime":
        return epoch(as_datetime(values, pattern))
    if column.kind == "numeric" and values.dtype.is_numeric() and _looks_like_epoch(as_float(values)):
        return epoch(as_datetime(values, None))
    return None


def recorded_later(one: str, other: str, moments: dict[str, np.ndarray]) -> str | None:
    """Which of two date columns is written after the event, by its name or its missing cells; None if unclear."""
    late = [bool(_LATE.search(name)) for name in (one, other)]
    if late[0] != late[1]:
        return one if late[0] else other
    absent = [float(np.isnan(moments[name]).mean()) for name in (one, other)]
    if abs(absent[0] - absent[1]) > 0.05:
        return one if absent[0] > absent[1] else other
    return None


def _looks_like_epoch(numbers: np.ndarray) -> bool:
    """True for numbers in the range of epoch seconds or milliseconds between 1990 and 2100."""
    held = numbers[np.isfinite(numbers)]
    if len(held) < 10:
        return False
    low, high = np.quantile(held, [0.01, 0.99])
    return bool((low >= 6.3e8 and high <= 4.2e9) or (low >= 6.3e11 and high <= 4.2e12))


def _assembled(sample: pl.DataFrame) -> dict[str, np.ndarray]:
    """Dates from columns such as arrival_date_year, arrival_date_month (number or name), arrival_date_day_of_month."""
    stems: dict[str, dict[str, str]] = {}
    for name in sample.columns:
        found = _PART.match(name)
        if found:
            stems.setdefault(found["stem"].lower(), {})[found["part"].lower()[:3]] = name
    made = {}
    for stem, parts in stems.items():
        if not {"yea", "mon", "day"} <= parts.keys():
            continue
        year, month, day = (_numbers(sample[parts[part]], part) for part in ("yea", "mon", "day"))
        known = (year >= 1900) & (year <= 2200) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
        if known.mean() > 0.5:
            text = (
                pl.Series(np.where(known, year, 1970).astype(np.int32)),
                pl.Series(np.where(known, month, 1).astype(np.int8)),
            )
            frame = pl.DataFrame({"y": text[0], "m": text[1]})
            first = frame.select(pl.datetime("y", "m", 1, time_unit="us")).to_series()
            moment = epoch(first) + (np.where(known, day, 1) - 1) * 86_400e6
            made[f"the date of {stem.rstrip('_') or 'year, month, day'}"] = np.where(known, moment, np.nan)
    return made


def _numbers(values: pl.Series, part: str) -> np.ndarray:
    if part == "mon" and values.dtype in (pl.String, pl.Categorical, pl.Enum):
        words = values.cast(pl.String).str.strip_chars().str.to_lowercase().str.slice(0, 3)
        names = {month: float(number) for number, month in enumerate(_MONTHS, 1)}
        named = words.replace_strict(names, default=None, return_dtype=pl.Float64)
        if named.null_count() < len(named):
            return named.fill_null(float("nan")).to_numpy()
    return as_float(values)

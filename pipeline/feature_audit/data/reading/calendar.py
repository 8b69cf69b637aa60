"""Dates outside Python's calendar: overflowed or uninitialised values in a date column."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import polars as pl

from feature_audit.plurals import counted

_EPOCH, _FIRST, _LAST = date(1970, 1, 1), date.min, date.max
_TICKS = {"ms": 10**3, "us": 10**6, "ns": 10**9}


def within_calendar(
    frame: pl.LazyFrame, collect: Callable[[pl.LazyFrame], pl.DataFrame]
) -> tuple[pl.LazyFrame, tuple[str, ...]]:
    """The table with dates outside the years 1 to 9999 set to null, because Polars panics when it prints one.

    Args:
        frame: the table.
        collect: runs a query on the table.

    Returns:
        The table, and a note for each column that had such dates.
    """
    schema = frame.collect_schema()
    inside = {name: _inside(name, dtype) for name, dtype in schema.items() if isinstance(dtype, pl.Date | pl.Datetime)}
    if not inside:
        return frame, ()
    lost = collect(frame.select((~held).sum().alias(name) for name, held in inside.items())).row(0, named=True)
    wrong = {name: count for name, count in lost.items() if count}
    held = (pl.when(inside[name]).then(pl.col(name)).alias(name) for name in wrong)
    notes = (
        f"{name}: {counted(count, 'date')} outside the years 1 to 9999 {'is' if count == 1 else 'are'} treated as "
        "missing"
        for name, count in wrong.items()
    )
    return (frame.with_columns(held) if wrong else frame), tuple(notes)


def _inside(name: str, dtype: pl.DataType) -> pl.Expr:
    """Compares the stored integers; with a time zone one day less, as the local date may be in another year."""
    zoned = isinstance(dtype, pl.Datetime) and dtype.time_zone is not None
    per_day = 86_400 * _TICKS[dtype.time_unit] if isinstance(dtype, pl.Datetime) else 1
    start = (_FIRST - _EPOCH + timedelta(days=zoned)).days * per_day
    stop = (_LAST - _EPOCH + timedelta(days=1 - zoned)).days * per_day - 1
    return pl.col(name).to_physical().is_between(max(start, -(2**63)), min(stop, 2**63 - 1))

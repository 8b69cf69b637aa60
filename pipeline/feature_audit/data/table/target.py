"""Per-row data that stay in memory (about 30 bytes per row): target, time, group codes; and the row-id check."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from feature_audit.data.columns.casting import as_datetime, as_float, epoch
from feature_audit.data.columns.kinds import EPOCH, PER_SECOND, date_format
from feature_audit.data.messages import READ_ERRORS, one_line
from feature_audit.data.reading.source import Source
from feature_audit.errors import AuditError
from feature_audit.plurals import counted
from feature_audit.schema import Task

#: Minimum share of the cells of a text column that must be datetimes in a time column.
LEAST_TIMES = 0.5
#: Maximum number of rows used to detect the format of a numeric time column.
PEEK_ROWS = 100_000
_BLOCK_ROWS = 1 << 20  # rows coded at a time


def target_cells(source: Source, expression: pl.Expr, shown: str) -> pl.Series:
    """A label's expression evaluated on every row, unparsed; ``labels.read_label`` parses it.

    Args:
        source: the table.
        expression: expression of the label.
        shown: the key and the user's text for the target, for messages.

    Raises:
        AuditError: the expression cannot be evaluated.
    """
    try:
        label = source.select(expression.alias("target"))
    except READ_ERRORS as error:
        raise AuditError(f"{shown}: cannot be computed ({one_line(error)})") from None
    return label.fill_nan(None) if label.dtype.is_float() else label


def read_time(source: Source, name: str) -> tuple[np.ndarray, bool]:
    """The time column as float64 (rows,), NaN where a row has none, and whether it holds datetimes.

    Datetimes, text and numbers such as 20141021 become microseconds since 1970 (UTC if zones are named); other numbers
    are not changed.

    Raises:
        AuditError: the column is neither datetimes nor numbers, or most of its text is not a datetime.
    """
    values = source.column(name)
    if values.dtype.is_float():
        values = values.fill_nan(None)
    if values.dtype in (pl.Categorical, pl.Enum):
        values = values.cast(pl.String)
    if values.dtype.is_numeric() or values.dtype == pl.Null:
        form = date_format(values.sample(PEEK_ROWS, seed=0) if len(values) > PEEK_ROWS else values)
        _refuse_two_units(name, values)
        return (as_float(values), False) if form is None else (epoch(as_datetime(values, form)), True)
    form = None
    if values.dtype == pl.String:
        form = date_format(values, asked=True, most=LEAST_TIMES)
        if form is None and values.count():
            first = values.drop_nulls()[0]
            raise AuditError(
                f"time={name}: {first!r} does not match any known datetime format; give ISO dates or numbers"
            )
    elif not values.dtype.is_temporal() or values.dtype in (pl.Duration, pl.Time):
        raise AuditError(f"time={name}: its type {values.dtype} is not a time; give a datetime or a number")
    return epoch(as_datetime(values, form)), True


def _refuse_two_units(name: str, numbers: pl.Series) -> None:
    """Refuse epoch times of which some are a thousand times the others: the split would follow the unit.

    Raises:
        AuditError: at least 1 % of the times are in a smaller unit than the others.
    """
    held, (low, high) = numbers.cast(pl.Float64).drop_nulls(), EPOCH
    shares = [int(held.is_between(low * per, high * per).sum()) / max(len(held), 1) for per in PER_SECOND]
    names = ("seconds", "milliseconds", "microseconds", "nanoseconds")
    units = [unit for unit, share in zip(names, shares, strict=True) if share >= 0.01]
    if len(units) > 1 and sum(shares) > 0.99:
        raise AuditError(f"time={name}: some times are epoch {units[0]}, others {units[1]}; write all in one unit")


def read_codes(source: Source, name: str) -> tuple[np.ndarray, list[str]]:
    """A column as dense int32 codes (rows,) in the order of its sorted labels, and the labels; null is one of them."""
    values = source.column(name)
    labels = values.unique().sort().drop_nulls()
    if values.dtype.is_integer():  # in blocks: ranking all rows takes several times their memory
        codes = np.empty(len(values), dtype=np.int32)
        sorted_labels = labels.to_numpy()
        for start in range(0, len(values), _BLOCK_ROWS):
            part = values.slice(start, _BLOCK_ROWS)
            cells = part.fill_null(0).to_numpy()
            place = np.searchsorted(sorted_labels, cells)
            place[part.is_null().to_numpy()] = len(labels)
            codes[start : start + len(part)] = place
    else:
        codes = (values.rank("dense").cast(pl.Int32) - 1).fill_null(len(labels)).to_numpy()
    names = [str(label) for label in labels] + (["(none)"] if values.null_count() else [])
    return codes, names


def read_numbers(source: Source, key: str, name: str) -> tuple[pl.Series, np.ndarray]:
    """The cells of a column that a key names, and their numbers, float64 (rows,), NaN where there is none.

    Raises:
        AuditError: its type is not numeric, or its text contains something other than numbers.
    """
    values = source.column(name)
    if values.dtype.is_nested() or values.dtype.is_temporal():
        raise AuditError(f"{key}={name}: its type {values.dtype} is not numeric; name a numeric column")
    numbers = as_float(values)
    words = np.isnan(numbers) & values.is_not_null().to_numpy()
    if values.dtype == pl.String and words.any():
        raise AuditError(f"{key}={name}: {values[int(words.argmax())]!r} is not a number; name a numeric column")
    return values, numbers


def read_production(source: Source, name: str | None, task: Task) -> np.ndarray | None:
    """Production scores, float64 (rows,), NaN where a row has none; None if no column is configured.

    Raises:
        AuditError: the column has no numbers, or the task has one score per class.
    """
    if name is None:
        return None
    if task == "multiclass":
        raise AuditError(
            f"production_score={name}: a single score per row cannot be compared with a multiclass model; leave it out"
        )
    scores = read_numbers(source, "production_score", name)[1]
    scores = np.where(np.isfinite(scores), scores, np.nan)
    if np.isnan(scores).all():
        raise AuditError(f"production_score={name}: no row has a score; name another column, or leave it out")
    return scores


def check_row_ids(source: Source, name: str) -> None:
    """Raise if an id is missing or duplicated, with an example."""
    ids = source.column(name)
    if ids.null_count():
        raise AuditError(
            f"row_id={name}: {counted(ids.null_count(), 'row has', 'rows have')} no id; fill it in, or leave out row_id"
        )
    repeats = len(ids) - ids.n_unique()
    if repeats:
        example: Any = ids.filter(ids.is_duplicated())[0]
        raise AuditError(
            f"row_id={name}: {counted(repeats, 'duplicate id')} (for example {example!r}); make ids unique, or "
            "leave out row_id"
        )

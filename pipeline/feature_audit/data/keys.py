"""The per-row facts that stay in memory (about 30 bytes a row): target, time order, group codes, row-id check."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from feature_audit.data.casting import as_datetime, as_float
from feature_audit.data.columns import Roles
from feature_audit.data.kinds import date_format
from feature_audit.data.messages import READ_ERRORS, one_line
from feature_audit.data.reading import Source
from feature_audit.errors import AuditError
from feature_audit.labels import Positive, Target, read_label
from feature_audit.schema import Task


def read_target(source: Source, roles: Roles, shown: str, task: Task | None, positive: Positive | None) -> Target:
    """Evaluate the label on every row and read it (see ``labels.read_label``).

    Args:
        source: the table.
        roles: holds the target expression.
        shown: the user's text for the target, for messages.
        task: the configured task or None.
        positive: the configured positive class or None.

    Raises:
        AuditError: an expression that cannot be computed, or a label that cannot be read.
    """
    try:
        label = source.frame.select(roles.target.alias("target")).collect()["target"]
    except READ_ERRORS as error:
        raise AuditError(f"target={shown}: cannot be computed ({one_line(error)})") from None
    return read_label(label, shown=shown, task=task, positive=positive)


def read_time(source: Source, name: str) -> np.ndarray:
    """The time column as float64 (rows,): epoch microseconds for datetimes, the number itself for numbers.

    Raises:
        AuditError: nulls, or text that is no datetime.
    """
    values = source.column(name)
    if values.dtype.is_float():
        values = values.fill_nan(None)
    if values.null_count():
        raise AuditError(
            f"time={name}: {values.null_count()} rows have no time; drop them, or give split=random without time"
        )
    if values.dtype.is_numeric():
        return as_float(values)
    if values.dtype == pl.String:
        pattern = date_format(values)
        if pattern is None:
            raise AuditError(
                f"time={name}: {values[0]!r} is not a datetime in a known format; give ISO dates or numbers"
            )
        values = as_datetime(values, pattern)
    if not values.dtype.is_temporal() or values.dtype in (pl.Duration, pl.Time):
        raise AuditError(f"time={name}: its type {values.dtype} is no moment in time; give a datetime or a number")
    return as_datetime(values, None).cast(pl.Int64).to_numpy().astype(np.float64)


def read_codes(source: Source, name: str) -> tuple[np.ndarray, list[str]]:
    """A column as dense int32 codes (rows,) in the order of its sorted labels, and those labels; null is one too."""
    values = source.column(name)
    labels = values.unique().sort()
    codes = values.rank("dense").cast(pl.Int32) - 1
    if values.null_count():
        labels = labels.drop_nulls()
        codes = codes.fill_null(len(labels))
    names = [str(label) for label in labels] + (["(none)"] if values.null_count() else [])
    return codes.to_numpy(), names


def check_row_ids(source: Source, name: str) -> None:
    """Raise if an id is missing or stands twice, naming one."""
    ids = source.column(name)
    if ids.null_count():
        raise AuditError(f"row_id={name}: {ids.null_count()} rows have no id; fill them or leave row_id out")
    repeats = len(ids) - ids.n_unique()
    if repeats:
        example: Any = ids.filter(ids.is_duplicated())[0]
        raise AuditError(
            f"row_id={name}: {repeats} duplicate ids (one is {example!r}); ids must be unique, or leave row_id out"
        )

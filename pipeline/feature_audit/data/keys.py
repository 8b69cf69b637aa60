"""The per-row facts that stay in memory (about 30 bytes a row): target, time order, group codes, row-id check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from feature_audit.data.casting import as_datetime, as_float, epoch
from feature_audit.data.columns import Roles
from feature_audit.data.kinds import date_format
from feature_audit.data.messages import READ_ERRORS, listing, one_line
from feature_audit.data.reading import Source
from feature_audit.errors import AuditError
from feature_audit.schema import Task

#: Words that name the positive class of a two-word label; otherwise the rarer value is positive.
POSITIVE_WORDS = frozenset(
    {
        "yes", "y", "true", "t", "1", "positive", "pos", "click", "clicked", "churn", "churned", "buy", "bought",
        "purchase", "converted", "canceled", "cancelled", "default", "fraud", "bad", "died", "dead",
    }
)  # fmt: skip
MAX_CLASSES = 1000
#: Share of the cells of a text column that must be datetimes to be a time column at all.
LEAST_TIMES = 0.5
#: Rows that the format of a time column of numbers is told from.
PEEK_ROWS = 100_000


@dataclass(frozen=True)
class Target:
    """The label of every row.

    Attributes:
        values: float32 (rows,) for binary (0/1) and regression, int64 (rows,) class ids for multiclass.
        task: given or inferred.
        classes: raw value of class 0, 1, ... as text; empty for regression.
    """

    values: np.ndarray
    task: Task
    classes: tuple[str, ...]

    @property
    def n_classes(self) -> int:
        """Number of classes; 2 for regression, as in ``ModelSchema``'s default."""
        return max(2, len(self.classes))


def read_label(source: Source, roles: Roles, shown: str) -> pl.Series:
    """The label's expression on every row; NaN is null.

    Raises:
        AuditError: it cannot be computed, or is nothing that a label can be.
    """
    try:
        label = source.select(roles.target.alias("target"))
    except READ_ERRORS as error:
        raise AuditError(f"target={shown}: cannot be computed ({one_line(error)})") from None
    if label.dtype.is_float():
        label = label.fill_nan(None)
    if label.dtype.is_nested() or label.dtype.is_temporal():
        raise AuditError(f"target={shown}: its type {label.dtype} is no label; give a number, a boolean or a category")
    return label


def read_target(label: pl.Series, shown: str, task: Task | None) -> Target:
    """Check the label of every row and map it to numbers.

    The task, where not given: two values = binary; text = multiclass; whole numbers with at most 50 values, or floats
    that are whole with at most 20, = multiclass; other numbers = regression. The positive class: ``True``; of two
    numbers the larger; of two words the one in ``POSITIVE_WORDS``, else the rarer.

    Args:
        label: of every row, from ``read_label``.
        shown: the user's text for the target, for messages.
        task: the configured task or None.

    Raises:
        AuditError: missing labels, one value only, too many classes, or values that do not fit the task.
    """
    missing = label.null_count()
    if missing:
        row = int(label.is_null().arg_max() or 0)
        raise AuditError(
            f"target={shown}: {missing} of {len(label)} rows have no label (first: row {row}); "
            "give drop_rows=no_label, or name another column"
        )
    values = label.unique().sort()
    if len(values) < 2:
        raise AuditError(f"target={shown}: constant ({values[0]!r} in every row); a label needs at least two values")
    task = task or _infer_task(values)
    if task == "regression":
        return Target(_numbers(label, shown), task, ())
    if task == "binary":
        return _binary(label, values, shown)
    if len(values) > MAX_CLASSES:
        raise AuditError(
            f"target={shown}: {len(values)} classes; at most {MAX_CLASSES}, or task=regression for a number"
        )
    codes = label.replace_strict(values, pl.Series(np.arange(len(values))), return_dtype=pl.Int64).to_numpy()
    return Target(codes, task, tuple(str(value) for value in values))


def _infer_task(values: pl.Series) -> Task:
    if len(values) == 2:
        return "binary"
    if not values.dtype.is_numeric():
        return "multiclass"
    if values.dtype.is_integer():
        return "multiclass" if len(values) <= 50 else "regression"
    whole = bool((values == values.round()).all())
    return "multiclass" if whole and len(values) <= 20 else "regression"


def _numbers(label: pl.Series, shown: str) -> np.ndarray:
    numbers = as_float(label)
    if not np.isfinite(numbers).all():
        first = label[int(np.argmax(~np.isfinite(numbers)))]
        raise AuditError(f"target={shown}: {first!r} is not a finite number, which task=regression needs")
    return numbers.astype(np.float32)


def _binary(label: pl.Series, values: pl.Series, shown: str) -> Target:
    if len(values) != 2:
        raise AuditError(
            f"target={shown}: {len(values)} values ({listing([str(v) for v in values])}), but task=binary; "
            "give an expression such as `rating >= 4`, or task=regression or multiclass"
        )
    negative, positive = values[0], values[1]
    if not (label.dtype.is_numeric() or label.dtype == pl.Boolean):
        named = [value for value in values if str(value).strip().lower() in POSITIVE_WORDS]
        if len(named) == 1:
            positive = named[0]
        elif (label == values[0]).sum() < (label == values[1]).sum():
            positive = values[0]
        negative = values[0] if positive == values[1] else values[1]
    return Target((label == positive).to_numpy().astype(np.float32), "binary", (str(negative), str(positive)))


def read_time(source: Source, name: str) -> tuple[np.ndarray, bool]:
    """The time column as float64 (rows,), NaN where a row has none, and whether these are datetimes.

    Datetimes, text and numbers such as 20141021 are microseconds since 1970 (UTC where zones are named); other numbers
    are themselves.

    Raises:
        AuditError: it is neither, or most of its text is no datetime.
    """
    values = source.column(name)
    if values.dtype.is_float():
        values = values.fill_nan(None)
    if values.dtype in (pl.Categorical, pl.Enum):
        values = values.cast(pl.String)
    if values.dtype.is_numeric() or values.dtype == pl.Null:
        form = date_format(values.sample(PEEK_ROWS, seed=0) if len(values) > PEEK_ROWS else values)
        return (as_float(values), False) if form is None else (epoch(as_datetime(values, form)), True)
    form = None
    if values.dtype == pl.String:
        form = date_format(values, asked=True, most=LEAST_TIMES)
        if form is None and values.count():
            first = values.drop_nulls()[0]
            raise AuditError(f"time={name}: {first!r} is not a datetime in a known format; give ISO dates or numbers")
    elif not values.dtype.is_temporal() or values.dtype in (pl.Duration, pl.Time):
        raise AuditError(f"time={name}: its type {values.dtype} is no moment in time; give a datetime or a number")
    return epoch(as_datetime(values, form)), True


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

"""What a label says: its task, its classes, and which of two values is the positive one. Decided here and nowhere else.

The load stage and the MLflow evaluator both read labels with ``read_label``, so the same column means the same in both.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
import polars as pl

from feature_audit.errors import AuditError
from feature_audit.schema import Task

#: Value of the positive class as a user gives it; YAML reads `yes` as a boolean and `1` as a number.
Positive = str | int | float | bool

#: Words that name the positive class of a two-word label, as bare lower-case letters and digits.
POSITIVE_WORDS = frozenset(
    {
        "yes", "y", "true", "t", "positive", "pos", "click", "clicked", "clk", "like", "liked", "churn", "churned",
        "buy", "bought", "buyer", "purchase", "purchased", "order", "ordered", "conversion", "converted", "install",
        "installed", "subscribe", "subscribed", "success", "canceled", "cancelled", "default", "fraud", "bad", "died",
        "dead",
    }
)  # fmt: skip
#: Words that name the negative class.
NEGATIVE_WORDS = frozenset(
    {
        "no", "n", "false", "f", "0", "none", "nothing", "negative", "neg", "skip", "skipped", "ignore", "ignored",
        "impression", "normal", "legit", "genuine", "good",
    }
)  # fmt: skip
#: Texts that mean "missing" in a column of numbers and in a label of two values; elsewhere they are ordinary words.
NULL_WORDS = ("NA", "N/A", "NaN", "nan", "NULL", "null", "None", "none", "?", "\\N", "-", "#N/A", "n/a")
#: What stands before a word to negate it: `not clicked`, `non-buyer`, `dislike`, `irrelevant`.
_NEGATIONS = frozenset({"no", "not", "non", "un", "in", "ir", "im", "dis", "never", "without"})
_MEANT = {True: ("true", "yes", "y", "t", "on", "1"), False: ("false", "no", "n", "f", "off", "0")}
MAX_CLASSES = 1000
#: Values of a text label up to which they may be spellings of two words.
_MOST_SPELLINGS = 20
#: Whole numbers are classes up to here, where no task is given; a count or a score with more values is a quantity.
FEW_VALUES = 20
#: Of a regression's label: the largest number, the least standard deviation, and the share of it that rounding to 32
#: bits may take.
_LARGEST, _LEAST_SPREAD, _MOST_ROUNDED = 1e18, 1e-12, 0.01
#: Rows of the rarer class below which a binary metric's error is too uncertain (docs/results/error-rates-rare.md).
MIN_PER_CLASS = 10


@dataclass(frozen=True)
class Target:
    """The label of every row.

    Attributes:
        values: float32 (rows,) for binary (0/1) and regression, int64 (rows,) class ids for multiclass.
        task: given or inferred.
        classes: raw value of class 0, 1, ... as text; empty for regression.
        note: what was decided without knowing, and the key that decides it; empty where nothing was.
        place_of_positive: of the two values in sorted order, which is positive: its column of class probabilities.
    """

    values: np.ndarray
    task: Task
    classes: tuple[str, ...]
    note: str = ""
    place_of_positive: int = 1

    @property
    def n_classes(self) -> int:
        """Number of classes; 2 for regression, as in ``ModelSchema``'s default."""
        return max(2, len(self.classes))


def read_label(label: pl.Series, *, shown: str, task: Task | None, positive: Positive | None = None) -> Target:
    """Check the label of every row and map it to numbers.

    The task, where not given: two values = binary; text = multiclass; whole numbers with at most ``FEW_VALUES`` values
    = multiclass; other numbers = regression. The positive class, where not given: of two numbers (as text, too) the
    larger; ``True``; of two words see ``positive_of``.

    Args:
        label: (rows,) of any flat type.
        shown: the target as the user wrote it, for messages.
        task: given, or None.
        positive: value of the positive class, or None.

    Raises:
        AuditError: missing labels, one value only, too many classes, or values that do not fit the task.
    """
    label = _plain(one_spelling(label, task)[0], shown)
    values = label.unique().sort()
    if len(values) < 2:
        raise AuditError(f"target={shown}: every row is {values[0]!r}; give a label with at least two values")
    task = task or infer_task(values)
    if task == "binary":
        return _binary(label, values, shown, positive)
    if positive is not None:
        raise AuditError(
            f"positive={positive}: target={shown} is read as task={task}; give a target of two values, for example an "
            "expression such as `rating >= 4`, or leave out positive"
        )
    if task == "regression":
        return Target(_numbers(label, shown), task, ())
    if len(values) > MAX_CLASSES:
        raise AuditError(
            f"target={shown}: {len(values)} classes; give at most {MAX_CLASSES}, or task=regression for a number"
        )
    codes = label.replace_strict(values, pl.Series(np.arange(len(values))), return_dtype=pl.Int64).to_numpy()
    return Target(codes, task, tuple(str(value) for value in values))


def one_spelling(label: pl.Series, task: Task | None) -> tuple[pl.Series, str]:
    """A text label whose cells are two words in several spellings, or also words for a missing label, made plain.

    ``Yes``, ``yes`` and ``yes `` become the most frequent of them. ``NA``, ``None`` and the like become null if the two
    others are opposites, such as yes and no; among other words they may be a class. All other labels stay as they are.

    Args:
        label: (rows,) of any type.
        task: given, or None; classes of ``multiclass`` stay as they are.

    Returns:
        The label, and a note on its spellings; empty if there was one of each.
    """
    if label.dtype not in (pl.String, pl.Categorical, pl.Enum) or task not in (None, "binary"):
        return label, ""
    spelt = (
        label.alias("cell").cast(pl.String).drop_nulls().value_counts(sort=True).sort("count", "cell", descending=True)
    )
    cells = spelt["cell"].to_list()
    if len(cells) < 3 or len(cells) > _MOST_SPELLINGS:
        return label, ""
    first: dict[str, str] = {}
    for cell in cells:
        first.setdefault(cell.strip().casefold(), cell.strip())
    absent = {"", *map(str.casefold, NULL_WORDS)}
    held = [word for word in first if word not in absent]
    if len(held) != 2 or (len(first) > 2 and not _opposites(*held)):
        return label, ""
    words = {cell: cell.strip().casefold() for cell in cells}
    meant = {cell: first[word] if word in held else None for cell, word in words.items()}
    merged = sorted(cell for cell, word in meant.items() if word is not None)
    note = (
        f"target: {', '.join(map(repr, merged))} are read as {first[held[0]]!r} and {first[held[1]]!r}"
        if len(merged) > 2
        else ""
    )
    return label.cast(pl.String).replace_strict(meant, default=None), note


def _opposites(one: str, other: str) -> bool:
    """True for a known positive and a known negative word, for a word and its negation, and for two numbers."""
    if _number(one) is not None and _number(other) is not None:
        return True
    words = [_letters(one), _letters(other)]
    known = any(first in POSITIVE_WORDS and second in NEGATIVE_WORDS for first, second in (words, words[::-1]))
    return known or _negated(words) is not None


def _negated(words: list[str]) -> int | None:
    """The place (0 or 1) of the word that the other one negates: `click` of `no click`; None if neither does."""
    for place, (word, other) in enumerate((words, words[::-1])):
        if other.endswith(word) and other.removesuffix(word) in _NEGATIONS:
            return place
    return None


def infer_task(values: pl.Series) -> Task:
    """The task that sorted distinct labels suggest."""
    if len(values) == 2:
        return "binary"
    if not values.dtype.is_numeric():
        return "multiclass"
    whole = values.dtype.is_integer() or bool((values == values.truncate()).all())
    return "multiclass" if whole and len(values) <= FEW_VALUES else "regression"


def positive_of(first: object, second: object, counts: tuple[int, int]) -> tuple[int, str]:
    """Which of two values is positive (0 or 1), and why as a note; no note if it is beyond doubt.

    Of two numbers the larger; of two words the one that is known as positive, or whose opposite is known as negative,
    or that the other negates (`click`, `no click`); else the rarer.

    Args:
        first, second: the values in sorted order.
        counts: rows of each.
    """
    numbers = [number for number in map(_number, (first, second)) if number is not None]
    if len(numbers) == 2:
        usual = max(numbers) > 0 and min(numbers) in (0.0, -max(numbers))
        return int(numbers[1] > numbers[0]), "" if usual else "the larger number"
    words = [_letters(value) for value in (first, second)]
    place = _negated(words)
    if place is not None:
        return place, ""
    for known, place_of_known in ((POSITIVE_WORDS, 0), (NEGATIVE_WORDS, 1)):
        inside = [word in known for word in words]
        if sum(inside) == 1:
            return abs(inside.index(True) - place_of_known), ""
    return int(counts[1] <= counts[0]), "the rarer value" if counts[0] != counts[1] else "as rare as the other"


def _plain(label: pl.Series, shown: str) -> pl.Series:
    """The label without categorical types and without NaN, refused where a row has none."""
    if label.dtype in (pl.Categorical, pl.Enum):
        label = label.cast(pl.String)
    if label.dtype.is_float():
        label = label.fill_nan(None)
    if label.dtype.is_nested() or label.dtype.is_temporal() or label.dtype in (pl.Object, pl.Binary):
        raise AuditError(
            f"target={shown}: its type {label.dtype} cannot be a label; give a number, a boolean or a category"
        )
    missing = label.null_count()
    if missing:
        row = int(label.is_null().arg_max() or 0)
        raise AuditError(
            f"target={shown}: {missing} of {len(label)} rows have no label (first: row {row}); "
            "give drop_rows=no_label, or name another column"
        )
    if label.dtype.is_float() and label.is_infinite().any():
        first = label.filter(label.is_infinite())[0]
        raise AuditError(f"target={shown}: {first} is not a finite number; fix its rows, or name another column")
    return label


def _binary(label: pl.Series, values: pl.Series, shown: str, positive: Positive | None) -> Target:
    if len(values) != 2:
        listed = ", ".join(str(value) for value in values[:6]) + (", ..." if len(values) > 6 else "")
        raise AuditError(
            f"target={shown}: {len(values)} values ({listed}), but task=binary; "
            "give an expression such as `rating >= 4`, or task=regression or multiclass"
        )
    if positive is None:
        second = int((label == values[1]).sum())
        place, why = positive_of(values[0], values[1], (len(label) - second, second))
    else:
        place, why = _given(positive, values, shown), ""
    names = (str(values[1 - place]), str(values[place]))
    note = (
        f"target: {names[1]} is used as the positive class ({why}); if {names[0]} is positive, give positive={names[0]}"
    )
    ones = (label == values[place]).to_numpy().astype(np.float32)
    return Target(ones, "binary", names, note if why else "", place)


def _given(positive: Positive, values: pl.Series, shown: str) -> int:
    """Index of the value that the user named: by equal text, equal number, or the meaning of a YAML boolean."""
    text = str(positive).strip().casefold()
    same = [str(value).strip().casefold() == text for value in values]
    if sum(same) != 1:
        number = _number(positive)
        same = [number is not None and _number(value) == number for value in values]
    if sum(same) != 1 and isinstance(positive, bool):
        same = [str(value).strip().casefold() in _MEANT[positive] for value in values]
    if sum(same) != 1:
        raise AuditError(
            f"positive={positive}: target={shown} has the values {values[0]} and {values[1]}; give one of them"
        )
    return same.index(True)


def _number(value: object) -> float | None:
    """The finite number that a value is or spells, else None."""
    try:
        number = float(str(value)) if not isinstance(value, bool) else float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _letters(value: object) -> str:
    return re.sub(r"[\W_]+", "", str(value).casefold())


def _numbers(label: pl.Series, shown: str) -> np.ndarray:
    if label.dtype == pl.String:
        label = label.str.strip_chars()
    numbers = label.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    if not np.isfinite(numbers).all():
        first = label[int(np.argmax(~np.isfinite(numbers)))]
        raise AuditError(f"target={shown}: {first!r} is not a finite number, which task=regression needs")
    if not _fits_32_bits(numbers):
        raise AuditError(
            f"target={shown}: numbers from {numbers.min():.9g} to {numbers.max():.9g} are indistinguishable in 32-bit "
            "floats; give an expression with another unit or offset, such as `(value - 1000) / 60`"
        )
    return numbers.astype(np.float32)


def _fits_32_bits(numbers: np.ndarray) -> bool:
    """Can a model compute with these labels: their squares, their spread, and their differences after rounding?"""
    if np.abs(numbers).max() > _LARGEST or numbers.std() < _LEAST_SPREAD:
        return False
    return bool(np.abs(numbers - numbers.astype(np.float32)).max() <= _MOST_ROUNDED * numbers.std())


def settles(group: np.ndarray, label: np.ndarray) -> bool:
    """Does a group settle the label, with fewer than ``MIN_PER_CLASS`` groups for some label?

    Such a group is the label under another name (or a coarser one), and resampling it shows no noise at all. A user
    who always has the same label is no such thing: there are many of each.

    Args:
        group: (rows,) dense int codes.
        label: (rows,) numbers.
    """
    first = np.full(int(group.max()) + 1, np.nan)
    first[group] = label
    if (first[group] != label).any():
        return False
    return bool(np.unique(first, return_counts=True)[1].min() < MIN_PER_CLASS)

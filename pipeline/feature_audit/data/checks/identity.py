"""Decide whether whole numbers are codes or quantities, from the label on train rows, with the name as a hint.

Rows with a value are compared with rows of neighbouring values. For a quantity, neighbouring values predict the label
(nearly) as well as the value itself; for a code, only rows with the same value agree. All comparisons are between
different rows, so that noise does not favour either side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
from scipy.stats import rankdata

from feature_audit.config import AuditConfig
from feature_audit.data.checks.predictive_power import MAX_CLASSES, PRIOR_ROWS
from feature_audit.data.columns.casting import as_key, is_whole
from feature_audit.data.columns.kinds import is_id_name, is_moment
from feature_audit.data.columns.roles import given_kind
from feature_audit.data.table.dataset import LabelledTable, peek_rows
from feature_audit.data.table.splits import TRAIN
from feature_audit.schema import Column, Kind

#: Standard errors required to decide for one reading, and to decide for codes if the values look like codes as well.
SURE, LIKELY = 3.0, 1.0
#: Minimum number of values with two or more rows for such a standard error.
ENOUGH = 30
#: Tolerance: one column determines another if their pairs exceed its distinct values by at most this factor.
SLACK = 1.02


def settle(
    config: AuditConfig, table: LabelledTable, columns: tuple[Column, ...], shown: pl.DataFrame
) -> tuple[tuple[Column, ...], list[str]]:
    """Decide by the label whether each column of whole numbers is read as categories or as numbers.

    Only columns with more distinct values than a numeric feature has knots are decided; with fewer, both readings give
    every value a separate embedding. Kinds set by the user are not changed.

    Args:
        config: ``kinds`` and ``encoding.max_bins``.
        table: labels, split and groups of every row.
        columns: with the kinds inferred from type, name and values.
        shown: the rows of ``dataset.peek``.

    Returns:
        The columns, and the names of those whose other reading is plausible too.
    """
    rows = peek_rows(table.rows)
    inside = table.split.of_row[rows] == TRAIN
    label = _centred(table, rows[inside])
    train = shown.filter(pl.Series(inside))
    units = {} if table.group is None else {"": table.group[0][rows][inside]}
    numbers = {}
    for column in columns:
        if given_kind(config, column.name) is not None or column.kind not in ("numeric", "categorical"):
            continue
        whole = _whole_numbers(train[column.name])
        if whole is not None and whole.n_unique() > config.encoding.max_bins:
            numbers[column.name] = whole
        elif column.kind == "categorical":
            units[column.name] = _codes(train[column.name])
    kinds: dict[str, Kind] = {}
    doubtful = []
    given = {column.name: column.kind for column in columns}
    order = sorted(numbers, key=lambda name: -numbers[name].n_unique())  # columns that determine others come first
    for name in order:
        whole = numbers[name]
        kinds[name], doubt = _decide(name, given[name], whole, label, units, config.encoding.max_bins)
        if kinds[name] == "categorical":
            units[name] = _codes(whole)
        if doubt:
            doubtful.append(name)
    return tuple(replace(column, kind=kinds.get(column.name, column.kind)) for column in columns), doubtful


def _decide(
    name: str, kind: Kind, whole: pl.Series, label: np.ndarray, units: Mapping[str, np.ndarray], bins: int
) -> tuple[Kind, bool]:
    """Kind of one column of whole numbers, and whether the other reading is plausible too."""
    if kind == "numeric" and is_moment(name, whole):
        return kind, False
    held = whole.is_not_null().to_numpy()
    values = whole.drop_nulls()
    codes = _codes(values)
    unit = next((code[held] for code in units.values() if _determines(code[held], codes)), None)
    surplus = identity_surplus(codes, label[held], bins=bins, unit=unit)
    named, gaps = is_id_name(name), unit is None and _repeat_with_gaps(values)
    if surplus >= (LIKELY if gaps else SURE):  # rows of one value have similar labels, neighbouring values do not
        return "categorical", not named
    beyond_order = named and identity_surplus(codes, label[held], bins=bins, unit=unit, share=1.0) >= SURE
    if surplus <= -SURE and not beyond_order:  # neighbouring values have similar labels
        return "numeric", kind == "categorical"
    if kind == "categorical":  # too many digits for a quantity, or named like an id
        return kind, not named
    return kind, gaps or (surplus >= LIKELY and unit is None)


def _repeat_with_gaps(values: pl.Series) -> bool:
    """True if values repeat but most are isolated, as codes are: neither next whole number occurs.

    For numbers with a common step (9.99, 19.99), the next number is one greatest common step away.
    """
    counts = values.alias("value").value_counts(name="rows").sort("value")
    distinct = counts["value"].to_list()
    if len(values) < 2 * len(distinct):
        return False
    steps = [high - low for low, high in pairwise(distinct)]
    step = math.gcd(*steps)
    next_up = np.array([one == step for one in steps])
    alone = ~(np.append(next_up, False) | np.append(False, next_up))
    return bool(np.average(alone, weights=counts["rows"].to_numpy()) > 0.5)


def identity_surplus(
    codes: np.ndarray, label: np.ndarray, *, bins: int, unit: np.ndarray | None = None, share: float = 0.5
) -> float:
    """Standard errors by which a share of a value's information about the label exceeds that of its neighbours.

    For every value, the product of the labels of two of its rows (information in the value) is compared with the
    product of its rows' labels and those of its neighbours in order (information in the order). Values are weighted
    equally, except that few rows count less, as the mean learned from them is shrunk.

    Args:
        codes: int (rows,), dense and in the order of the values.
        label: float (rows, classes), centred.
        bins: the neighbourhood contains 1 / bins of the rows.
        unit: int (rows,) or None; two rows of one unit are never compared, because the unit determines the value.
        share: 0.5 tests whether most of the information is specific to the value, 1.0 whether any is.

    Returns:
        Above 0 for codes, below 0 for quantities; 0.0 if no rows can be compared.
    """
    size = int(codes.max(initial=0)) + 1
    rows: np.ndarray = np.bincount(codes, minlength=size).astype(np.float64)
    sums = _sums(codes, label, size)
    twins, pairs = (sums**2).sum(1), rows**2
    if unit is None:
        own = np.bincount(codes, weights=(label**2).sum(1), minlength=size)
        own_rows = rows
    else:
        _, cell, cell_rows = np.unique(codes * (int(unit.max()) + 1) + unit, return_inverse=True, return_counts=True)
        cell_code = np.zeros(len(cell_rows), np.int64)
        cell_code[cell] = codes
        own = np.bincount(cell_code, (_sums(cell, label, len(cell_rows)) ** 2).sum(1), size)
        own_rows = np.bincount(cell_code, cell_rows.astype(np.float64) ** 2, size)
    weight = 1 / (rows * (rows + PRIOR_ROWS))
    agreement = (twins - own) * weight
    near = (pairs - own_rows) * weight * (sums / rows[:, None] * _neighbours(rows, sums, bins)).sum(1)
    surplus = (share * agreement - near)[pairs > own_rows]
    error = surplus.std() * np.sqrt(len(surplus)) if len(surplus) >= ENOUGH else 0.0
    return float(surplus.sum() / error) if error > 0 else 0.0


def _neighbours(rows: np.ndarray, sums: np.ndarray, bins: int) -> np.ndarray:
    """Mean label (values, classes) of the rows around each value, without its own: half a bin of rows on each side."""
    reach = rows.sum() / bins / 2
    ends = np.concatenate([[0.0], np.cumsum(rows)])
    total = np.concatenate([np.zeros((1, sums.shape[1])), np.cumsum(sums, axis=0)])
    place = np.arange(len(rows))
    low = np.minimum(np.searchsorted(ends, ends[:-1] - reach, side="left"), np.maximum(place - 1, 0))
    high = np.maximum(np.searchsorted(ends, ends[1:] + reach, side="right") - 1, np.minimum(place + 2, len(rows)))
    count = ends[high] - ends[low] - rows
    return (total[high] - total[low] - sums) / np.maximum(count, 1)[:, None]


def _sums(codes: np.ndarray, label: np.ndarray, size: int) -> np.ndarray:
    return np.stack([np.bincount(codes, weights=one, minlength=size) for one in label.T], axis=1)


def _determines(unit: np.ndarray, codes: np.ndarray) -> bool:
    """True if each unit has (nearly) one value, units repeat, and there are at least as many units as values."""
    if unit.max(initial=0) < codes.max():  # skips the count for the many columns with few values
        return False
    units = len(np.unique(unit))
    if units > len(unit) / 2 or units < codes.max() + 1:
        return False
    return len(np.unique(unit.astype(np.int64) * (int(codes.max()) + 1) + codes)) <= SLACK * units


def _whole_numbers(values: pl.Series) -> pl.Series | None:
    """The cells as Int128, or None if they are not whole numbers; text with leading zeros is not."""
    if values.dtype == pl.String and values.str.contains(r"^\s*[-+]?0\d").any():
        return None
    held = values.drop_nulls()
    if not is_whole(held):
        return None
    return as_key(values, "integer")


def _codes(values: pl.Series) -> np.ndarray:
    """Dense codes in the order of the values; null counts as a value."""
    if values.dtype in (pl.Categorical, pl.Enum):
        values = values.cast(pl.String)
    ranks = values.rank("dense").fill_null(0).to_numpy().astype(np.int64)
    return np.unique(ranks, return_inverse=True)[1]


def _centred(table: LabelledTable, rows: np.ndarray) -> np.ndarray:
    """float64 (rows, classes): the label, ranks of it, or one column per class; each column with mean 0."""
    values = table.target.values[rows]
    if table.target.task == "multiclass":
        frequent = np.argsort(-np.bincount(values), kind="stable")[:MAX_CLASSES]
        columns = (values[:, None] == frequent).astype(np.float64)
    else:
        columns = (rankdata(values) / len(values) if table.target.task == "regression" else values)[:, None]
    return columns - columns.mean(axis=0, dtype=np.float64)

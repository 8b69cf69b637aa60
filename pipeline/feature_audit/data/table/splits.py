"""Assigns every row to train, validation or test."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl

from feature_audit.config import AuditConfig
from feature_audit.data.columns.roles import Roles
from feature_audit.errors import AuditError
from feature_audit.labels import MIN_PER_CLASS, Target

SPLITS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)
_NAMES = {
    "train": TRAIN, "training": TRAIN, "tr": TRAIN,
    "validation": VALIDATION, "valid": VALIDATION, "val": VALIDATION, "dev": VALIDATION,
    "test": TEST, "testing": TEST, "holdout": TEST,
}  # fmt: skip
_BLOCK = 1 << 20  # rows or groups hashed at a time
#: Minimum number of rows per split for a verdict.
MIN_ROWS = {"train": 50, "validation": 20, "test": 20}


@dataclass(frozen=True)
class Split:
    """Attributes: ``of_row`` int8 (rows,): 0 train, 1 validation, 2 test; ``info`` for the report."""

    of_row: np.ndarray
    info: dict[str, Any]

    def rows(self) -> dict[str, int]:
        """Split name -> number of rows."""
        counts = np.bincount(self.of_row, minlength=3)
        return {name: int(counts[code]) for code, name in enumerate(SPLITS)}


def split_rows(
    config: AuditConfig,
    roles: Roles,
    target: Target,
    *,
    time: np.ndarray | None,
    group: np.ndarray | None,
    column: pl.Series | None,
) -> Split:
    """Split by the configured kind and check that every split is large enough.

    Args:
        config: shares and seed.
        roles: the kind of split.
        target: labels of all rows.
        time: float64 (rows,) or None.
        group: dense int codes (rows,) or None.
        column: the split column's values or None.

    Raises:
        AuditError: a split is too small or lacks a class, or the split column contains unknown values.
    """
    rows = len(target.values)
    shares = (config.test_share, config.validation_share)
    if roles.split == "time":
        assert time is not None
        of_row, info = _by_time(time, *shares)
    elif roles.split == "group":
        assert group is not None
        units = _by_hash(int(group.max()) + 1, config.seed, *shares)
        of_row, info = units[group], {"units": int(group.max()) + 1}
    elif roles.split == "column":
        assert column is not None
        assert roles.split_column is not None
        of_row, info = _by_column(column, roles.split_column, config)
    else:
        of_row, info = _by_hash(rows, config.seed, *shares), {"seed": config.seed}
    info = {"kind": roles.split, "column": roles.split_column, **info}
    split = Split(of_row.astype(np.int8, copy=False), info)
    _check(split, target)
    return split


def overlap(of_row: np.ndarray, group: np.ndarray) -> dict[str, Any]:
    """Units of the later splits that also occur in train."""
    seen = np.zeros(int(group.max()) + 1, dtype=bool)
    seen[group[of_row == TRAIN]] = True
    result: dict[str, Any] = {}
    for code, name in ((VALIDATION, "validation"), (TEST, "test")):
        inside = group[of_row == code]
        units = np.unique(inside)
        result[name] = {
            "units": len(units),
            "units_in_train": int(seen[units].sum()),
            "rows_of_units_in_train": float(seen[inside].mean()) if len(inside) else 0.0,
        }
    return result


def format_time(value: float, *, is_datetime: bool) -> str | float:
    """A boundary for display: ISO text for datetimes (microseconds since 1970), the number itself otherwise."""
    if not is_datetime:
        return value
    return datetime.fromtimestamp(value / 1e6, tz=UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="seconds")


def _by_time(time: np.ndarray, test_share: float, validation_share: float) -> tuple[np.ndarray, dict[str, Any]]:
    """The last rows are test, those before validation; rows of equal time stay together."""
    test_from = _boundary(time, test_share)
    before = time < test_from
    validation_from = _boundary(time[before], validation_share) if before.any() else test_from
    of_row = np.full(len(time), TEST, dtype=np.int8)
    of_row[before] = VALIDATION
    of_row[before & (time < validation_from)] = TRAIN
    return of_row, {
        "train_from": float(time.min()),
        "validation_from": float(validation_from),
        "test_from": float(test_from),
        "test_to": float(time.max()),
    }


def _boundary(time: np.ndarray, share: float) -> float:
    """Time from which rows belong to the later part, so that its share of rows is as close as ties allow."""
    place = min(round(len(time) * (1 - share)), len(time) - 1)
    moment = float(np.partition(time, place)[place])
    later = time > moment
    if not later.any():
        return moment
    with_ties, without = float((time >= moment).mean()), float(later.mean())
    return moment if abs(with_ties - share) <= abs(without - share) else float(time[later].min())


def _by_hash(count: int, seed: int, test_share: float, validation_share: float) -> np.ndarray:
    """Split code per index, by splitmix64 (Steele et al. 2014): a row keeps its split when rows are added."""
    train_until = 1 - test_share - (1 - test_share) * validation_share
    of_index = np.empty(count, dtype=np.int8)
    for start in range(0, count, _BLOCK):
        stop = min(start + _BLOCK, count)
        with np.errstate(over="ignore"):
            state = np.arange(start, stop, dtype=np.uint64) + np.uint64(seed + 1) * np.uint64(0x9E3779B97F4A7C15)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state ^= state >> np.uint64(31)
        uniform = (state >> np.uint64(11)).astype(np.float64) / 2**53
        later = np.where(uniform >= 1 - test_share, TEST, np.where(uniform >= train_until, VALIDATION, TRAIN))
        of_index[start:stop] = later
    return of_index


def _by_column(column: pl.Series, name: str, config: AuditConfig) -> tuple[np.ndarray, dict[str, Any]]:
    words = column.cast(pl.String).str.strip_chars().str.to_lowercase()
    unknown = column.filter(~words.is_in(list(_NAMES)).fill_null(False)).unique().sort()
    if len(unknown):
        raise AuditError(
            f"split={name}: unknown value {unknown[0]!r}; the column may contain train, validation (or val, valid, "
            "dev) and test"
        )
    of_row = words.replace_strict(_NAMES, return_dtype=pl.Int8).to_numpy().copy()
    for code in (TRAIN, TEST):
        if not (of_row == code).any():
            raise AuditError(f"split={name}: no row is {SPLITS[code]}; the column must contain train and test rows")
    info: dict[str, Any] = {"validation": "given"}
    if not (of_row == VALIDATION).any():
        train = np.flatnonzero(of_row == TRAIN)
        of_row[train[_by_hash(len(train), config.seed, config.validation_share, 0.0) == TEST]] = VALIDATION
        info = {"validation": f"a random {config.validation_share:.0%} of the train rows"}
    return of_row, info


def _check(split: Split, target: Target) -> None:
    rows = split.rows()
    for name, least in MIN_ROWS.items():
        if rows[name] < least:
            raise AuditError(
                f"split={split.info['column'] or split.info['kind']}: the {name} split has {rows[name]} of "
                f"{sum(rows.values())} rows, at least {least} are needed; give more data or another split, "
                "or change test_share and validation_share"
            )
    for code, name in enumerate(SPLITS):
        values = target.values[split.of_row == code]
        if (values == values[0]).all():
            shown = target.classes[int(values[0])] if target.classes else f"{values[0]:g}"
            raise AuditError(
                f"target: every row of the {name} split is {shown!r}; use another split or more data, so that it "
                "contains several outcomes"
            )
        if target.task == "binary":
            _check_balance(name, values, target, split.info)
        if target.task == "multiclass" and code == TRAIN:
            _check_rare(values, target)


def _check_rare(values: np.ndarray, target: Target) -> None:
    """Refuse classes with fewer than two train rows: they can be neither learned nor held out."""
    counts = np.bincount(values.astype(np.int64), minlength=len(target.classes))
    rare = [f"{label!r} ({count})" for label, count in zip(target.classes, counts, strict=True) if count < 2]
    if rare:
        more = f" and {len(rare) - 3} more" if len(rare) > 3 else ""
        numbers = all(label.removesuffix(".0").removeprefix("-").isdecimal() for label in target.classes)
        quantity = "; if they are a quantity, give task=regression" if numbers else ""
        raise AuditError(
            f"target: classes with fewer than 2 of the {len(values):,} train rows: {', '.join(rare[:3])}{more}; give "
            f"more data or another split, merge rare classes, or leave out their rows{quantity}"
        )


def _check_balance(name: str, values: np.ndarray, target: Target, info: dict[str, Any]) -> None:
    ones = int(np.count_nonzero(values))
    fewer, label = min((ones, target.classes[1]), (len(values) - ones, target.classes[0]))
    if fewer < MIN_PER_CLASS:
        by_share = info["kind"] != "column" and name != "train"
        remedy = f"give more data, a larger {name}_share" if by_share else "give more data"
        raise AuditError(
            f"target: only {fewer} of the {len(values):,} {name} rows are {label!r}, and at least {MIN_PER_CLASS} are "
            f"needed for a verdict; {remedy} or another split"
        )

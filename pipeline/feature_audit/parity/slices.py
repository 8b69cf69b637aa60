"""Slices of the test rows: chosen columns, and head / tail / new users made from unit counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from feature_audit.errors import AuditError
from feature_audit.parity.metrics import Metric

MIN_ROWS = 50
MIN_UNITS = 10
MAX_VALUES = 20  # per column, largest first; a slice per city would drown the ones that matter


@dataclass(frozen=True)
class SmallSlice:
    """A slice that gets no interval, and why."""

    slice: str
    rows: int
    reason: str


def slice_masks(
    slices: Mapping[str, np.ndarray], y: np.ndarray, unit: np.ndarray | None, metric: Metric
) -> tuple[list[tuple[str, np.ndarray]], list[SmallSlice]]:
    """Row masks of the slices that can carry an interval, and the ones that cannot.

    Args:
        slices: column -> (rows,) labels; every value is a slice named ``column = value``.
        y: (rows,) labels of the target.
        unit: (rows,) user codes or None.
        metric: the decision metric, which must be defined within a slice.
    """
    usable: list[tuple[str, np.ndarray]] = []
    small: list[SmallSlice] = []
    for column, given in slices.items():
        labels = np.asarray(given)
        if labels.shape != (len(y),):
            raise AuditError(f"slice {column}: has shape {labels.shape}; one label per test row ({len(y)}) is needed")
        values, codes, counts = np.unique(labels.astype(str), return_inverse=True, return_counts=True)
        codes = codes.reshape(-1)
        for place, value in enumerate(np.argsort(-counts, kind="stable")):
            name, rows = f"{column} = {values[value]}", int(counts[value])
            mask = codes == value if place < MAX_VALUES and rows >= MIN_ROWS else None
            reason = _too_small(place, rows, mask, y=y, unit=unit, metric=metric)
            if reason or mask is None:
                small.append(SmallSlice(name, rows, reason))
            else:
                usable.append((name, mask))
    return usable, small


def _too_small(
    place: int, rows: int, mask: np.ndarray | None, *, y: np.ndarray, unit: np.ndarray | None, metric: Metric
) -> str:
    if place >= MAX_VALUES:
        return f"beyond the {MAX_VALUES} largest values of the column"
    if mask is None:
        return f"fewer than {MIN_ROWS} rows"
    if not metric.defined(y[mask]):
        return "one class only"
    if unit is not None and len(np.unique(unit[mask])) < MIN_UNITS:
        return f"fewer than {MIN_UNITS} users"
    return ""


def activity(unit: np.ndarray, train_unit: np.ndarray) -> np.ndarray:
    """Head, tail and new users of the test split by what the train split knew of them.

    ``new``: not in train. ``head``: the most active users who together own half of the other test rows; ``tail``: the
    rest. Ties in activity stay together.

    Args:
        unit: (rows,) user codes of the test rows.
        train_unit: (train rows,) user codes of the train rows, same coding.

    Returns:
        (rows,) str labels for ``decide(slices={"activity": ...})``.
    """
    known, counts = np.unique(train_unit, return_counts=True)
    if not len(known):
        return np.full(len(unit), "new")
    place = np.minimum(np.searchsorted(known, unit), len(known) - 1)
    seen = known[place] == unit
    history = np.where(seen, counts[place], 0)
    labels = np.full(len(unit), "new", dtype="<U4")
    if seen.any():
        # Test rows sorted by their user's history, most active first: the head ends where half of them are covered.
        cut = np.sort(history[seen])[::-1][(np.count_nonzero(seen) - 1) // 2]
        labels[seen] = np.where(history[seen] >= cut, "head", "tail")
    return labels

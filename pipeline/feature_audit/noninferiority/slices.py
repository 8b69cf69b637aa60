"""Slices of the test rows: chosen columns, and head / tail / new users made from cluster counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from feature_audit.errors import AuditError

MIN_ROWS = 50
MIN_CLUSTERS = 10
MAX_VALUES = 20  # per column, largest first; a slice per city would drown the ones that matter


@dataclass(frozen=True)
class SmallSlice:
    """A slice that gets no interval, and why."""

    column: str
    slice: str
    rows: int
    reason: str


def slice_masks(
    slices: Mapping[str, np.ndarray],
    rows: int,
    cluster: np.ndarray | None,
    chosen: Mapping[str, Sequence[str]] | None = None,
) -> tuple[list[tuple[str, str, np.ndarray]], list[SmallSlice]]:
    """Column, name and row mask of the slices that are large enough for an interval, and the ones that are not.

    Args:
        slices: column -> (rows,) labels; every value is a slice named ``column = value``.
        rows: test rows.
        cluster: (rows,) user codes or None.
        chosen: column -> the only values that are slices; of other columns the ``MAX_VALUES`` largest are.
    """
    usable: list[tuple[str, str, np.ndarray]] = []
    small: list[SmallSlice] = []
    for column, given in slices.items():
        labels = np.asarray(given)
        if labels.shape != (rows,):
            raise AuditError(f"slice {column}: has shape {labels.shape}; give one label per test row ({rows})")
        values, codes, counts = np.unique(labels.astype(str), return_inverse=True, return_counts=True)
        wanted = (chosen or {}).get(column)
        small += [
            SmallSlice(column, f"{column} = {value}", 0, "no test rows")
            for value in wanted or ()
            if value not in values
        ]
        for place, value in enumerate(np.argsort(-counts, kind="stable")):
            name, size = f"{column} = {values[value]}", int(counts[value])
            mask = codes.reshape(-1) == value
            if wanted is not None and values[value] not in wanted:
                continue
            if wanted is None and place >= MAX_VALUES:
                small.append(
                    SmallSlice(column, name, size, f"not among the {MAX_VALUES} most frequent values of the column")
                )
            elif size < MIN_ROWS:
                small.append(SmallSlice(column, name, size, f"fewer than {MIN_ROWS} rows"))
            elif cluster is not None and len(np.unique(cluster[mask])) < MIN_CLUSTERS:
                small.append(SmallSlice(column, name, size, f"fewer than {MIN_CLUSTERS} users"))
            else:
                usable.append((column, name, mask))
    return usable, small


def activity(cluster: np.ndarray, train_cluster: np.ndarray) -> np.ndarray:
    """Head, tail and new users of the test split by what the train split knew of them.

    ``new``: not in train. ``head``: the most active users who together own half of the other test rows; ``tail``: the
    rest. Ties in activity stay together.

    Args:
        cluster: (rows,) user codes of the test rows.
        train_unit: (train rows,) user codes of the train rows, same coding.

    Returns:
        (rows,) str labels for ``decide(slices={"activity": ...})``.
    """
    known, counts = np.unique(train_cluster, return_counts=True)
    if not len(known):
        return np.full(len(cluster), "new")
    place = np.minimum(np.searchsorted(known, cluster), len(known) - 1)
    seen = known[place] == cluster
    history = np.where(seen, counts[place], 0)
    labels = np.full(len(cluster), "new", dtype="<U4")
    if seen.any():
        # Test rows sorted by their user's history, most active first: the head ends where half of them are covered.
        cut = np.sort(history[seen])[::-1][(np.count_nonzero(seen) - 1) // 2]
        labels[seen] = np.where(history[seen] >= cut, "head", "tail")
    return labels

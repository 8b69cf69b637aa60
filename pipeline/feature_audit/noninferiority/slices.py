"""Slices of the test rows: chosen columns, and head / tail / new users derived from cluster counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from feature_audit.errors import AuditError
from feature_audit.noninferiority.clusters import cluster_codes, code_counts

MIN_ROWS = 50
MIN_CLUSTERS = 10
MAX_VALUES = 20  # per column, largest first; a slice per city would hide the important ones


@dataclass(frozen=True)
class SmallSlice:
    """A slice without an interval, and the reason."""

    column: str
    slice: str
    rows: int
    reason: str


@dataclass(frozen=True)
class Coded:
    """The labels of all rows as codes, because a string per row takes too much memory on large logs.

    Attributes:
        codes: int (rows,).
        labels: text of code 0, 1, ...; codes with equal text are one slice, and some may not occur.
    """

    codes: np.ndarray
    labels: Sequence[str]

    @classmethod
    def of(cls, labels: np.ndarray) -> Coded:
        """From (rows,) labels of any type."""
        values, codes = np.unique(np.asarray(labels).astype(str), return_inverse=True)
        return cls(codes, values.tolist())

    def merged(self) -> Coded:
        """The same with one code per text."""
        if len(set(self.labels)) == len(self.labels):
            return self
        labels, code = np.unique(np.asarray(self.labels), return_inverse=True)
        return Coded(code.astype(np.int32)[self.codes], labels.tolist())


def slice_masks(
    slices: Mapping[str, np.ndarray | Coded],
    rows: int,
    cluster: np.ndarray | None,
    chosen: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[tuple[str, str, np.ndarray] | SmallSlice]:
    """Column, name and row mask of each slice that is large enough for an interval; or why it is not.

    Args:
        slices: column -> (rows,) labels or their codes; every value is a slice named ``column = value``.
        rows: number of test rows.
        cluster: (rows,) user codes or None.
        chosen: column -> the only values that are slices; for other columns, the ``MAX_VALUES`` largest.
    """
    for column, given in slices.items():
        shape = np.shape(given.codes if isinstance(given, Coded) else given)
        if shape != (rows,):
            raise AuditError(f"slice {column}: has shape {shape}; give one label per test row ({rows})")
        coded = given.merged() if isinstance(given, Coded) else Coded.of(given)
        counts = code_counts(coded.codes, len(coded.labels))
        there = {label: code for code, label in enumerate(coded.labels) if counts[code]}
        wanted = (chosen or {}).get(column)
        for value in wanted or ():
            if value not in there:
                yield SmallSlice(column, f"{column} = {value}", 0, "no test rows")
        for place, value in enumerate(sorted(there, key=lambda label: (-counts[there[label]], label))):
            name, size = f"{column} = {value}", int(counts[there[value]])
            if wanted is not None and value not in wanted:
                continue
            if wanted is None and place >= MAX_VALUES:
                yield SmallSlice(column, name, size, f"not among the {MAX_VALUES} most frequent values of the column")
            elif size < MIN_ROWS:
                yield SmallSlice(column, name, size, f"fewer than {MIN_ROWS} rows")
            else:
                mask = coded.codes == there[value]
                if cluster is not None and cluster_codes(cluster[mask], size)[1] < MIN_CLUSTERS:
                    yield SmallSlice(column, name, size, f"fewer than {MIN_CLUSTERS} users")
                else:
                    yield column, name, mask


def activity(cluster: np.ndarray, train_cluster: np.ndarray) -> Coded:
    """Head, tail and new users of the test split by their number of train rows.

    ``new``: not in train. ``head``: the most active users, who together account for half of the other test rows;
    ``tail``: the rest. Users with equal activity stay together.

    Args:
        cluster: (rows,) user codes of the test rows, whole numbers from 0.
        train_cluster: (train rows,) user codes of the train rows, same coding.

    Returns:
        Labels for ``decide(slices={"activity": ...})``.
    """
    users = 1 + int(max(cluster.max(initial=-1), train_cluster.max(initial=-1)))
    trained = code_counts(train_cluster, users)
    rows = code_counts(cluster, users)
    lengths, place = np.unique(trained, return_inverse=True)  # of users' histories
    covered = np.zeros(len(lengths), dtype=np.int64)
    np.add.at(covered, place, np.where(trained > 0, rows, 0))
    # Starting with the most active users, the head ends when half of the rows of known users are covered.
    most_first = np.cumsum(covered[::-1])
    cut = lengths[::-1][np.searchsorted(most_first, (most_first[-1] + 1) // 2)] if most_first.any() else 0
    of_user = np.where(trained == 0, 0, np.where(trained >= cut, 1, 2)).astype(np.int8)
    return Coded(of_user[cluster], ("new", "head", "tail"))

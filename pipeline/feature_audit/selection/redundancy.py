"""Which kept feature carries the information of a dropped one, and whether a feature is informative about the label.

Both use binned values, because bins need no assumption about kind or shape. A kept feature carries the share of a
dropped feature's entropy that it removes (Theil's uncertainty coefficient, Theil 1970) on held-out rows: half of the
rows estimate the conditional distribution, the other half is predicted. Without held-out rows, a category with
thousands of values would explain anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

#: Maximum number of bins.
BINS = 12
#: Categories with fewer rows are pooled, because they rarely occur in both halves.
_RARE = 4
_CHUNK = 512
_CELLS = 2**22


@dataclass(frozen=True)
class Proxies:
    """For each queried column: the index of the column that explains it best, and the share explained in [0, 1]."""

    column: NDArray[np.int64]
    explained: NDArray[np.float64]


def bin_numbers(values: NDArray[np.float32], bins: int = BINS) -> NDArray[np.int64]:
    """Bin every column of numbers to at most ``bins`` codes.

    Columns with few distinct values keep them; others are cut at quantiles; NaN has a separate code.

    Args:
        values: (rows, N).
        bins: maximum number of codes per column, including the one for NaN.

    Returns:
        int64 (rows, N), codes from 0.
    """
    codes = np.zeros(values.shape, dtype=np.int64)
    for column in range(values.shape[1]):
        series = values[:, column]
        missing = np.isnan(series)
        present = series[~missing]
        if len(present) == 0:
            continue
        distinct = np.unique(present)
        edges = distinct if len(distinct) < bins else np.unique(np.quantile(present, np.linspace(0, 1, bins)[1:-1]))
        codes[~missing, column] = 1 + np.minimum(np.searchsorted(edges, present, side="left"), bins - 2)
    return codes


def number_categories(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number categories by decreasing frequency, from 0; all rare ones share the last code.

    Args:
        values: int (rows,) any code per category, or (rows, width) sets of codes, whose order is ignored.

    Returns:
        int64 (rows,), without gaps. ``np.minimum`` with a number keeps the most frequent ones distinct.
    """
    cells = values if values.ndim == 1 else np.sort(values, axis=1)
    _, codes, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    place = np.empty(len(counts), dtype=np.int64)
    place[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    common = int((counts >= _RARE).sum())
    numbered: NDArray[np.int64] = np.minimum(place[codes.ravel()], common)
    return numbered


def proxies(codes: NDArray[np.int64], queried: NDArray[np.int64], candidates: NDArray[np.int64]) -> Proxies:
    """For each queried column, the candidate that explains most of its entropy.

    Args:
        codes: int64 (rows, N): ``bin_numbers`` of numbers, ``number_categories`` of categories. A queried category is
            reduced to its most frequent values; a candidate keeps all of them.
        queried: column indices, (Q,).
        candidates: column indices, (C,), at least one.
    """
    best = np.zeros(len(queried), dtype=np.int64)
    explained = np.full(len(queried), -1.0)
    halves = codes[::2], codes[1::2]
    for part in np.array_split(np.arange(len(queried)), -(-len(queried) // _CHUNK)):
        left = [_one_hot(np.minimum(half[:, queried[part]], BINS - 1)) for half in halves]
        for block in _blocks(codes[:, candidates].max(axis=0) < BINS):
            share = _explained(left, [half[:, candidates[block]] for half in halves])
            winner = share.argmax(axis=1)
            found = share[np.arange(len(part)), winner]
            better = found > explained[part]
            best[part[better]] = candidates[block[winner[better]]]
            explained[part[better]] = found[better]
    return Proxies(best, explained)


def _blocks(small: NDArray[np.bool_]) -> Iterator[NDArray[np.int64]]:
    """Columns that are processed together: those with few codes in blocks, each other one separately."""
    few = np.flatnonzero(small)
    yield from (few[start : start + _CHUNK // 4] for start in range(0, len(few), _CHUNK // 4))
    yield from np.flatnonzero(~small)[:, None]


def label_information(codes: NDArray[np.int64], label: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of the label's entropy that each column removes, (N,) in [0, 1], minus the share by chance (Miller 1955).

    Args:
        codes: int64 (rows, N) as for ``proxies``; only the most frequent categories are used.
        label: int64 (rows,), fewer than ``BINS`` values.
    """
    left = _one_hot(label[:, None])
    shares = [
        _information(left, _one_hot(np.minimum(codes[:, start : start + _CHUNK], BINS - 1)))
        for start in range(0, codes.shape[1], _CHUNK)
    ]
    return np.concatenate(shares) if shares else np.zeros(0)


def _one_hot(codes: NDArray[np.int64]) -> NDArray[np.float32]:
    rows, columns = codes.shape
    flat = np.zeros((rows, columns * BINS), dtype=np.float32)
    flat[np.arange(rows)[:, None], codes + np.arange(columns) * BINS] = 1.0
    return flat


def _explained(left: list[NDArray[np.float32]], right: list[NDArray[np.int64]]) -> NDArray[np.float64]:
    """(Q, C) shares of the left columns' entropy that the right ones remove, in the second half by the first."""
    size = max(int(half.max()) for half in right) + 1
    if size <= BINS:
        return _predicted(*(_dense_joint(one, other) for one, other in zip(left, right, strict=True)))
    step = max(1, _CELLS // (BINS * size)) * BINS
    parts = []
    for start in range(0, left[0].shape[1], step):
        joints = (_sparse_joint(one[:, start : start + step], other[:, 0], size)
                  for one, other in zip(left, right, strict=True))  # fmt: skip
        parts.append(_predicted(*joints))
    return np.concatenate(parts)


def _dense_joint(left: NDArray[np.float32], right: NDArray[np.int64]) -> NDArray[np.float32]:
    """Number of rows by bin of each left column and code of each right one, (Q, BINS, C, codes)."""
    joint: NDArray[np.float32] = left.T @ _one_hot(right)
    return joint.reshape(-1, BINS, right.shape[1], BINS)


def _sparse_joint(left: NDArray[np.float32], right: NDArray[np.int64], size: int) -> NDArray[np.float32]:
    """The same for one right column with many codes, (Q, BINS, 1, size)."""
    rows = len(right)
    cells = csr_array((np.ones(rows, dtype=np.float32), (right, np.arange(rows))), shape=(size, rows))
    joint: NDArray[np.float32] = cells @ left
    return joint.T.reshape(-1, BINS, 1, size)


def _predicted(fit: NDArray[np.float32], held: NDArray[np.float32]) -> NDArray[np.float64]:
    """(Q, C) shares of the held-out rows' entropy that predictions from the other half's counts remove."""
    total = fit.sum(axis=3)
    marginal = (total + 1.0 / BINS) / (total.sum(axis=1, keepdims=True) + 1.0)
    unknown = -(held.sum(axis=3) * np.log(marginal)).sum(axis=1, dtype=np.float64)
    conditional = (fit + marginal[..., None]) / (
        fit.sum(axis=1, keepdims=True) + 1.0
    )  # prior: the marginal, with the weight of one row
    known = -np.multiply(held, np.log(conditional, out=conditional), out=conditional).sum(axis=(1, 3), dtype=np.float64)
    return np.clip(1.0 - known / np.maximum(unknown, 1e-12), 0.0, 1.0)


def _information(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N,) shares of the left column's entropy that the right ones remove."""
    rows = len(left)
    joint = (left.T @ right).reshape(BINS, -1, BINS).astype(np.float64)
    left_entropy, left_used = _entropy(joint.sum(axis=2), rows, axes=(0,))
    right_entropy, right_used = _entropy(joint.sum(axis=0), rows, axes=(1,))
    joint_entropy, _ = _entropy(joint, rows, axes=(0, 2))
    chance = (left_used - 1) * (right_used - 1) / (2 * rows)  # expected information of two independent columns
    information = left_entropy + right_entropy - joint_entropy - chance
    return np.clip(information / np.maximum(left_entropy, 1e-12), 0.0, 1.0)


def _entropy(
    counts: NDArray[np.float64], rows: int, axes: tuple[int, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    share = counts / rows
    logs = np.log(share, out=np.zeros_like(share), where=share > 0)
    return -(share * logs).sum(axis=axes), (share > 0).sum(axis=axes).astype(np.float64)

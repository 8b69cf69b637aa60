"""Which kept feature carries the information of a dropped one, and whether a feature says anything of the label.

Both are answered by mutual information over binned values, because it needs no assumption about kind or shape:
``explained = I(dropped; kept) / H(dropped)``, the share of the dropped feature's entropy that the kept one removes
(Theil's uncertainty coefficient, Theil 1970), less what chance alone would give (Miller 1955 bias correction).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_CHUNK = 512


@dataclass(frozen=True)
class Carriers:
    """For each queried column: the index of the column that explains it best, and the share explained in [0, 1]."""

    column: NDArray[np.int64]
    explained: NDArray[np.float64]


def bin_columns(values: NDArray[np.float32], bins: int = 12) -> NDArray[np.int64]:
    """Bin every column to at most ``bins`` codes.

    Columns with few distinct values keep them; others are cut at quantiles; NaN is a code of its own.

    Args:
        values: (rows, N).
        bins: most codes per column, the one for NaN included.

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


def carriers(codes: NDArray[np.int64], queried: NDArray[np.int64], candidates: NDArray[np.int64]) -> Carriers:
    """For each queried column the candidate that explains most of it.

    Args:
        codes: int64 (rows, N) from ``bin_columns``.
        queried: column indices, (Q,).
        candidates: column indices, (C,), at least one.
    """
    bins = int(codes.max()) + 1
    right = _one_hot(codes[:, candidates], bins)
    best = np.zeros(len(queried), dtype=np.int64)
    explained = np.zeros(len(queried))
    for start in range(0, len(queried), _CHUNK):
        part = queried[start : start + _CHUNK]
        share = _explained(_one_hot(codes[:, part], bins), right, bins)
        winner = share.argmax(axis=1)
        best[start : start + len(part)] = candidates[winner]
        explained[start : start + len(part)] = share[np.arange(len(part)), winner]
    return Carriers(best, explained)


def label_information(codes: NDArray[np.int64], label: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of the label's entropy that each column removes, chance taken off, (N,) in [0, 1]."""
    bins = max(int(codes.max()), int(label.max())) + 1
    left = _one_hot(label[:, None], bins)
    shares = [
        _explained(left, _one_hot(codes[:, start : start + _CHUNK], bins), bins)[0]
        for start in range(0, codes.shape[1], _CHUNK)
    ]
    return np.concatenate(shares) if shares else np.zeros(0)


def _one_hot(codes: NDArray[np.int64], bins: int) -> NDArray[np.float32]:
    rows, columns = codes.shape
    flat = np.zeros((rows, columns * bins), dtype=np.float32)
    flat[np.arange(rows)[:, None], codes + np.arange(columns) * bins] = 1.0
    return flat


def _explained(left: NDArray[np.float32], right: NDArray[np.float32], bins: int) -> NDArray[np.float64]:
    """(Q, C) shares of the left columns' entropy that the right columns remove."""
    rows = len(left)
    n_left, n_right = left.shape[1] // bins, right.shape[1] // bins
    joint = (left.T @ right).reshape(n_left, bins, n_right, bins).transpose(0, 2, 1, 3).astype(np.float64)
    left_entropy, left_used = _entropy(joint.sum(axis=3), rows, axes=(2,))
    right_entropy, right_used = _entropy(joint.sum(axis=2), rows, axes=(2,))
    joint_entropy, _ = _entropy(joint, rows, axes=(2, 3))
    chance = (left_used - 1) * (right_used - 1) / (2 * rows)  # expected information of two independent columns
    information = left_entropy + right_entropy - joint_entropy - chance
    return np.clip(information / np.maximum(left_entropy, 1e-12), 0.0, 1.0)


def _entropy(
    counts: NDArray[np.float64], rows: int, axes: tuple[int, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    share = counts / rows
    logs = np.log(share, out=np.zeros_like(share), where=share > 0)
    return -(share * logs).sum(axis=axes), (share > 0).sum(axis=axes).astype(np.float64)

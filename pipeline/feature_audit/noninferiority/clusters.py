"""Rows to resampling clusters (users, sessions, or single rows)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

#: Block size for loops whose temporary arrays would otherwise take more memory than the result.
_BLOCK_ROWS = 1 << 17


def cluster_codes(cluster: np.ndarray | None, rows: int) -> tuple[np.ndarray | None, int]:
    """Codes 0..n-1 in the order of the sorted cluster labels, and n; ``(None, rows)`` if each row is a cluster."""
    if cluster is None:
        return None, rows
    if _are_dense(cluster):  # avoids a sort, which takes ten times the memory
        there = code_counts(cluster, int(cluster.max()) + 1) > 0
        places = np.cumsum(there, dtype=np.int32) - np.int32(1)
        return places[cluster], int(places[-1]) + 1
    labels, codes = np.unique(cluster, return_inverse=True)
    return codes.reshape(-1), len(labels)


def _are_dense(cluster: np.ndarray) -> bool:
    """Whether the labels are whole numbers from 0 with few gaps."""
    if cluster.dtype.kind not in "iu" or not len(cluster):
        return False
    return bool(cluster.min() >= 0 and cluster.max() < min(4 * len(cluster), np.iinfo(np.int32).max))


def code_counts(codes: np.ndarray, n_codes: int) -> np.ndarray:
    """int64 (n_codes,), count of each code; unlike ``bincount`` without a copy of all codes."""
    counts = np.zeros(n_codes, dtype=np.int64)
    for block in blocks(len(codes)):
        np.add.at(counts, codes[block], 1)
    return counts


def cluster_sums(values: np.ndarray, codes: np.ndarray | None, n_clusters: int) -> np.ndarray:
    """Sum of (rows,) or (rows, q) values per cluster, in float64: (n_clusters,) or (n_clusters, q)."""
    if codes is None:
        return np.asarray(values, dtype=np.float64)
    sums = np.zeros((n_clusters, *values.shape[1:]))
    for column, total in ((values, sums),) if values.ndim == 1 else zip(values.T, sums.T, strict=True):
        for block in blocks(len(codes)):
            np.add.at(total, codes[block], column[block])
    return sums


def blocks(rows: int) -> Iterator[slice]:
    """Consecutive slices that cover all rows; they bound the size of temporary arrays."""
    return (slice(start, start + _BLOCK_ROWS) for start in range(0, rows, _BLOCK_ROWS))


def segments(*keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Blocks of equal keys in sorted rows: int (blocks + 1,), start of each and the end; (rows,), block of each row."""
    rows = len(keys[0])
    new = np.zeros(rows, dtype=bool)
    new[:1] = True
    for key in keys:
        new[1:] |= key[1:] != key[:-1]
    kind = row_type(rows)
    edges = np.append(np.flatnonzero(new), rows).astype(kind)
    return edges, np.cumsum(new, dtype=kind) - kind(1)


def row_type(rows: int) -> type[np.signedinteger[Any]]:
    """Smallest integer type for indices of this many rows, including the end."""
    return np.int32 if rows < np.iinfo(np.int32).max else np.int64

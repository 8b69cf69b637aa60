"""Rows into resampling clusters (users, sessions, or each row by itself)."""

from __future__ import annotations

import numpy as np


def cluster_codes(cluster: np.ndarray | None, rows: int) -> tuple[np.ndarray | None, int]:
    """Codes 0..n-1 in the order of the sorted cluster labels, and n; ``(None, rows)`` where each row is a cluster."""
    if cluster is None:
        return None, rows
    labels, codes = np.unique(cluster, return_inverse=True)
    return codes.reshape(-1), len(labels)


def cluster_sums(values: np.ndarray, codes: np.ndarray | None, n_clusters: int) -> np.ndarray:
    """Sum of (rows,) or (rows, q) values per cluster, in float64: (n_clusters,) or (n_clusters, q)."""
    values = np.asarray(values, dtype=np.float64)
    if codes is None:
        return values
    if values.ndim == 1:
        return np.bincount(codes, weights=values, minlength=n_clusters)
    return np.stack([np.bincount(codes, weights=column, minlength=n_clusters) for column in values.T], axis=1)


def segments(*keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For sorted rows: first index and end (exclusive) of each row's block of equal keys, both (rows,) int."""
    rows = len(keys[0])
    new = np.zeros(rows, dtype=bool)
    new[:1] = True
    for key in keys:
        new[1:] |= key[1:] != key[:-1]
    starts = np.flatnonzero(new)
    block = np.cumsum(new) - 1
    ends = np.append(starts[1:], rows)
    return starts[block], ends[block]

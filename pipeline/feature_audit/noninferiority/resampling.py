"""Paired bootstrap over clusters: all models and metrics use the same resampled users."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from feature_audit.noninferiority.clusters import cluster_sums

MOST_CLUSTERS = 100_000
_BLOCK_CELLS = 4_000_000  # weights in memory at a time: 32 MB in float64


def resampled_sums(sums: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Sums over multinomial resamples of the clusters.

    Args:
        sums: (clusters, q) float64 addends, statistics of all models in columns; many clusters are pooled first.
        draws: number of resamples.
        seed: seed of the generator; the same seed gives the same resamples.

    Returns:
        (draws, q) float64.
    """
    sums = pooled(sums, pool_of(len(sums), seed))
    blocks = [weights @ sums for weights in cluster_weights(len(sums), draws, seed)]
    return np.concatenate(blocks) if blocks else np.empty((0, sums.shape[1]))


def pool_of(n_clusters: int, seed: int) -> np.ndarray:
    """int32 (clusters,), resampling group of each cluster; while there are few, each cluster is one group.

    More than ``MOST_CLUSTERS`` clusters are pooled at random into that many groups: the expected variance of the
    resamples does not change, and its error is at most 0.5 % (sqrt(2 / MOST_CLUSTERS)).
    """
    if n_clusters <= MOST_CLUSTERS:
        return np.arange(n_clusters, dtype=np.int32)
    order = np.random.default_rng([seed, 1]).permutation(n_clusters)
    order %= MOST_CLUSTERS
    return order.astype(np.int32)


def pooled(sums: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """(groups, q) sums over the clusters of each group of ``pool_of``."""
    return sums if len(pool) <= MOST_CLUSTERS else cluster_sums(sums, pool, MOST_CLUSTERS)


def cluster_weights(n_clusters: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Multinomial counts of ``n_clusters`` draws with replacement, in blocks of (<= draws, n_clusters) float64."""
    rng = np.random.default_rng(seed)
    size = max(1, min(draws, _BLOCK_CELLS // max(n_clusters, 1)))
    for start in range(0, draws, size):
        block = min(size, draws - start)
        weights = np.empty((block, n_clusters))
        for row in weights:
            row[:] = np.bincount(rng.integers(0, n_clusters, n_clusters, dtype=np.int32), minlength=n_clusters)
        yield weights

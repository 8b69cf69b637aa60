"""Ranking quality in float64: AUC with its influence values, GAUC, NDCG and DeLong's variance.

All of it sorts once and works on whole arrays; ties count half (AUC) or are averaged (NDCG), as in scikit-learn.
"""

from __future__ import annotations

import numpy as np

from feature_audit.parity.clusters import cluster_sums, segments


def auc_placements(y: np.ndarray, score: np.ndarray) -> tuple[float, np.ndarray]:
    """AUC and every row's placement among the rows of the other class.

    Args:
        y: (rows,) 0 or 1, both present.
        score: (rows,) float; only the order matters.

    Returns:
        The AUC, and (rows,) float64: for a positive the share of negatives below it, for a negative the share of
        positives above it, ties half. Either class's mean is the AUC (DeLong et al. 1988, eq. 2-5).
    """
    order = np.argsort(score)
    positive = np.asarray(y)[order] > 0
    first, last = segments(np.asarray(score)[order])
    below = np.concatenate(([0], np.cumsum(~positive)))  # negatives among the first i sorted rows
    under = np.concatenate(([0], np.cumsum(positive)))
    n_negative, n_positive = int(below[-1]), int(under[-1])
    # Half-sums of counts before and through the tie block are exact in integers: 2 * (below + ties / 2).
    wins_of_positive = below[first] + below[last]
    wins_of_negative = 2 * n_positive - under[first] - under[last]
    placed = np.where(positive, wins_of_positive / (2 * n_negative), wins_of_negative / (2 * n_positive))
    placement = np.empty_like(placed)
    placement[order] = placed
    auc = float(wins_of_positive[positive].sum()) / (2.0 * n_negative * n_positive)
    return auc, placement


def auc_influence(y: np.ndarray, score: np.ndarray) -> tuple[float, np.ndarray]:
    """AUC and the (rows,) infinitesimal-jackknife values: d AUC / d weight of the row; they sum to zero.

    Summed over a cluster's rows they give the clustered variance of Obuchowski (1997).
    """
    auc, placement = auc_placements(y, score)
    positive = np.asarray(y) > 0
    size = np.where(positive, np.count_nonzero(positive), np.count_nonzero(~positive))
    return auc, (placement - auc) / size


def weighted_auc(y: np.ndarray, score: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """AUC under row weights, exactly, for many weightings of the same rows.

    Args:
        y, score: (rows,).
        weight: (draws, rows) non-negative counts.

    Returns:
        (draws,) float64; NaN where a draw holds one class only.
    """
    order = np.argsort(score)
    positive = np.asarray(y)[order] > 0
    first, last = segments(np.asarray(score)[order])
    weight = weight[:, order].astype(np.float64)
    below = np.cumsum(np.where(positive, 0.0, weight), axis=1)
    below = np.concatenate((np.zeros((len(weight), 1)), below), axis=1)
    heavy = np.where(positive, weight, 0.0)
    pairs = heavy.sum(axis=1) * below[:, -1]
    wins = np.einsum("dr,dr->d", heavy, (below[:, first] + below[:, last]) / 2)
    return np.divide(wins, pairs, out=np.full(len(weight), np.nan), where=pairs > 0)


def delong(
    y: np.ndarray, placed_a: tuple[float, np.ndarray], placed_b: tuple[float, np.ndarray]
) -> tuple[float, float]:
    """AUC(b) - AUC(a) on the same rows and its standard error, row-level (DeLong, DeLong & Clarke-Pearson 1988).

    Blind to users: rows of one user count as independent. A cross-check of the unit-level figure, not the verdict.

    Args:
        y: (rows,) 0 or 1.
        placed_a, placed_b: ``auc_placements`` of the two models.
    """
    difference = placed_b[1] - placed_a[1]
    positive = np.asarray(y) > 0
    parts = difference[positive], difference[~positive]
    if min(len(part) for part in parts) < 2:
        return placed_b[0] - placed_a[0], float("nan")
    return placed_b[0] - placed_a[0], float(np.sqrt(sum(np.var(part, ddof=1) / len(part) for part in parts)))


def group_auc(y: np.ndarray, score: np.ndarray, cluster: np.ndarray, n_clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """Every cluster's own AUC.

    Args:
        y, score: (rows,).
        cluster: (rows,) codes 0..n_clusters-1.

    Returns:
        (n_clusters,) float64 AUC (0 where undefined) and (n_clusters,) bool: the cluster has both classes.
    """
    order = np.lexsort((score, cluster))
    codes, sorted_score = cluster[order], np.asarray(score)[order]
    positive = np.asarray(y)[order] > 0
    first, last = segments(codes, sorted_score)
    start, _ = segments(codes)
    below = np.concatenate(([0], np.cumsum(~positive)))
    wins = (below[first] + below[last]) / 2 - below[start]  # negatives of the same cluster below, ties half
    n_positive = cluster_sums(positive.astype(np.float64), codes, n_clusters)
    n_negative = cluster_sums((~positive).astype(np.float64), codes, n_clusters)
    pairs = n_positive * n_negative
    won = cluster_sums(np.where(positive, wins, 0.0), codes, n_clusters)
    return np.divide(won, pairs, out=np.zeros(n_clusters), where=pairs > 0), pairs > 0


def group_ndcg(
    y: np.ndarray, score: np.ndarray, cluster: np.ndarray, n_clusters: int, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Every cluster's own NDCG@k with linear gains (Järvelin & Kekäläinen 2002); tied scores share their positions.

    Args:
        y: (rows,) gains >= 0.
        score: (rows,).
        cluster: (rows,) codes 0..n_clusters-1.
        k: positions that count.

    Returns:
        (n_clusters,) float64 NDCG (0 where undefined) and (n_clusters,) bool: the cluster has a positive gain.
    """
    gain = np.asarray(y, dtype=np.float64)
    ideal = _group_dcg(gain, gain, cluster, n_clusters, k)
    reached = _group_dcg(gain, score, cluster, n_clusters, k)
    return np.divide(reached, ideal, out=np.zeros(n_clusters), where=ideal > 0), ideal > 0


def _group_dcg(gain: np.ndarray, score: np.ndarray, cluster: np.ndarray, n_clusters: int, k: int) -> np.ndarray:
    """(n_clusters,) DCG@k; a block of tied rows earns its mean gain at each of its positions (as scikit-learn does)."""
    order = np.lexsort((-np.asarray(score), cluster))
    codes, gains = cluster[order], gain[order]
    first, last = segments(codes, np.asarray(score)[order])
    start, _ = segments(codes)
    k = min(k, len(gains))  # no cluster reaches further, and a huge cut-off would fill the memory
    discount = 1.0 / np.log2(np.arange(k) + 2.0)
    reach = np.concatenate(([0.0], np.cumsum(discount)))  # sum of the first i discounts
    share = (reach[np.minimum(last - start, k)] - reach[np.minimum(first - start, k)]) / (last - first)
    return cluster_sums(gains * share, codes, n_clusters)

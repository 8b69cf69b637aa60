"""Ranking quality in float64: AUC with its influence values, GAUC, NDCG and DeLong's variance.

All of it sorts once and works on whole arrays; ties count half (AUC) or are averaged (NDCG), as in scikit-learn.
A row of weight w counts as w rows: it makes w pairs with every row of the other class, and takes w positions of a list.
"""

from __future__ import annotations

import math

import numpy as np

from feature_audit.parity.clusters import cluster_sums, segments


def auc_placements(y: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None) -> tuple[float, np.ndarray]:
    """AUC and every row's placement among the rows of the other class.

    Args:
        y: (rows,) 0 or 1, both present.
        score: (rows,) float; only the order matters.
        weight: (rows,) > 0; None = 1 each.

    Returns:
        The AUC, and (rows,) float64: for a positive the share of negatives below it, for a negative the share of
        positives above it, ties half. Either class's mean is the AUC (DeLong et al. 1988, eq. 2-5). Shares and means
        are weighted ones.
    """
    order = np.argsort(score)
    positive = np.asarray(y)[order] > 0
    first, last = segments(np.asarray(score)[order])
    size = _sizes(weight, order)
    below = np.concatenate(([0], np.cumsum(size * ~positive)))  # weight of negatives among the first i sorted rows
    under = np.concatenate(([0], np.cumsum(size * positive)))
    all_negative, all_positive = below[-1].item(), under[-1].item()
    # Half-sums of counts before and through the tie block are exact in integers: 2 * (below + ties / 2).
    wins_of_positive = below[first] + below[last]
    wins_of_negative = 2 * all_positive - under[first] - under[last]
    placed = np.where(positive, wins_of_positive / (2 * all_negative), wins_of_negative / (2 * all_positive))
    placement = np.empty_like(placed)
    placement[order] = placed
    auc = float((size * wins_of_positive)[positive].sum()) / (2.0 * all_negative * all_positive)
    return auc, placement


def _sizes(weight: np.ndarray | None, order: np.ndarray) -> np.ndarray:
    """How many rows each row counts as, in the given order: whole numbers without weights, so that sums are exact."""
    return np.ones(len(order), dtype=np.int64) if weight is None else np.asarray(weight, dtype=np.float64)[order]


def auc_influence(y: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None) -> tuple[float, np.ndarray]:
    """AUC and the (rows,) infinitesimal-jackknife values: its slope when a row is resampled; they sum to zero.

    Summed over a cluster's rows they give the clustered variance of Obuchowski (1997).
    """
    auc, placement = auc_placements(y, score, weight)
    positive = np.asarray(y) > 0
    size = 1 if weight is None else weight
    whole = np.where(positive, np.sum(size * positive), np.sum(size * ~positive))
    return auc, size * (placement - auc) / whole


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


def group_auc(
    y: np.ndarray, score: np.ndarray, cluster: np.ndarray, n_clusters: int, weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Every cluster's own AUC.

    Args:
        y, score: (rows,).
        cluster: (rows,) codes 0..n_clusters-1.
        weight: (rows,) > 0; None = 1 each.

    Returns:
        (n_clusters,) float64 AUC (0 where undefined) and (n_clusters,) bool: the cluster has both classes.
    """
    order = np.lexsort((score, cluster))
    codes, sorted_score = cluster[order], np.asarray(score)[order]
    positive = np.asarray(y)[order] > 0
    first, last = segments(codes, sorted_score)
    start, _ = segments(codes)
    size = _sizes(weight, order)
    below = np.concatenate(([0], np.cumsum(size * ~positive)))
    wins = (below[first] + below[last]) / 2 - below[start]  # negatives of the same cluster below, ties half
    pairs = cluster_sums(size * positive, codes, n_clusters) * cluster_sums(size * ~positive, codes, n_clusters)
    won = cluster_sums(np.where(positive, size * wins, 0.0), codes, n_clusters)
    return np.divide(won, pairs, out=np.zeros(n_clusters), where=pairs > 0), pairs > 0


def group_ndcg(
    y: np.ndarray, score: np.ndarray, cluster: np.ndarray, n_clusters: int, k: int, weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Every cluster's own NDCG@k with linear gains (Järvelin & Kekäläinen 2002); tied scores share their positions.

    Args:
        y: (rows,) gains >= 0.
        score: (rows,).
        cluster: (rows,) codes 0..n_clusters-1.
        k: positions that count.
        weight: (rows,) > 0, positions that a row takes, also parts of one; None = 1 each.

    Returns:
        (n_clusters,) float64 NDCG (0 where undefined) and (n_clusters,) bool: the cluster has a positive gain.
    """
    gain = np.asarray(y, dtype=np.float64)
    ideal = _group_dcg(gain, gain, cluster, n_clusters, k, weight)
    reached = _group_dcg(gain, score, cluster, n_clusters, k, weight)
    return np.divide(reached, ideal, out=np.zeros(n_clusters), where=ideal > 0), ideal > 0


def _group_dcg(
    gain: np.ndarray, score: np.ndarray, cluster: np.ndarray, n_clusters: int, k: int, weight: np.ndarray | None
) -> np.ndarray:
    """(n_clusters,) DCG@k; a block of tied rows earns its mean gain at each of its positions (as scikit-learn does)."""
    order = np.lexsort((-np.asarray(score), cluster))
    codes, gains = cluster[order], gain[order]
    first, last = segments(codes, np.asarray(score)[order])
    start, _ = segments(codes)
    size = _sizes(weight, order)
    place = np.concatenate(([0], np.cumsum(size)))  # positions that the first i sorted rows take
    top, bottom = place[first] - place[start], place[last] - place[start]
    k = min(k, math.ceil(bottom.max(initial=0)))  # no cluster reaches further; a huge cut-off would fill the memory
    discount = 1.0 / np.log2(np.arange(k) + 2.0)
    reach = np.concatenate(([0.0], np.cumsum(discount)))  # sum of the first i discounts
    earned = np.interp(bottom, np.arange(k + 1), reach) - np.interp(top, np.arange(k + 1), reach)
    return cluster_sums(gains * size * (earned / (bottom - top)), codes, n_clusters)

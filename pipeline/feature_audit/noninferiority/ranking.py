"""Ranking quality in float64: AUC with its influence values, GAUC, NDCG and DeLong's variance.

All functions sort once and then process the sorted rows in blocks, so that a test split of tens of millions of rows
takes about 50 bytes per row. Ties count half (AUC) or are averaged (NDCG), as in scikit-learn.
A row of weight w counts as w rows: w pairs with every row of the other class, and w positions in a list.
"""

from __future__ import annotations

import math

import numpy as np

from feature_audit.noninferiority.clusters import blocks, cluster_sums, row_type, segments


def auc_placements(y: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None) -> tuple[float, np.ndarray]:
    """AUC and every row's placement among the rows of the other class.

    Args:
        y: (rows,) 0 or 1, both present.
        score: (rows,) float; only the order matters.
        weight: (rows,) > 0; None = 1 each.

    Returns:
        The AUC, and (rows,) float64: for a positive the share of negatives below it, for a negative the share of
        positives above it, ties half. The mean over either class is the AUC (DeLong et al. 1988, eq. 2-5). Shares and
        means are weighted.
    """
    order = np.argsort(score).astype(row_type(len(score)))
    positive = np.asarray(y)[order] > 0
    edges, block = segments(np.asarray(score)[order])
    size = None if weight is None else np.asarray(weight, dtype=np.float64)[order]
    below = _running(~positive, size)[edges]  # weight of negatives before each block of ties, and of all
    under = edges - below if size is None else _running(positive, size)[edges]
    all_negative, all_positive = below[-1].item(), under[-1].item()
    exact = np.int64 if size is None else np.float64
    placement, won = np.empty(len(order)), []
    for rows in blocks(len(order)):
        mine, first = positive[rows], block[rows]
        # Half-sums of counts before and through the tie block are exact in integers: 2 * (below + ties / 2).
        wins_of_positive = np.add(below[first], below[first + 1], dtype=exact)
        wins_of_negative = 2 * all_positive - under[first].astype(exact) - under[first + 1]
        placed = np.where(mine, wins_of_positive / (2 * all_negative), wins_of_negative / (2 * all_positive))
        placement[order[rows]] = placed
        won.append((wins_of_positive if size is None else size[rows] * wins_of_positive)[mine])
    auc = float(np.concatenate(won).sum()) / (2.0 * all_negative * all_positive)
    return auc, placement


def _running(chosen: np.ndarray, size: np.ndarray | None) -> np.ndarray:
    """(rows + 1,) weight of the chosen rows among the first i: integers if there are no weights."""
    kind = row_type(len(chosen))
    sums = np.cumsum(chosen, dtype=kind) if size is None else np.cumsum(size * chosen)
    return np.concatenate((np.zeros(1, sums.dtype), sums))


def auc_influence(y: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None) -> tuple[float, np.ndarray]:
    """AUC and the (rows,) infinitesimal-jackknife values: its derivative by each row's weight; they sum to zero.

    Sums over the rows of each cluster give the clustered variance of Obuchowski (1997).
    """
    auc, values = auc_placements(y, score, weight)
    values -= auc
    if weight is not None:
        values *= weight
    positive = np.asarray(y) > 0
    for chosen in (positive, ~positive):
        all_chosen = np.count_nonzero(chosen) if weight is None else np.sum(weight * chosen)
        np.divide(values, all_chosen, out=values, where=chosen)
    return auc, values


def delong(
    y: np.ndarray, placed_a: tuple[float, np.ndarray], placed_b: tuple[float, np.ndarray]
) -> tuple[float, float]:
    """AUC(b) - AUC(a) on the same rows and its standard error, row-level (DeLong, DeLong & Clarke-Pearson 1988).

    Ignores users: rows of one user count as independent. A cross-check of the cluster-level result, not the verdict.

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
    """AUC of every cluster.

    Args:
        y, score: (rows,).
        cluster: (rows,) codes 0..n_clusters-1.
        weight: (rows,) > 0; None = 1 each.

    Returns:
        (n_clusters,) float64 AUC (0 where undefined) and (n_clusters,) bool: the cluster has both classes.
    """
    order = np.lexsort((score, cluster)).astype(row_type(len(score)))
    codes, positive = cluster[order], np.asarray(y)[order] > 0
    edges, block = segments(codes, np.asarray(score)[order])
    starts, owner = segments(codes)
    size = None if weight is None else np.asarray(weight, dtype=np.float64)[order]
    below = _running(~positive, size)
    before, through = below[starts], below[edges]
    won = np.zeros(n_clusters)
    for rows in blocks(len(order)):
        first = block[rows]  # wins are negatives of the same cluster below, ties half
        wins = np.add(through[first], through[first + 1], dtype=np.float64) / 2 - before[owner[rows]]
        np.add.at(won, codes[rows], np.where(positive[rows], wins if size is None else size[rows] * wins, 0.0))
    sizes = (positive, ~positive) if size is None else (size * positive, size * ~positive)
    pairs = cluster_sums(sizes[0], codes, n_clusters) * cluster_sums(sizes[1], codes, n_clusters)
    return np.divide(won, pairs, out=np.zeros(n_clusters), where=pairs > 0), pairs > 0


def group_ndcg(
    y: np.ndarray, score: np.ndarray, cluster: np.ndarray, n_clusters: int, k: int, weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """NDCG@k of every cluster with linear gains (Järvelin & Kekäläinen 2002); tied scores share their positions.

    Args:
        y: (rows,) gains >= 0.
        score: (rows,).
        cluster: (rows,) codes 0..n_clusters-1.
        k: number of positions that count.
        weight: (rows,) > 0, number of positions that a row takes, possibly fractional; None = 1 each.

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
    """(n_clusters,) DCG@k; a block of tied rows has its mean gain at each of its positions (as in scikit-learn)."""
    order = np.lexsort((-np.asarray(score), cluster)).astype(row_type(len(score)))
    codes, gains = cluster[order], gain[order]
    edges, block = segments(codes, np.asarray(score)[order])
    starts, owner = segments(codes)
    if weight is None:  # positions taken by rows before each block, and before each cluster
        through, before = edges, starts
    else:
        place = np.concatenate(([0], np.cumsum(np.asarray(weight, dtype=np.float64)[order])))
        through, before = place[edges], place[starts]
    # No cluster has more positions; a huge cut-off would exhaust the memory.
    k = min(k, math.ceil(np.diff(before).max(initial=0)))
    reach = np.concatenate(([0.0], np.cumsum(1.0 / np.log2(np.arange(k) + 2.0))))  # sum of the first i discounts
    sums = np.zeros(n_clusters)
    for rows in blocks(len(order)):
        first, start = block[rows], before[owner[rows]]
        top, bottom = through[first] - start, through[first + 1] - start
        earned = np.interp(bottom, np.arange(k + 1), reach) - np.interp(top, np.arange(k + 1), reach)
        size = 1 if weight is None else np.asarray(weight, dtype=np.float64)[order[rows]]
        np.add.at(sums, codes[rows], gains[rows] * size * (earned / (bottom - top)))
    return sums

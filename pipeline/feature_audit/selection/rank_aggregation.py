"""Combines the rankings of several selection runs.

A single run's ranking is noisy: initial slots differ, the surrogate is trained on other rows, and of features that
substitute for each other, sometimes one is kept and sometimes the other. The geometric mean of ranks favours features
on which the runs agree, and weights a doubling of the rank equally at any position.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def aggregate_ranks(orders: Sequence[Sequence[int]], groups: Sequence[int] | None = None) -> np.ndarray:
    """Features by the geometric mean of their ranks; ties are ordered as in the first ranking.

    Args:
        orders: at least one; each contains every feature 0 to N - 1 once, best first, with groups contiguous.
        groups: (N,) group number of each feature; a group has one rank and stays together. None = no groups.

    Returns:
        (N,) int64, best first.

    >>> aggregate_ranks([[0, 1, 2], [0, 2, 1], [2, 0, 1]]).tolist()
    [0, 2, 1]
    """
    first = np.asarray(orders[0], dtype=np.int64)
    group_of = np.arange(len(first)) if groups is None else np.asarray(groups)
    places = []
    for order in orders:
        of_order, start = np.unique(group_of[np.asarray(order)], return_index=True)
        rank = np.empty(group_of.max() + 1)
        rank[of_order[np.argsort(start)]] = np.arange(1, len(of_order) + 1)
        places.append(rank)
    mean = np.log(np.array(places)).mean(axis=0).round(12)
    # Sorting keeps groups together: members share both keys, and are contiguous in the first ranking.
    place_in_first = np.argsort(first)
    return np.lexsort((place_in_first, places[0][group_of], mean[group_of]))

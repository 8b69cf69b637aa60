"""One ranking from several trials.

A trial's ranking has noise of its own: slots start elsewhere, the surrogate sees other rows, and of features that stand
in for each other now one is kept and now the other. The geometric mean of ranks keeps what trials agree on in front,
and is as sure of the first places as of the hundredth.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Trials that always have a say; of more, only the better half.
FEWEST_VOTERS = 3


def voters(values: Sequence[float]) -> list[int]:
    """Places of the trials that have a say, best value first: the better half, for a search tries bad settings, too.

    Args:
        values: of finished trials, higher is better.
    """
    count = max(FEWEST_VOTERS, (len(values) + 1) // 2)
    return np.argsort(-np.asarray(values), kind="stable")[:count].tolist()


def consensus(orders: Sequence[Sequence[int]]) -> list[int]:
    """Features by the geometric mean of their ranks; ties go by the first ranking.

    Args:
        orders: at least one; each holds every feature once, best first.
    """
    ranks = np.array([np.argsort(order) for order in orders]) + 1
    return np.lexsort((ranks[0], np.log(ranks).mean(axis=0).round(12))).tolist()

"""Retrainings on validation that confirm the proposed K, and larger K if it falls short.

The curve of a selection comes from one network that serves every K; the pruned model is trained from scratch for a
single K. Therefore the proposed K are retrained. If none satisfies the rule, larger K follow by galloping search
(Bentley and Yao 1976): the step grows with each retraining, so that a few retrainings reach any K, and a refuted K is
never chosen while a larger one is untested.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

from feature_audit.results import CurvePoint
from feature_audit.selection.k.rule import MOST_RUNGS, STEP, Criterion, is_confident

log = logging.getLogger(__name__)


def confirm(
    ks: Sequence[int],
    proposed: Sequence[int],
    criterion: Criterion,
    retrain: Callable[[Sequence[int]], list[CurvePoint]],
) -> list[CurvePoint]:
    """Retrain at the proposed K, and at larger K until one satisfies the rule.

    Args:
        ks: K that may be retrained, ascending, at least one.
        proposed: K to start with, largest first. The search for larger K starts at the first one, rounded down to a K
            that may be retrained, or at the smallest such K.
        criterion: of the verdict.
        retrain: trains models at several K and measures each on validation.

    Returns:
        The measured points, in the order of measurement, each K once.
    """
    found: list[CurvePoint] = []

    def measure(sizes: Sequence[int]) -> None:
        for point in retrain(sizes):
            found.append(point)
            log.info(
                "select: retrained at K = %d: validation %s %+.4f vs. the full model",
                point.k, criterion.metric, point.delta,
            )  # fmt: skip

    first, *larger = ladder(ks, proposed[0])
    measure([first, *(k for k in proposed[1:] if k in ks and k < first)])
    for k in larger:
        if any(is_confident(point, found, criterion) for point in found):
            break
        measure([k])
    return found


def ladder(ks: Sequence[int], proposed: int) -> Iterator[int]:
    """K to retrain in this order; the ratio starts at ``STEP`` and is squared each time, and the last K is the largest.

    >>> list(ladder(range(1, 301), 20))
    [20, 28, 55, 211, 300]
    """
    k = max((k for k in ks if k <= proposed), default=min(ks))
    factor = STEP
    yield k
    while k < max(ks):
        k = min((other for other in ks if other >= k * factor), default=max(ks))
        factor *= factor
        yield k


def most_confirmations(min_k: int, max_k: int) -> int:
    """Upper bound on the number of retrainings of a confirmation between two K.

    The search is longest from the smallest K; from a larger one it is shorter, but smaller proposals come first.
    """
    return len(list(ladder(range(min_k, max_k + 1), min_k))) + MOST_RUNGS - 1

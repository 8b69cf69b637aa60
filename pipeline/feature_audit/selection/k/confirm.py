"""Retrainings on validation that confirm K: the proposed one, and larger ones where it falls short.

The curve of a selection comes from one network that serves every K at once; the pruned model is trained from scratch
for its own. So the proposals are retrained. Where none has what the rule asks for, larger K follow by galloping search
(Bentley and Yao 1976): the step grows from one retraining to the next, so that few of them reach any K, and a K that
was refuted is never taken while a larger one is untried.
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
    """Retrain at the proposed K, and at larger ones until one has all the evidence that the rule asks for.

    Args:
        ks: K that may be retrained, ascending, at least one.
        proposed: K to begin with, largest first. The search for larger ones starts at the first; the nearest K below it
            that may be retrained is taken, or else the smallest.
        criterion: of the verdict.
        retrain: trains models at several K and measures each on validation.

    Returns:
        What was measured, in the order of measurement, each K once.
    """
    found: list[CurvePoint] = []

    def measure(sizes: Sequence[int]) -> None:
        for point in retrain(sizes):
            found.append(point)
            log.info(
                "select: retrained at K = %d, change in validation %s against the full model: %+.4f",
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
    """K to retrain one after the other, by a factor of ``STEP`` that is squared each time; the last is the largest.

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
    """The most retrainings that a confirmation between two K may take.

    The way up is longest from the smallest K; from a larger one it is shorter, and smaller proposals come first.
    """
    return len(list(ladder(range(min_k, max_k + 1), min_k))) + MOST_RUNGS - 1

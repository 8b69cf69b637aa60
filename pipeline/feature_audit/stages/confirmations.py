"""Retrainings that confirm a K on validation, and the way along K from one to the next.

A retraining at small K costs little, one at large K nearly a full training. As long as no K comes within the margin,
larger ones are retrained one by one, up to the largest: neighbours differ by a factor, so all of them together cost
less than ``1 / (1 - 1 / STEP)`` = 3.5 times the last one. Once a K is within the margin, others are optional and cost
``MOST_WORK`` at most: larger ones until one has all the evidence that the rule asks for, and then the next smaller one
if the curve, moved to meet what was found so far (``search/forecast.py``), forecasts that it has that evidence as well:
of many that are forecast to fall short, the one that does not would mostly be luck.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache

import numpy as np

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store
from feature_audit.fitting.progress import SearchProgress
from feature_audit.fitting.trained import Trained, touched, train_one
from feature_audit.schema import ModelSchema
from feature_audit.search import KPoint, forecast
from feature_audit.stages.judge import ValidationJudge

log = logging.getLogger(__name__)

#: What all retrainings may cost together if the next one is optional, in full trainings.
MOST_WORK = 0.75
#: Neighbouring K of the confirmation differ by at least this factor.
STEP = 1.4
#: Confirmations train with seeds of their own: the retrain stage's seeds stay unseen.
CONFIRMATION_SEED = 90_000

#: Has a point all the evidence that the rule asks for, given all points (itself included)?
Satisfied = Callable[[KPoint, list[KPoint]], bool]


class Retrainings:
    """What retrainings at some K have measured so far, and what they cost.

    Args:
        config, prepared, store: of the audit.
        judge: compares with the full model.
        order: features, best first.
        full: the full model's training.
        progress: is told about every retraining.

    Attributes:
        points: what they measured, by K.
        spent: their work, by K.
    """

    def __init__(
        self,
        config: AuditConfig,
        prepared: Prepared,
        store: Store,
        judge: ValidationJudge,
        order: list[int],
        full: Trained,
        progress: SearchProgress | None,
    ) -> None:
        self.config, self.store, self.judge, self.progress = config, store, judge, progress
        self.schema, self.order, self.full = prepared.schema, order, full
        self.points: dict[int, KPoint] = {}
        self.spent: dict[int, float] = {}
        self._done = [(len(order), full.work)]  # K and work of each training so far, the full model's first
        self._touched = cache(lambda k: touched(config, self._kept(k)))  # counting builds a model: once for each K

    def measure(self, k: int) -> KPoint:
        """Train on the first ``k`` features and compare with the full model on validation."""
        seed = CONFIRMATION_SEED + self.config.seed + len(self.points)
        watch = self.progress.confirming(k) if self.progress else None
        _, scores, facts = train_one(
            self.config, self.store, self._kept(k), seed=seed, label=f"K = {k}", progress=watch
        )
        self._done.append((k, facts["work"]))
        self.spent[k] = facts["work"]
        self.points[k] = point = self.judge.point(k, scores)
        log.info(
            "select: retrained at K = %d, change in validation %s against the full model: %+.4f",
            k, self.config.metric, point.delta,
        )  # fmt: skip
        if self.progress:
            self.progress.confirmation_done(k, within=point.delta >= -self.config.margin)
        return point

    @property
    def work(self) -> float:
        """Of all of them."""
        return sum(self.spent.values())

    @property
    def within_margin(self) -> bool:
        """Does any K come within the margin?"""
        return any(point.delta >= -self.config.margin for point in self.points.values())

    def affordable(self, k: int) -> bool:
        """Is what was spent and a retraining at ``k`` together no more than ``MOST_WORK``?"""
        return self.work + self._scaled(*self._done[-1], k) <= MOST_WORK * self.full.work

    def largest_work(self, k: int) -> float:
        """Of a retraining at ``k`` with as many examples as the longest so far: chance stops some of them early."""
        return max(self._scaled(done, spent, k) for done, spent in self._done)

    def _scaled(self, done: int, spent: float, k: int) -> float:
        """As many examples as a training at ``done``, through as many parameters as ``k`` touches."""
        return spent * self._touched(k) / self._touched(done)

    def _kept(self, k: int) -> ModelSchema:
        return self.schema.keep(np.asarray(self.schema.names)[self.order[:k]])


def walk(grid: list[int], start: int, curve: list[KPoint], retrainings: Retrainings, satisfied: Satisfied) -> None:
    """Retrain at ``start``, and then where a larger K is needed or a smaller one is promising.

    Args:
        grid: K to choose from, ascending; ``start`` is one of them.
        start: K to begin with.
        curve: the masked curve.
        retrainings: receive what is measured.
        satisfied: the rule.
    """
    seen: dict[int, KPoint] = {}  # what was retrained before, for comparison, counts when the way leads there
    k: int | None = start
    while k is not None:
        seen[k] = retrainings.points.get(k) or retrainings.measure(k)
        points = list(retrainings.points.values())
        enough = min((k for k, point in seen.items() if satisfied(point, points)), default=None)
        short = max((k for k in seen if enough is None or k < enough), default=0)
        if enough is None:
            k = next((k for k in grid if k > short), None)
            needed = not retrainings.within_margin
        else:
            k = max((k for k in grid if short < k < enough), default=None)
            needed = False
            if k is not None and not _promising(k, curve, points, satisfied):
                return
        if k is not None and not needed and not retrainings.affordable(k):
            return


def _promising(k: int, curve: list[KPoint], points: list[KPoint], satisfied: Satisfied) -> bool:
    """Is a K forecast to be enough?"""
    expected = forecast(k, curve, points)
    return satisfied(expected, [*points, expected])


def grid_around(ks: list[int], anchor: int) -> list[int]:
    """K values to move along: the anchor, and neighbours at least a factor ``STEP`` apart."""
    below: list[int] = []
    above: list[int] = []
    for k in sorted((k for k in ks if k < anchor), reverse=True):
        if k * STEP <= (below[-1] if below else anchor):
            below.append(k)
    for k in sorted(k for k in ks if k > anchor):
        if k >= (above[-1] if above else anchor) * STEP or k == max(ks):
            above.append(k)
    return [*below[::-1], anchor, *above]

"""Retrainings that confirm a K on validation, and the way along K from one to the next.

A retraining at small K costs little, one at large K nearly a full training, so few of them must do. Where a K falls
short, larger ones are tried one by one until one is enough. Where it is enough, the next smaller one is tried only if
the curve, moved to meet what was found so far (``search/forecast.py``), forecasts that it is enough as well: of many
that are forecast to fall short, the one that does not would mostly be luck.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache

import numpy as np

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store
from feature_audit.schema import ModelSchema
from feature_audit.search import KPoint, forecast
from feature_audit.stages.baseline import Trained, if_cut, touched, train_one
from feature_audit.stages.cost import FEWEST_SEEDS, most_epochs
from feature_audit.stages.judge import ValidationJudge
from feature_audit.stages.progress import SearchProgress

log = logging.getLogger(__name__)

#: Retrainings that may be spent on confirming K, and what they may cost together on the way down, in full trainings.
MOST_CONFIRMATIONS = 6
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
        left: work that confirmations and retrainings together may still spend.
        progress: is told about every retraining.

    Attributes:
        points: what they measured, by K.
        spent: their work, by K.
        cut: K whose retraining was ended before it was done.
    """

    def __init__(
        self,
        config: AuditConfig,
        prepared: Prepared,
        store: Store,
        judge: ValidationJudge,
        order: list[int],
        full: Trained,
        left: float,
        progress: SearchProgress | None,
    ) -> None:
        self.config, self.store, self.judge, self.progress = config, store, judge, progress
        self.schema, self.order, self.full, self.left = prepared.schema, order, full, left
        self.points: dict[int, KPoint] = {}
        self.spent: dict[int, float] = {}
        self.cut: set[int] = set()
        self._done = [(len(order), full.work)]  # K and work of each training so far, the full model's first
        self._touched = cache(lambda k: touched(config, self._kept(k)))  # counting builds a model: once for each K

    def measure(self, k: int) -> KPoint:
        """Train on the first ``k`` features and compare with the full model on validation."""
        seed = CONFIRMATION_SEED + self.config.seed + len(self.points)
        watch = self.progress.confirming(k) if self.progress else None
        _, scores, facts = train_one(
            self.config,
            self.store,
            self._kept(k),
            seed=seed,
            label=f"K = {k}",
            most_epochs=self._limit(k),
            progress=watch,
        )
        self._done.append((k, facts["work"]))
        self.spent[k] = facts["work"]
        if facts["cut"]:
            self.cut.add(k)
        self.points[k] = point = self.judge.point(k, scores)
        log.info(
            "select: retrained at K = %d, validation %s %+.4f against the full model%s",
            k, self.config.metric, point.delta, if_cut(facts),
        )  # fmt: skip
        if self.progress:
            self.progress.confirmation_done(k, within=point.delta >= -self.config.margin)
        return point

    @property
    def work(self) -> float:
        """Of all of them."""
        return sum(self.spent.values())

    def expected_work(self, k: int) -> float:
        """Of a retraining at ``k``: as many examples as the last training, through as many parameters as K touches."""
        return self._scaled(*self._done[-1], k)

    def largest_work(self, k: int) -> float:
        """The same with as many examples as the longest training so far, for chance stops some of them early."""
        return max(self._scaled(done, spent, k) for done, spent in self._done)

    def full_length_work(self, k: int) -> float:
        """Of a retraining at ``k`` that takes as many examples as the full model's training."""
        return self._scaled(*self._done[0], k)

    def _limit(self, k: int) -> int | None:
        """Epochs of a retraining at ``k``: no more than the final ones could have, or it would promise too much."""
        if self.config.trials != "auto":
            return None  # a number of trials is run whatever it costs, and so is what follows
        epochs = self.full.facts["epochs"]
        epoch = self.full_length_work(k) / epochs
        return most_epochs(left=self.left - self.work, trainings=1 + FEWEST_SEEDS, epoch=epoch, fewest=epochs)

    def _scaled(self, done: int, spent: float, k: int) -> float:
        return spent * self._touched(k) / self._touched(done)

    def _kept(self, k: int) -> ModelSchema:
        return self.schema.keep(np.asarray(self.schema.names)[self.order[:k]])


def walk(
    grid: list[int], start: int, curve: list[KPoint], retrainings: Retrainings, satisfied: Satisfied, full_work: float
) -> None:
    """Retrain at ``start``, and then where a smaller K is promising or a larger one is needed.

    The next one may be too dear. Enough of what is left must remain for the fewest final retrainings. A smaller K is a
    bonus, so going down may cost ``MOST_WORK`` altogether and leaves enough for retrainings at the larger K as long as
    the longest training so far. A K that falls short would waste the whole audit, so going up leaves enough for
    retrainings as long as the full model's, at the K beyond, which is taken where the next one falls short as well.

    Args:
        grid: K to choose from, ascending; ``start`` is one of them.
        start: K to begin with.
        curve: the masked curve.
        retrainings: receive what is measured.
        satisfied: the rule.
        full_work: of the full model's training.
    """
    seen: dict[int, KPoint] = {}  # what was retrained before, for comparison, counts when the way leads there
    k: int | None = start
    while k is not None and len(retrainings.points) < MOST_CONFIRMATIONS:
        seen[k] = retrainings.points.get(k) or retrainings.measure(k)
        points = list(retrainings.points.values())
        enough = min((k for k, point in seen.items() if satisfied(point, points)), default=None)
        short = max((k for k in seen if enough is None or k < enough), default=0)
        if enough is None:
            k = next((k for k in grid if k > short), None)
            if k is not None and not _affordable(k, grid, retrainings):
                return
        else:
            k = max((k for k in grid if short < k < enough), default=None)
            if k is not None and not (
                _promising(k, curve, points, satisfied) and _worthwhile(k, enough, retrainings, full_work)
            ):
                return


def _promising(k: int, curve: list[KPoint], points: list[KPoint], satisfied: Satisfied) -> bool:
    """Is a K forecast to be enough?"""
    expected = forecast(k, curve, points)
    return satisfied(expected, [*points, expected])


def _worthwhile(k: int, enough: int, retrainings: Retrainings, full_work: float) -> bool:
    """May a smaller K than the one that is enough be tried?"""
    if retrainings.work + retrainings.expected_work(k) > MOST_WORK * full_work:
        return False
    final = FEWEST_SEEDS * retrainings.largest_work(enough)
    return retrainings.work + retrainings.largest_work(k) + final <= retrainings.left


def _affordable(k: int, grid: list[int], retrainings: Retrainings) -> bool:
    """May a larger K than those that fell short be tried?"""
    beyond = next((larger for larger in grid if larger > k), k)
    final = FEWEST_SEEDS * retrainings.full_length_work(beyond)
    return retrainings.work + retrainings.full_length_work(k) + final <= retrainings.left


def affordable_start(grid: list[int], proposal: int, retrainings: Retrainings) -> int:
    """The largest K up to ``proposal`` whose confirmation and fewest final retrainings fit into what is left.

    At least half of the proposal, for a K that cannot hold would be cheap and tell nothing; the proposal itself where
    none fits, for then the limit is missed anyway.
    """
    near = (k for k in grid if proposal / 2 <= k <= proposal)
    fit = (k for k in near if (1 + FEWEST_SEEDS) * retrainings.expected_work(k) <= retrainings.left)
    return max(fit, default=proposal)


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


def larger_ks(k: int, high: int) -> list[int]:
    """K above the most slots of a trial, up to the budget: the ranking goes on there by concrete score."""
    larger = []
    while k < high:
        k = min(high, round(k * STEP) + 1)
        larger.append(k)
    return larger

"""Choosing K on validation: the masked curve proposes, a retraining confirms.

The curve of a selection comes from one network that sees masked inputs; the pruned model will be retrained from
scratch. A retraining at small K costs little (it touches few parameters), so the proposal is checked by one, and K
moves along the curve's grid: up while a retraining falls short of the rule, down while it satisfies it. The rule of one
standard error compares with the best K, so there the curve's best K is retrained first. Where all retrainings fall
short of the margin and another would be too dear, the next larger K is taken unconfirmed: the retrain stage would only
prove again what is known of the others. No test row is read.
"""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store
from feature_audit.parity import metric, paired_delta
from feature_audit.schema import ModelSchema
from feature_audit.search import KChoice, KPoint, best_point, beyond_measured, choose_k, satisfies
from feature_audit.stages.baseline import Trained, if_cut, touched, train_one
from feature_audit.stages.cost import FEWEST_SEEDS, most_epochs
from feature_audit.stages.progress import SearchProgress

log = logging.getLogger(__name__)

#: Retrainings that may be spent on confirming K, and what they may cost together on the way down, in full trainings.
MOST_CONFIRMATIONS = 6
MOST_WORK = 0.75
#: Neighbouring K of the confirmation differ by at least this factor.
STEP = 1.4
#: Confirmations train with seeds of their own: the retrain stage's seeds stay unseen.
CONFIRMATION_SEED = 90_000


@dataclass(frozen=True)
class Choice:
    """The chosen K and the evidence.

    Attributes:
        k, evidence, reason: see ``search.KChoice``.
        masked: the selection's curve.
        retrained: what confirmations measured, by K.
        work: of the confirmations.
        retraining_work: what one retraining at ``k`` may come to: as many examples as the longest training so far.
        cut: K whose retraining the profile's limit ended before it was done; with more epochs it may be better.
    """

    k: int
    evidence: str
    reason: str
    masked: list[KPoint]
    retrained: list[KPoint]
    work: float
    retraining_work: float
    cut: list[int]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready dict."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Choice:
        """From ``to_dict``."""
        points = {key: [KPoint(**point) for point in content[key]] for key in ("masked", "retrained")}
        return cls(**content | points)


class ValidationJudge:
    """Compares scores with the full model's on the validation rows.

    Args:
        config: names the metric.
        store: holds labels and units.
        full_scores: the full model's scores of the validation rows.
    """

    def __init__(self, config: AuditConfig, store: Store, full_scores: np.ndarray) -> None:
        assert config.metric is not None
        assert config.task is not None
        self.metric, self.full = metric(config.metric, config.task), full_scores
        self.target, self.unit = store.target("validation"), store.group("validation")

    def point(self, k: int, scores: np.ndarray, *, odd_rows_only: bool = False) -> KPoint:
        """Quality at one K, from scores of all validation rows or of the odd ones; the elimination saw the others."""
        rows = slice(1, None, 2) if odd_rows_only else slice(None)
        unit = None if self.unit is None else self.unit[rows]
        target = self.target[rows]
        delta, error = paired_delta(self.metric, y=target, baseline=self.full[rows], pruned=scores, unit=unit)
        return KPoint(k, self.metric.value(target, scores, unit), delta, error)


def error_ratio(prepared: Prepared) -> float:
    """Expected standard error on test over that on all validation rows."""
    return float((prepared.rows["validation"] / max(prepared.rows["test"], 1)) ** 0.5)


def propose(config: AuditConfig, prepared: Prepared, points: list[dict[str, Any]]) -> KChoice:
    """The K that the rule takes from a masked curve (``KPoint`` as dicts), measured on half of the validation rows."""
    return choose_k(
        [KPoint(**point) for point in points],
        **_rule(config),
        metric=str(config.metric),
        test_ratio=error_ratio(prepared) * 2**-0.5,
    )


def still_rising(config: AuditConfig, prepared: Prepared, points: list[dict[str, Any]]) -> bool:
    """Does a masked curve end below the margin and at its best? Then a larger K than it knows may be needed."""
    proposal = propose(config, prepared, points)
    return proposal.evidence == "best" and proposal.k == max(point["k"] for point in points)


def _rule(config: AuditConfig) -> dict[str, Any]:
    return {"margin": config.margin, "confidence": config.confidence, "rule": config.k_rule}


def confirm_k(
    config: AuditConfig,
    prepared: Prepared,
    store: Store,
    judge: ValidationJudge,
    points: list[dict[str, Any]],
    order: list[int],
    low: int,
    high: int,
    full: Trained,
    left: float = math.inf,
    progress: SearchProgress | None = None,
) -> Choice:
    """Choose K from the masked curve and confirm it by retraining on validation.

    Args:
        config, prepared, store: of the audit.
        judge: compares with the full model.
        points: the masked curve, ``KPoint`` as dicts.
        order: features of the chosen trial, best first.
        low, high: range of K.
        full: the full model's training, whose work is the unit of ``MOST_WORK``.
        left: work that confirmations and retrainings together may still spend.
        progress: is told about every retraining.
    """
    masked = [KPoint(**point) for point in points]
    proposal = propose(config, prepared, points)
    retrainings = _Retrainings(config, prepared, store, judge, order, full, left, progress)
    if low == high:
        expected = retrainings.expected_work(proposal.k)
        return Choice(proposal.k, proposal.evidence, proposal.reason, masked, [], 0.0, expected, [])
    rule = _rule(config) | {"test_ratio": error_ratio(prepared)}
    measured = [point.k for point in masked]
    beyond = [] if config.whole_groups else _larger(max(measured), high)
    # All features again would be the full model again: that says nothing about dropping any.
    ks = [k for k in measured + beyond if k < len(order)] or measured
    if config.k_rule == "one_standard_error":
        retrainings.measure(min(best_point(masked).k, max(ks)))
    start = min(proposal.k, max(ks))
    grid = _grid(ks, start)
    # The default profile would rather be a little dearer on a narrow table than ask whether too small a K holds.
    if config.profile == "quick":
        start = _affordable(grid, start, retrainings, left)
    _walk(grid, start, retrainings, rule, MOST_WORK * full.work, left)
    found = sorted(retrainings.points.values(), key=lambda point: point.k)
    # One point alone would read as the only K on the curve.
    choice = choose_k(found if len(found) > 1 else found * 2, metric=str(config.metric), **rule)
    larger = min((k for k in grid if k > found[-1].k), default=None)
    if choice.evidence == "best" and larger is not None:
        choice = beyond_measured(larger, found, margin=config.margin, metric=str(config.metric))
    each, spent = retrainings.largest_work(choice.k), sum(retrainings.spent.values())
    return Choice(choice.k, choice.evidence, choice.reason, masked, found, spent, each, sorted(retrainings.cut))


class _Retrainings:
    """What retrainings at some K have measured so far, and what they cost.

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

    def expected_work(self, k: int) -> float:
        """Of a retraining at ``k``: as many examples as the last training, through as many parameters as K touches."""
        return self._scaled(*self._done[-1], k)

    def largest_work(self, k: int) -> float:
        """The same with as many examples as the longest training so far, for chance stops some of them early."""
        return max(self._scaled(done, spent, k) for done, spent in self._done)

    def _limit(self, k: int) -> int | None:
        """Epochs of a retraining at ``k``: no more than the final ones could have, or it would promise too much."""
        if self.config.trials != "auto":
            return None  # a number of trials is run whatever it costs, and so is what follows
        epochs = self.full.facts["epochs"]
        left = self.left - sum(self.spent.values())
        epoch = self.full_length_work(k) / epochs
        return most_epochs(left=left, trainings=1 + FEWEST_SEEDS, epoch=epoch, fewest=epochs)

    def full_length_work(self, k: int) -> float:
        """Of a retraining at ``k`` that takes as many examples as the full model's training."""
        return self._scaled(*self._done[0], k)

    def _scaled(self, done: int, spent: float, k: int) -> float:
        return spent * self._touched(k) / self._touched(done)

    def _kept(self, k: int) -> ModelSchema:
        return self.schema.keep(np.asarray(self.schema.names)[self.order[:k]])


def _affordable(grid: list[int], proposal: int, retrainings: _Retrainings, left: float) -> int:
    """The largest K up to ``proposal`` whose confirmation and fewest final retrainings fit into what is ``left``.

    At least half of the proposal, for a K that cannot hold would be cheap and tell nothing; the proposal itself where
    none fits, for then the limit is missed anyway.
    """
    near = (k for k in grid if proposal / 2 <= k <= proposal)
    return max((k for k in near if (1 + FEWEST_SEEDS) * retrainings.expected_work(k) <= left), default=proposal)


def _walk(
    grid: list[int], start: int, retrainings: _Retrainings, rule: dict[str, Any], most_work: float, left: float
) -> None:
    """Retrain at ``start`` and then along the grid, until neighbours disagree or the next one would be too dear.

    Either way enough of what is ``left`` must remain for the fewest final retrainings. A smaller K is a bonus, so going
    down may cost ``most_work`` altogether and leaves enough for retrainings at the larger K as long as the longest
    training so far. A K that falls short would waste the whole audit, so going up leaves enough for retrainings as
    long as the full model's, at the K beyond, which is taken where the next one falls short as well.
    """
    place = grid.index(start)
    seen: set[int] = set()
    while len(retrainings.points) < MOST_CONFIRMATIONS and grid[place] not in seen:
        k = grid[place]
        seen.add(k)
        point = retrainings.points.get(k) or retrainings.measure(k)
        enough = satisfies(point, list(retrainings.points.values()), **rule)
        place += -1 if enough else 1
        if not 0 <= place < len(grid):
            break
        spent, following = sum(retrainings.spent.values()), grid[place]
        if enough:
            work_at, final = retrainings.largest_work, k
            if spent + retrainings.expected_work(following) > most_work:
                break
        else:
            work_at, final = retrainings.full_length_work, grid[min(place + 1, len(grid) - 1)]
        if spent + work_at(following) + FEWEST_SEEDS * work_at(final) > left:
            break


def _larger(k: int, high: int) -> list[int]:
    """K above the chosen trial's slots, up to the budget: the ranking goes on there by concrete score."""
    larger = []
    while k < high:
        k = min(high, round(k * STEP) + 1)
        larger.append(k)
    return larger


def _grid(ks: list[int], anchor: int) -> list[int]:
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

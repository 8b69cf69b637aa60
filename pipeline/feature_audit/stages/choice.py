"""Choosing K on validation: the masked curve proposes, a retraining confirms.

The curve of a selection comes from one network that sees masked inputs; the pruned model will be retrained from
scratch. So the proposal is checked by a retraining, and others follow where that leaves the smallest K open
(``stages/confirmations.py``). The rule of one standard error compares with the best K, so there the curve's best K is
retrained first. Where all retrainings fall short of the margin and another would be too dear, the next larger K is
taken unconfirmed: the retrain stage would only prove again what is known of the others. No test row is read.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store
from feature_audit.search import KChoice, KPoint, best_point, beyond_measured, choose_k, satisfies
from feature_audit.stages.baseline import Trained
from feature_audit.stages.confirmations import Retrainings, affordable_start, grid_around, larger_ks, walk
from feature_audit.stages.judge import ValidationJudge, error_ratio
from feature_audit.stages.progress import SearchProgress


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
        order: features, best first.
        low, high: range of K.
        full: the full model's training.
        left: work that confirmations and retrainings together may still spend.
        progress: is told about every retraining.
    """
    masked = [KPoint(**point) for point in points]
    proposal = propose(config, prepared, points)
    retrainings = Retrainings(config, prepared, store, judge, order, full, left, progress)
    if low == high:
        expected = retrainings.expected_work(proposal.k)
        return Choice(proposal.k, proposal.evidence, proposal.reason, masked, [], 0.0, expected, [])
    rule = _rule(config) | {"test_ratio": error_ratio(prepared)}
    measured = [point.k for point in masked]
    beyond = [] if config.whole_groups else larger_ks(max(measured), high)
    # All features again would be the full model again: that says nothing about dropping any.
    ks = [k for k in measured + beyond if k < len(order)] or measured
    if config.k_rule == "one_standard_error":
        retrainings.measure(min(best_point(masked).k, max(ks)))
    start = min(proposal.k, max(ks))
    grid = grid_around(ks, start)
    # The default profile would rather be a little dearer on a narrow table than ask whether too small a K holds.
    if config.profile == "quick":
        start = affordable_start(grid, start, retrainings)
    walk(grid, start, masked, retrainings, partial(satisfies, **rule), full.work)
    found = sorted(retrainings.points.values(), key=lambda point: point.k)
    # One point alone would read as the only K on the curve.
    choice = choose_k(found if len(found) > 1 else found * 2, metric=str(config.metric), **rule)
    larger = min((k for k in grid if k > found[-1].k), default=None)
    if choice.evidence == "best" and larger is not None:
        choice = beyond_measured(larger, found, margin=config.margin, metric=str(config.metric))
    each, spent = retrainings.largest_work(choice.k), retrainings.work
    return Choice(choice.k, choice.evidence, choice.reason, masked, found, spent, each, sorted(retrainings.cut))

"""Choosing K on validation: the masked curve proposes, a retraining confirms.

The curve of a selection comes from one network that sees masked inputs; the pruned model will be retrained from
scratch. So the proposal is checked by a retraining, and others follow where that leaves the smallest K open
(``stages/confirmations.py``). A K whose retraining falls short of the margin is taken only where the largest K was
retrained and fell short as well. The rule of one standard error compares with the best K, so there the curve's best K
is retrained first. No test row is read.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store
from feature_audit.fitting.progress import SearchProgress
from feature_audit.fitting.trained import Trained
from feature_audit.search import KChoice, KPoint, best_point, choose_k, satisfies
from feature_audit.stages.confirmations import Retrainings, grid_around, walk
from feature_audit.stages.judge import ValidationJudge, error_ratio
from feature_audit.stages.load import unit_ids


@dataclass(frozen=True)
class Choice:
    """The chosen K and the evidence.

    Attributes:
        k, evidence, reason: see ``search.KChoice``.
        masked: the selection's curve.
        retrained: what confirmations measured, by K.
        work: of the confirmations.
        retraining_work: what one retraining at ``k`` may come to: as many examples as the longest training so far.
    """

    k: int
    evidence: str
    reason: str
    masked: list[KPoint]
    retrained: list[KPoint]
    work: float
    retraining_work: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready dict."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Choice:
        """From ``to_dict``."""
        points = {key: [KPoint(**point) for point in content[key]] for key in ("masked", "retrained")}
        return cls(**content | points)


def propose(config: AuditConfig, prepared: Prepared, points: list[dict[str, Any]]) -> KChoice:
    """The K that the rule takes from a masked curve (``KPoint`` as dicts)."""
    return choose_k(
        [KPoint(**point) for point in points],
        **_rule(config),
        metric=str(config.metric),
        test_ratio=error_ratio(prepared),
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
        progress: is told about every retraining.
    """
    masked = [KPoint(**point) for point in points]
    proposal = propose(config, prepared, points)
    retrainings = Retrainings(config, prepared, store, judge, order, full, progress)
    if low == high:
        return Choice(
            proposal.k, proposal.evidence, proposal.reason, masked, [], 0.0, retrainings.largest_work(proposal.k)
        )
    rule = _rule(config) | {"test_ratio": error_ratio(prepared)}
    measured = [point.k for point in masked]
    ks = _retrainable(config, prepared, order, measured, low, high)
    best, start = (
        max((k for k in measured if k <= min(wanted, ks[-1])), default=ks[-1])
        for wanted in (best_point(masked).k, proposal.k)
    )
    if config.k_rule == "one_standard_error":
        retrainings.measure(best)
    walk(grid_around(ks, start), start, masked, retrainings, partial(satisfies, **rule))
    found = sorted(retrainings.points.values(), key=lambda point: point.k)
    choice = choose_k(found, metric=str(config.metric), retrained=True, **rule)
    each, spent = retrainings.largest_work(choice.k), retrainings.work
    return Choice(choice.k, choice.evidence, choice.reason, masked, found, spent, each)


def _retrainable(
    config: AuditConfig, prepared: Prepared, order: list[int], measured: list[int], low: int, high: int
) -> list[int]:
    """K that may be retrained, ascending: those of the masked curve, and all beyond it up to the budget.

    All features again would be the full model again: that says nothing about dropping any. Whole groups are not split.
    """
    units = unit_ids(config, prepared)
    top = min(high, len(order) - 1)
    within = [k for k in measured if k <= top]
    beyond = range(max(within, default=low - 1) + 1, top + 1)
    whole = [k for k in beyond if units is None or units[order[k - 1]] != units[order[k]]]
    return sorted([*within, *whole]) or measured

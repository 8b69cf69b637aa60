"""Guards and slices: their comparisons and error levels, and slices that are too small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from feature_audit.errors import AuditError, UsageError
from feature_audit.noninferiority import intervals
from feature_audit.noninferiority.comparison import Comparison, compare
from feature_audit.noninferiority.metrics import Metric
from feature_audit.noninferiority.metrics import metric as find_metric
from feature_audit.noninferiority.resampling import pool_of
from feature_audit.noninferiority.scored_rows import ScoredArms, checked
from feature_audit.noninferiority.slices import Coded, SmallSlice, slice_masks
from feature_audit.question import Guard, GuardMode, read_guards, read_margin
from feature_audit.schema import Task

#: A guard in the form that ``decide`` accepts; None = the metric is only reported.
Given = Guard | Mapping[str, Any] | float | None


def guard_comparisons(
    scored: ScoredArms, guards: Mapping[str, Given], decision: Metric
) -> tuple[list[Comparison], dict[str, str]]:
    """Comparisons of the other metrics; one that is only reported and cannot be computed is skipped with its reason."""
    made, skipped = [], {}
    for name, given in guards.items():
        other = find_metric(name, scored.task)
        if other.name == decision.name:
            continue
        guard = None if given is None else _absolute(*read_guards({name: given}).values(), key=f"guards.{name}")
        try:
            made.append(_guarding(scored, other, "all", guard))
        except AuditError as problem:
            if guard is not None:
                raise
            skipped[name] = str(problem)
    return made, skipped


@dataclass(frozen=True)
class FurtherTarget:
    """Another target of the same models, judged in addition to the decision target.

    Attributes:
        name: name of the target.
        task, metric, margin: of its comparison.
        mode: ``not_worse``: required for a pass, like the decision; ``not_shown_worse``: only a proven loss fails.
        y: (rows,) labels, NaN where a row has none.
        baseline, pruned: (rows,) or (seeds, rows) scores of the same models on all rows.
    """

    name: str
    task: Task
    metric: str
    margin: float
    mode: GuardMode
    y: np.ndarray
    baseline: np.ndarray
    pruned: np.ndarray

    def scored(self, decision: ScoredArms, seed: int) -> ScoredArms:
        """The arms on the rows that have its label, with clusters and weights of the decision's rows.

        ``seed`` is the seed of the bootstrap.
        """
        y, held = np.asarray(self.y), ~np.isnan(self.y)
        if y.shape != decision.y.shape:
            raise AuditError(
                f"targets={self.name}: labels have shape {y.shape}; give one per test row ({len(decision.y)})"
            )
        try:
            found = checked(
                y[held],
                np.asarray(self.baseline)[..., held],
                np.asarray(self.pruned)[..., held],
                None if decision.cluster is None else decision.cluster[held],
                self.task,
                deployed=decision.deployed,
                weight=None if decision.weight is None else decision.weight[held],
            )
        except AuditError as problem:
            raise AuditError(f"targets={self.name}: {problem}") from None
        pool = None if decision.pool is None else pool_of(found.clusters, seed)
        return replace(found, target=self.name, pool=pool)

    def compared(self, scored: ScoredArms) -> Comparison:
        """The comparison, before any verdict."""
        try:
            found = compare(scored, find_metric(self.metric, self.task), "all", self.margin, "guard", self.mode)
        except AuditError as problem:
            raise AuditError(f"targets={self.name}: {problem}") from None
        return found.condensed()


def slice_comparisons(
    scored: ScoredArms,
    metric: Metric,
    slices: Mapping[str, np.ndarray | Coded],
    chosen: Mapping[str, Sequence[str]],
    guard: Guard | None,
) -> tuple[list[Comparison], list[SmallSlice]]:
    """Comparisons of the decision metric in every slice that is large enough, and the slices that are too small.

    Args:
        scored: both arms on all test rows.
        metric: the decision metric.
        slices, chosen: see ``slices.slice_masks``.
        guard: margin and mode of every slice, or None if they are only reported.
    """
    made: list[Comparison] = []
    small: list[SmallSlice] = []
    for found in slice_masks(slices, len(scored.y), scored.cluster, chosen):
        if isinstance(found, SmallSlice):
            small.append(found)
            continue
        column, name, mask = found
        try:
            made.append(_guarding(scored.on(mask), metric, name, guard))
        except AuditError as problem:
            small.append(SmallSlice(column, name, int(np.count_nonzero(mask)), str(problem)))
    return made, small


def _guarding(scored: ScoredArms, metric: Metric, name: str, guard: Guard | None) -> Comparison:
    """A comparison that guards the decision, or is only reported."""
    if guard is None:
        return compare(scored, metric, name, None, "information").condensed()
    return compare(scored, metric, name, float(guard.margin), "guard", guard.mode).condensed()


def slice_guard(margin: float | None, mode: GuardMode) -> Guard | None:
    """The guard for every slice, or None."""
    return None if margin is None else _absolute(Guard(read_margin("slice_margin", margin), mode), key="slice_margin")


def _absolute(guard: Guard, *, key: str) -> Guard:
    if isinstance(guard.margin, str):
        raise UsageError(
            f"{key}={guard.margin}: a share cannot be resolved here; give the margin in the units of the metric"
        )
    return guard


def unjudged_slices(
    sliced: Sequence[Comparison],
    small: Sequence[SmallSlice],
    slices: Mapping[str, np.ndarray | Coded],
    chosen: Mapping[str, Sequence[str]],
) -> list[str]:
    """Slices that a pass requires but that are too small to judge: named ones, or all of a column."""
    judged = [one.slice for one in sliced]
    bare = {column for column in slices if not any(name.startswith(f"{column} = ") for name in judged)}
    return [f"{one.slice} ({one.reason})" for one in small if one.column in chosen or one.column in bare]


def shares_error(one: Comparison) -> bool:
    """Whether it is a guard that fails only on a proven loss."""
    return one.mode == "not_shown_worse"


def levels_of(comparisons: list[Comparison], confidence: float) -> list[float]:
    """Error level of each comparison: guards that fail only on a proven loss share one by Holm, others get all of it.

    The decision is tested first and does not share; guards that must be proven need no correction, because all of them
    must hold (an intersection-union test: Berger 1982).
    """
    alpha = 1 - confidence
    judged = [(one.delta, one.parts, one.margin or 0.0) for one in comparisons if shares_error(one)]
    shared = iter(intervals.holm_levels(judged, alpha))
    return [next(shared) if shares_error(one) else alpha for one in comparisons]

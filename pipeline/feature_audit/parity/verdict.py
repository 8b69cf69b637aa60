"""``decide``: may the pruned feature set replace the full one?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from feature_audit.errors import AuditError, UsageError
from feature_audit.parity import intervals, power, ranking, sentences
from feature_audit.parity.chance import against_chance
from feature_audit.parity.comparison import Comparison, bootstrapped, compare
from feature_audit.parity.metrics import Metric
from feature_audit.parity.metrics import metric as find_metric
from feature_audit.parity.scored_rows import ScoredArms, checked
from feature_audit.parity.slices import SmallSlice, slice_masks
from feature_audit.results import MetricDelta, Verdict
from feature_audit.schema import Task


@dataclass(frozen=True)
class ParityResult:
    """The answer and everything it stands on.

    Attributes:
        verdict: of the feature set over retrainings: the decision metric's, turned to fail by a failed guard, and to
            inconclusive instead of pass where the full model is not better than chance.
        sentence: the verdict with its numbers, for people.
        decision: decision metric over retrainings (test-row noise and seed noise).
        artifact: decision metric for these trained artifacts (test-row noise only).
        deltas: decision first, then guards and slices.
        needed: for inconclusive, what would decide it.
        diagnostics: variance components, degrees of freedom, cross-checks, exclusions, corrections, the full model
            against chance (``chance.Chance``), numbers of (pruned, full) trainings any of which would decide an
            inconclusive verdict (``enough_trainings``); plain data.
    """

    verdict: Verdict
    sentence: str
    decision: MetricDelta
    artifact: MetricDelta
    deltas: list[MetricDelta]
    needed: str | None = None
    diagnostics: dict[str, Any] = field(default_factory=dict)


def decide(
    *,
    y: np.ndarray,
    baseline: np.ndarray,
    pruned: np.ndarray,
    cluster: np.ndarray | None = None,
    task: Task,
    metric: str,
    margin: float,
    confidence: float = 0.95,
    needed_at: tuple[float, float] | None = None,
    guards: Mapping[str, float | None] | None = None,
    slices: Mapping[str, np.ndarray] | None = None,
    slice_margin: float | None = None,
    shipped: int | None = None,
    cluster_name: str = "users",
    draws: int = 2000,
    seed: int = 0,
) -> ParityResult:
    """Non-inferiority of a pruned model: pass, fail or inconclusive, over retrainings and for these artifacts.

    Args:
        y: (rows,) labels: 0/1, a number, or class codes from 0.
        baseline: (rows,) or (seeds, rows) scores of the full model; with a last class axis for multiclass.
        pruned: (rows,) or (seeds, rows[, classes]) scores of the retrained pruned model on the same rows.
        cluster: (rows,) user of each row, what is resampled; None = each row by itself.
        task: binary, regression or multiclass.
        metric: decision metric, see ``METRICS``.
        margin: largest tolerable loss, >= 0, in the metric's units (for calibration: of |log ratio|).
        confidence: of the intervals; see ``intervals.conclude`` for how a margin splits their error.
        needed_at: confidence at which a first look at new rows, and another look at these rows with more trainings,
            would be judged: what would decide an inconclusive audit is said at these levels. None = at this one.
        guards: other metrics -> margin, or None to report only. Judged after the decision, Holm-corrected together.
        slices: column -> (rows,) labels; the decision metric is reported in each value of each column.
        slice_margin: margin of every slice, which makes them guards; None = reported only.
        shipped: index of the pruned seed that would go live, for the artifact row; None = mean of all seeds.
        cluster_name: what the clusters are called in sentences.
        draws: bootstrap resamples that cross-check the standard errors; 0 = none.
        seed: of the bootstrap.

    Raises:
        UsageError: unknown metric, negative margin, a per-user metric without clusters.
        AuditError: shapes that do not fit, labels or scores that the metric cannot take.
    """
    _check_settings(margin, confidence)
    chosen = find_metric(metric, task)
    scored = checked(y, baseline, pruned, cluster, task)
    if shipped is not None and not 0 <= shipped < len(scored.pruned):
        raise UsageError(f"shipped={shipped}: there are {len(scored.pruned)} pruned seeds, counted from 0")

    whole = [compare(scored, chosen, "all", margin, "decision")]
    guarding, skipped = _guards(scored, guards or {}, metric)
    whole, checks = bootstrapped([*whole, *guarding], draws=draws, seed=seed, confidence=confidence)
    sliced, small = _slices(scored, chosen, slices or {}, slice_margin)
    comparisons = [*whole, *sliced]
    levels = _levels(comparisons, confidence)
    deltas = [one.row(1 - level) for one, level in zip(comparisons, levels, strict=True)]
    artifact = comparisons[0].of_artifacts(shipped).row(confidence)
    chance = against_chance(
        scored.y, scored.baseline, task=task, metric=metric, cluster=scored.cluster, confidence=confidence
    )
    if not chance.better:
        deltas[0], artifact = _at_most_inconclusive(deltas[0]), _at_most_inconclusive(artifact)
    verdict = _overall(deltas)
    name = "rows" if cluster is None else cluster_name
    sentence = sentences.sentence(deltas, verdict, confidence=confidence, seeds=scored.seeds, cluster_name=name)
    needed: str | None = None
    enough: list[tuple[int, int]] = []
    if verdict == "inconclusive" and not chance.better:
        sentence, needed = sentences.no_better_than_chance(chance), sentences.CHANCE_REMEDY
    elif verdict == "inconclusive":
        rows_at, trainings_at = needed_at or (confidence, confidence)
        enough = power.enough_trainings(comparisons[0], confidence=trainings_at, seeds=scored.seeds)
        needed = power.needed(comparisons[0], enough, confidence=rows_at, seeds=scored.seeds, cluster_name=name)
    return ParityResult(
        verdict=verdict,
        sentence=sentence,
        decision=deltas[0],
        artifact=artifact,
        deltas=deltas,
        needed=needed,
        diagnostics={
            **_diagnostics(scored, comparisons, levels, confidence),
            "chance": {**asdict(chance), "better": chance.better},
            "bootstrap": checks,
            "enough_trainings": enough,
            "delong": _delong(scored) if metric == "auc" else None,
            "small_slices": [vars(one) for one in small],
            "skipped_guards": skipped,
        },
    )


def _diagnostics(
    scored: ScoredArms, comparisons: Sequence[Comparison], levels: Sequence[float], confidence: float
) -> dict[str, Any]:
    """How the intervals came about: seeds, variance components, the level of each guard."""
    guards = [(one, level) for one, level in zip(comparisons, levels, strict=True) if one.role == "guard"]
    return {
        "seeds": {"pruned": scored.seeds[0], "baseline": scored.seeds[1]},
        "seed_noise_measured": bool(comparisons[0].parts.seed_df),
        "components": [one.described(confidence) for one in comparisons],
        "correction": {
            "method": "Holm",
            "levels": {f"{one.metric.name} ({one.slice})": level for one, level in guards},
        },
    }


def _check_settings(margin: float, confidence: float) -> None:
    if not margin >= 0:
        raise UsageError(f"margin={margin}: the tolerable loss cannot be negative; give 0 or more")
    if not 0.5 < confidence < 1:
        raise UsageError(f"confidence={confidence}: give a value between 0.5 and 1, such as 0.95")


def _guards(
    scored: ScoredArms, guards: Mapping[str, float | None], decision: str
) -> tuple[list[Comparison], dict[str, str]]:
    """Comparisons of the other metrics; one that is only reported and cannot be computed is skipped with its reason."""
    made, skipped = [], {}
    for name, margin in guards.items():
        if name == decision:
            continue
        try:
            made.append(
                compare(
                    scored, find_metric(name, scored.task), "all", margin, "information" if margin is None else "guard"
                )
            )
        except AuditError as problem:
            if margin is not None:
                raise
            skipped[name] = str(problem)
    return made, skipped


def _slices(
    scored: ScoredArms, metric: Metric, slices: Mapping[str, np.ndarray], margin: float | None
) -> tuple[list[Comparison], list[SmallSlice]]:
    masks, small = slice_masks(slices, len(scored.y), scored.cluster)
    made = []
    for name, mask in masks:
        try:
            made.append(compare(scored.on(mask), metric, name, margin, "information" if margin is None else "guard"))
        except AuditError as problem:
            small.append(SmallSlice(name, int(np.count_nonzero(mask)), str(problem)))
    return made, small


def _levels(comparisons: list[Comparison], confidence: float) -> list[float]:
    """Error level of each comparison: the decision comes first and at the full level, guards share it by Holm."""
    alpha = 1 - confidence
    judged = [(one.delta, one.parts, one.margin or 0.0) for one in comparisons if one.role == "guard"]
    shared = iter(intervals.holm_levels(judged, alpha))
    return [next(shared) if one.role == "guard" else alpha for one in comparisons]


def _at_most_inconclusive(row: MetricDelta) -> MetricDelta:
    """Without its pass, if it has one: what holds of the difference says nothing of the features."""
    return replace(row, verdict="inconclusive") if row.verdict == "pass" else row


def _overall(deltas: list[MetricDelta]) -> Verdict:
    """The decision's verdict; a guard that is shown to lose more than its margin makes it a fail."""
    assert deltas[0].verdict is not None
    failed = any(row.role == "guard" and row.verdict == "fail" for row in deltas[1:])
    return "fail" if failed else deltas[0].verdict


def _delong(scored: ScoredArms) -> dict[str, float | None]:
    """Mean over seed pairs of DeLong's delta and standard error, which know nothing of users."""
    full, small = (
        [ranking.auc_placements(scored.y, score) for score in arm] for arm in (scored.baseline, scored.pruned)
    )
    delta, error = np.mean([ranking.delong(scored.y, a, b) for a in full for b in small], axis=0)
    return {"delta": float(delta), "standard_error": float(error) if np.isfinite(error) else None}

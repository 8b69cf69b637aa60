"""``decide``: the non-inferiority verdict on the pruned feature set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from feature_audit.errors import UsageError
from feature_audit.noninferiority import power, ranking, sentences
from feature_audit.noninferiority.comparison import Comparison, bootstrapped, compare
from feature_audit.noninferiority.guards import (
    FurtherTarget,
    Given,
    guard_comparisons,
    levels_of,
    shares_error,
    slice_comparisons,
    slice_guard,
    unjudged_slices,
)
from feature_audit.noninferiority.metrics import metric as find_metric
from feature_audit.noninferiority.references import Reference
from feature_audit.noninferiority.resampling import pool_of
from feature_audit.noninferiority.reservations import chances, of_further, reservations
from feature_audit.noninferiority.scored_rows import ScoredArms, checked
from feature_audit.noninferiority.slices import Coded
from feature_audit.question import GuardMode
from feature_audit.results import MetricDelta, Verdict
from feature_audit.schema import Task


@dataclass(frozen=True)
class ParityResult:
    """The verdict and its evidence.

    Attributes:
        verdict: for the feature set over retrainings: that of the decision metric; fail if a guard fails; inconclusive
            instead of pass if a required guard is not proven non-inferior, or because of a reservation (see
            ``reservations``: models no better than chance, a full model clearly worse than a reference, few units).
        sentence: the verdict in words, with its numbers.
        decision: decision metric over retrainings (test-row noise and seed noise).
        artifact: decision metric for these trained artifacts (test-row noise only).
        deltas: decision first, then guards and slices.
        needed: for inconclusive, what would decide it.
        diagnostics: variance components, degrees of freedom, cross-checks, exclusions, corrections, both models
            compared with chance (``chance.Chance``), the full model compared with its references, and the numbers of
            (pruned, full) trainings that would each decide an inconclusive verdict (``enough_trainings``); plain data.
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
    weight: np.ndarray | None = None,
    task: Task,
    metric: str,
    margin: float,
    confidence: float = 0.95,
    needed_at: tuple[float, float] | None = None,
    guards: Mapping[str, Given] | None = None,
    slices: Mapping[str, np.ndarray | Coded] | None = None,
    slice_values: Mapping[str, Sequence[str]] | None = None,
    slice_margin: float | None = None,
    against: Literal["retrained", "deployed"] = "retrained",
    slice_mode: GuardMode = "not_shown_worse",
    references: Sequence[Reference] = (),
    target: str = "",
    further: Sequence[FurtherTarget] = (),
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
        cluster: (rows,) resampling unit of each row, such as the user; None = each row is a unit.
        weight: (rows,) > 0, the number of rows that each row represents; None = 1 each. Metrics are weighted; a heavy
            row is still one observation, so unequal weights widen the intervals.
        task: binary, regression or multiclass.
        metric: decision metric, see ``METRICS``.
        margin: non-inferiority margin, >= 0, in the units of the metric (for calibration: of |log ratio|).
        confidence: of the intervals; see ``intervals.conclude`` for how the error is split if there is a margin.
        needed_at: confidence levels of a first look at new rows, and of another look at these rows with more trainings,
            used to compute what would decide an inconclusive audit. None = ``confidence``.
        guards: other metrics -> margin, or ``{"margin": ..., "mode": ...}``, or None to report only. Guards that fail
            only on a proven loss (``not_shown_worse``) share one error level by Holm's procedure; guards that a pass
            requires (``not_worse``) are each judged at the full level, because all of them must hold.
        slices: column -> (rows,) labels or their codes; the decision metric is reported for each value of each column.
        slice_values: column -> the values to use as slices. With mode ``not_worse``, each of them must be proven.
        slice_margin: margin of every slice, which makes them guards; None = reported only.
        against: ``retrained`` = the full feature set over retrainings, of which ``baseline`` contains some;
            ``deployed`` = the one full model whose scores are in ``baseline``, without seed variance.
        slice_mode: mode of the slices as guards.
        references: comparisons with other models; if the pruned model is clearly worse than one, by more than the
            margin, the verdict cannot be a pass.
        target: name of the decision target, if there are others.
        further: secondary targets of the same models. A required one is judged at the full level, like the decision:
            all of them must hold, so a false pass requires the target that loses too much to pass its own test (an
            intersection-union test: Berger 1982).
        shipped: index of the pruned seed that would be deployed, for the artifact row; None = mean of all seeds.
        cluster_name: name of the resampling units in messages.
        draws: bootstrap resamples that cross-check the standard errors; 0 = none.
        seed: of the bootstrap.

    Raises:
        UsageError: unknown metric, negative margin, a per-user metric without clusters, several deployed models.
        AuditError: inconsistent shapes, or labels, scores or weights that are invalid for the metric.
    """
    _check_settings(margin, confidence)
    chosen = find_metric(metric, task)
    scored = checked(y, baseline, pruned, cluster, task, deployed=against == "deployed", weight=weight)
    scored = replace(scored, target=target, pool=pool_of(scored.clusters, seed) if draws >= 2 else None)
    if shipped is not None and not 0 <= shipped < len(scored.pruned):
        raise UsageError(f"shipped={shipped}: give 0 to {len(scored.pruned) - 1}, the index of a pruned seed")

    decision = compare(scored, chosen, "all", margin, "decision")
    artifact = decision.of_artifacts(shipped).row(confidence)
    whole = [decision.condensed()]
    del decision  # frees its influence values, one per unit and training
    guarding, skipped = guard_comparisons(scored, guards or {}, chosen)
    whole, checks = bootstrapped([*whole, *guarding], draws=draws, seed=seed, confidence=confidence)
    others = {one.name: one.scored(scored, seed) for one in further}
    for place, one in enumerate(further, start=1):  # each has different rows, so each is resampled separately
        made, check = bootstrapped([one.compared(others[one.name])], draws=draws, seed=seed, confidence=confidence)
        whole[place:place], checks = made, {**checks, **check}
    sliced, small = slice_comparisons(
        scored, chosen, slices or {}, slice_values or {}, slice_guard(slice_margin, slice_mode)
    )
    comparisons = [*whole, *sliced]
    levels = levels_of(comparisons, confidence)
    deltas = [one.row(1 - level) for one, level in zip(comparisons, levels, strict=True)]
    name = "rows" if cluster is None else cluster_name
    found = chances(scored, metric, confidence)
    kept_back = reservations(
        scored,
        found,
        references,
        passes=deltas[0].verdict == "pass",
        margin=margin,
        confidence=confidence,
        cluster_name=name,
    )
    if kept_back:
        deltas[0], artifact = _at_most_inconclusive(deltas[0]), _at_most_inconclusive(artifact)
    for place, one in enumerate(further, start=1):
        doubts = of_further(
            others[one.name], deltas[place], metric=one.metric, confidence=confidence, cluster_name=name
        )
        if doubts:
            deltas[place], kept_back = _at_most_inconclusive(deltas[place]), [*kept_back, *doubts]
    must_show = slice_margin is not None and slice_mode == "not_worse"
    unjudged = unjudged_slices(sliced, small, slices or {}, slice_values or {}) if must_show else []
    verdict = _overall(deltas, unjudged)
    seeds = scored.seeds
    sentence = sentences.sentence(
        deltas,
        verdict,
        confidence=confidence,
        seeds=seeds,
        cluster_name=name,
        unjudged=unjudged,
        deployed=scored.deployed,
    )
    needed: str | None = None
    enough: list[tuple[int, int]] = []
    if verdict == "inconclusive" and kept_back:
        sentence, needed = f"Inconclusive: {kept_back[0].reason}.", kept_back[0].remedy
    elif verdict == "inconclusive":
        levels_at = needed_at or (confidence, confidence)
        needed, enough = _needed(comparisons, deltas, unjudged, levels_at, seeds=seeds, cluster_name=name)
    return ParityResult(
        verdict=verdict,
        sentence=sentence,
        decision=deltas[0],
        artifact=artifact,
        deltas=deltas,
        needed=needed,
        diagnostics={
            **_diagnostics(scored, comparisons, levels, confidence),
            "chance": {name: {**asdict(one), "better": one.better} for name, one in found.items()},
            "references": [
                {
                    **asdict(one),
                    "clearly_worse": one.clearly_worse(margin, confidence),
                    "sentence": one.sentence(margin, confidence),
                }
                for one in references
            ],
            "reservations": [vars(one) for one in kept_back],
            "bootstrap": checks,
            "enough_trainings": enough,
            "delong": _delong(scored) if metric == "auc" and scored.weight is None else None,
            "small_slices": [vars(one) for one in small],
            "skipped_guards": skipped,
        },
    )


def _diagnostics(
    scored: ScoredArms, comparisons: Sequence[Comparison], levels: Sequence[float], confidence: float
) -> dict[str, Any]:
    """Details of the intervals: seeds, variance components, the level of each guard."""
    guards = [(one, level) for one, level in zip(comparisons, levels, strict=True) if shares_error(one)]
    return {
        "seeds": {"pruned": scored.seeds[0], "baseline": scored.seeds[1]},
        "against": "deployed" if scored.deployed else "retrained",
        "seed_noise_measured": bool(comparisons[0].parts.seed_df),
        "components": [one.described(confidence) for one in comparisons],
        "correction": {
            "method": "Holm",
            "levels": {f"{one.key} ({one.slice})": level for one, level in guards},
        },
    }


def _check_settings(margin: float, confidence: float) -> None:
    if isinstance(margin, str):
        raise UsageError(
            f"margin={margin}: a share cannot be resolved here; give the margin in the units of the metric"
        )
    if not margin >= 0:
        raise UsageError(f"margin={margin}: must not be negative; give 0 or more")
    if not 0.5 < confidence < 1:
        raise UsageError(f"confidence={confidence}: give a value between 0.5 and 1, such as 0.95")


def _needed(
    comparisons: Sequence[Comparison],
    deltas: Sequence[MetricDelta],
    unjudged: Sequence[str],
    confidences: tuple[float, float],
    *,
    seeds: tuple[int, int],
    cluster_name: str,
) -> tuple[str, list[tuple[int, int]]]:
    """What would decide it, as a sentence and as trainings: for the decision, or for the first unproven guard.

    Args:
        comparisons, deltas: the decision first.
        unjudged: slices that are too small.
        confidences: of a decision on other rows, and of one on these rows with more trainings.
        seeds: pruned and full trainings so far.
        cluster_name: name of the resampling units.
    """
    open_guards = sentences.not_shown(deltas)
    if deltas[0].verdict == "pass" and not open_guards:
        return f"Use more test rows for {', '.join(unjudged)}, or fewer slices.", []
    asked = comparisons[0 if deltas[0].verdict != "pass" else deltas.index(open_guards[0])]
    rows_at, trainings_at = confidences
    enough = power.enough_trainings(asked, confidence=trainings_at, seeds=seeds)
    words = power.needed(asked, enough, confidence=rows_at, seeds=seeds, cluster_name=cluster_name)
    return words if asked is comparisons[0] else f"For {sentences.named(open_guards[:1])}: {words}", enough


def _at_most_inconclusive(row: MetricDelta) -> MetricDelta:
    """The row without its pass, if it has one: non-inferiority alone is not evidence about the features."""
    return replace(row, verdict="inconclusive") if row.verdict == "pass" else row


def _overall(deltas: list[MetricDelta], unjudged: Sequence[str]) -> Verdict:
    """The decision's verdict; a proven loss on a guard makes it fail, an unproven required guard withholds a pass."""
    assert deltas[0].verdict is not None
    if any(row.verdict == "fail" for row in sentences.guards(deltas)):
        return "fail"
    withheld = deltas[0].verdict == "pass" and (sentences.not_shown(deltas) or unjudged)
    return "inconclusive" if withheld else deltas[0].verdict


def _delong(scored: ScoredArms) -> dict[str, float | None]:
    """Mean over seed pairs of DeLong's delta and standard error, which ignore users."""
    full = [ranking.auc_placements(scored.y, score) for score in scored.baseline]
    pairs = np.array(
        [
            [ranking.delong(scored.y, one, small) for one in full]
            for small in (ranking.auc_placements(scored.y, score) for score in scored.pruned)  # one in memory at a time
        ]
    )
    delta, error = pairs.transpose(1, 0, 2).reshape(-1, 2).mean(axis=0)
    return {"delta": float(delta), "standard_error": float(error) if np.isfinite(error) else None}

"""``decide``: may the pruned feature set replace the full one?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from feature_audit.errors import AuditError, UsageError
from feature_audit.parity import intervals, planning, ranking, wording
from feature_audit.parity.components import Components, components, mean_over_seeds
from feature_audit.parity.intervals import conclude
from feature_audit.parity.metrics import Metric, Sample, Task, UnitStatistics
from feature_audit.parity.metrics import metric as find_metric
from feature_audit.parity.resampling import resampled_sums
from feature_audit.parity.slices import SmallSlice, slice_masks
from feature_audit.parity.units import unit_codes
from feature_audit.results import MetricDelta, Verdict

Role = Literal["decision", "guard", "information"]


@dataclass(frozen=True)
class ParityResult:
    """The answer and everything it stands on.

    Attributes:
        verdict: of the feature set over retrainings: the decision metric's, turned to fail by a failed guard.
        sentence: the verdict with its numbers, for people.
        decision: decision metric over retrainings (test-row noise and seed noise).
        artifact: decision metric for these trained artifacts (test-row noise only).
        deltas: decision first, then guards and slices.
        needed: for inconclusive, what would decide it.
        diagnostics: variance components, degrees of freedom, cross-checks, exclusions, corrections.
    """

    verdict: Verdict
    sentence: str
    decision: MetricDelta
    artifact: MetricDelta
    deltas: list[MetricDelta]
    needed: str | None = None
    diagnostics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Trials:
    """The checked inputs: (seeds, rows[, classes]) scores of both arms on the same rows, unit codes 0..units-1."""

    y: np.ndarray
    baseline: np.ndarray
    pruned: np.ndarray
    unit: np.ndarray | None
    units: int
    task: Task

    def on(self, mask: np.ndarray) -> _Trials:
        """The same trials on some of the rows."""
        unit, units = unit_codes(None if self.unit is None else self.unit[mask], int(np.count_nonzero(mask)))
        return _Trials(self.y[mask], self.baseline[:, mask], self.pruned[:, mask], unit, units, self.task)


@dataclass(frozen=True)
class _Comparison:
    """One metric on one set of rows, both arms, before any verdict."""

    metric: Metric
    slice: str
    rows: int
    units: int
    baseline: list[UnitStatistics]
    pruned: list[UnitStatistics]
    margin: float | None
    role: Role

    def influence(self, arm: Literal["baseline", "pruned"]) -> np.ndarray:
        return np.stack([one.influence for one in getattr(self, arm)])

    def qualities(self, arm: Literal["baseline", "pruned"]) -> np.ndarray:
        return np.array([self.metric.quality(one.value) for one in getattr(self, arm)])

    @property
    def delta(self) -> float:
        return float(mean_over_seeds(self.qualities("pruned")) - mean_over_seeds(self.qualities("baseline")))

    def components(self) -> Components:
        return components(
            self.influence("pruned"), self.influence("baseline"), self.qualities("pruned"), self.qualities("baseline")
        )

    def row(self, parts: Components, confidence: float) -> MetricDelta:
        """The comparison as a reported row, judged at ``confidence``."""
        end = conclude(self.delta, parts, self.margin, confidence)
        return MetricDelta(
            metric=self.metric.name,
            slice=self.slice,
            rows=self.rows,
            units=self.units,
            baseline=float(np.mean([one.value for one in self.baseline])),
            pruned=float(np.mean([one.value for one in self.pruned])),
            delta=self.delta,
            ci_low=end.low,
            ci_high=end.high,
            margin=self.margin,
            verdict=end.verdict,
            role=self.role,
        )


def decide(
    *,
    y: np.ndarray,
    baseline: np.ndarray,
    pruned: np.ndarray,
    unit: np.ndarray | None = None,
    task: Task,
    metric: str,
    margin: float,
    confidence: float = 0.95,
    guards: Mapping[str, float | None] | None = None,
    slices: Mapping[str, np.ndarray] | None = None,
    slice_margin: float | None = None,
    shipped: int | None = None,
    unit_name: str = "users",
    draws: int = 2000,
    seed: int = 0,
) -> ParityResult:
    """Non-inferiority of a pruned model: pass, fail or inconclusive, over retrainings and for these artifacts.

    Args:
        y: (rows,) labels: 0/1, a number, or class codes from 0.
        baseline: (rows,) or (seeds, rows) scores of the full model; with a last class axis for multiclass.
        pruned: (rows,) or (seeds, rows[, classes]) scores of the retrained pruned model on the same rows.
        unit: (rows,) user of each row, what is resampled; None = each row by itself.
        task: binary, regression or multiclass.
        metric: decision metric, see ``METRICS``.
        margin: largest tolerable loss, >= 0, in the metric's units (for calibration: of |log ratio|).
        confidence: of the intervals; see ``intervals.conclude`` for how a margin splits their error.
        guards: other metrics -> margin, or None to report only. Judged after the decision, Holm-corrected together.
        slices: column -> (rows,) labels; the decision metric is reported in each value of each column.
        slice_margin: margin of every slice, which makes them guards; None = reported only.
        shipped: index of the pruned seed that would go live, for the artifact row; None = mean of all seeds.
        unit_name: what the units are called in sentences.
        draws: bootstrap resamples that cross-check the standard errors; 0 = none.
        seed: of the bootstrap.

    Raises:
        UsageError: unknown metric, negative margin, a per-user metric without units.
        AuditError: shapes that do not fit, labels or scores that the metric cannot take.
    """
    trials = _checked(y, baseline, pruned, unit, task)
    chosen = find_metric(metric, task)
    _check_settings(chosen, margin, confidence, trials)
    if shipped is not None and not 0 <= shipped < len(trials.pruned):
        raise UsageError(f"shipped={shipped}: there are {len(trials.pruned)} pruned seeds, counted from 0")
    decision = _compare(trials, chosen, "all", margin, "decision")
    others, skipped = _guards(trials, guards or {}, metric)
    sliced, small = _slices(trials, chosen, slices or {}, slice_margin)
    comparisons = [decision, *others, *sliced]
    parts = [one.components() for one in comparisons]
    checks = _bootstrap([decision, *others], draws, seed, confidence)
    parts = [
        _widened(part, checks.get(one.metric.name) if one.slice == "all" else None, draws)
        for one, part in zip(comparisons, parts, strict=True)
    ]
    deltas, levels = _judge(comparisons, parts, confidence)
    artifact = _artifact(decision, shipped, confidence)
    failed = [row for row in deltas[1:] if row.role == "guard" and row.verdict == "fail"]
    outcome = deltas[0].verdict or "error"
    verdict: Verdict = "fail" if failed else outcome
    seeds = (len(trials.pruned), len(trials.baseline))
    needed = None
    if verdict == "inconclusive":
        needed = planning.needed(
            deltas[0].delta,
            parts[0],
            margin=margin,
            confidence=confidence,
            units=decision.units,
            seeds=seeds,
            unit_name=unit_name if unit is not None else "rows",
        )
    diagnostics = {
        "seeds": {"pruned": seeds[0], "baseline": seeds[1]},
        "components": [_described(one, part, confidence) for one, part in zip(comparisons, parts, strict=True)],
        "bootstrap": checks,
        "delong": _delong(trials) if metric == "auc" else None,
        "small_slices": [vars(one) for one in small],
        "skipped_guards": skipped,
        "correction": {"method": "Holm", "guards": len(levels), "levels": levels},
        "seed_noise_measured": bool(parts[0].seed_df),
    }
    sentence = wording.sentence(
        deltas[0],
        verdict,
        failed,
        confidence=confidence,
        seeds=seeds,
        unit_name=unit_name if unit is not None else None,
    )
    return ParityResult(verdict, sentence, deltas[0], artifact, deltas, needed, diagnostics)


def _checked(y: Any, baseline: Any, pruned: Any, unit: Any, task: Task) -> _Trials:
    """Arrays of agreeing shapes, both arms with a seed axis."""
    y = np.asarray(y)
    dims = 2 if task == "multiclass" else 1
    arms = []
    for name, given in (("baseline", baseline), ("pruned", pruned)):
        score = np.asarray(given, dtype=np.float64)
        score = score[None] if score.ndim == dims else score
        if score.ndim != dims + 1 or score.shape[1] != len(y) or not len(score):
            shape = "(seeds, rows, classes)" if dims == 2 else "(seeds, rows)"
            raise AuditError(f"{name} scores have shape {np.shape(given)}; {shape} with rows={len(y)} is needed")
        if not np.isfinite(score).all():
            raise AuditError(
                f"{name} scores hold {int((~np.isfinite(score)).sum())} values that are not finite; "
                "drop or repair those rows in both models"
            )
        arms.append(score)
    if y.ndim != 1 or len(y) < 2:
        raise AuditError(f"y has shape {y.shape}; at least two test rows are needed")
    if y.dtype == object or not np.isfinite(y.astype(np.float64)).all():
        raise AuditError("y holds values that are not finite numbers; drop those test rows")
    if task == "binary" and not np.isin(np.unique(y), (0, 1)).all():
        raise AuditError(f"y holds {np.unique(y)[:5].tolist()}; a binary target is 0 or 1")
    if unit is not None and np.shape(unit) != (len(y),):
        raise AuditError(f"unit has shape {np.shape(unit)}; one code per test row ({len(y)}) is needed")
    codes, units = unit_codes(None if unit is None else np.asarray(unit), len(y))
    if units < 2:
        raise AuditError("all test rows belong to one single unit; resampling needs several users, or no `group`")
    return _Trials(y, arms[0], arms[1], codes, units, task)


def _check_settings(metric: Metric, margin: float, confidence: float, trials: _Trials) -> None:
    if not margin >= 0:
        raise UsageError(f"margin={margin}: the tolerable loss cannot be negative; give 0 or more")
    if not 0.5 < confidence < 1:
        raise UsageError(f"confidence={confidence}: give a value between 0.5 and 1, such as 0.95")
    problem = _problem(metric, trials)
    if problem:
        raise problem


def _problem(metric: Metric, trials: _Trials) -> AuditError | None:
    """Why the metric cannot be computed on these rows, or None."""
    if metric.per_unit and trials.unit is None:
        return UsageError(f"metric={metric.name} is defined within users; name the user column with `group`")
    if not metric.defined(trials.y):
        return AuditError(
            f"metric={metric.name}: the {len(trials.y)} test rows hold one class only; "
            "take a longer test period or more rows"
        )
    if metric.probabilities:
        for name, score in (("baseline", trials.baseline), ("pruned", trials.pruned)):
            if score.min() < 0 or score.max() > 1:
                return AuditError(
                    f"metric={metric.name}: {name} scores run from {score.min():.4g} to "
                    f"{score.max():.4g}; probabilities between 0 and 1 are needed"
                )
    return None


def _compare(trials: _Trials, metric: Metric, name: str, margin: float | None, role: Role) -> _Comparison:
    def arm(scores: np.ndarray) -> list[UnitStatistics]:
        return [metric.statistics(Sample(trials.y, score, trials.unit, trials.units)) for score in scores]

    return _Comparison(
        metric, name, len(trials.y), trials.units, arm(trials.baseline), arm(trials.pruned), margin, role
    )


def _guards(
    trials: _Trials, guards: Mapping[str, float | None], decision: str
) -> tuple[list[_Comparison], dict[str, str]]:
    """Comparisons of the other metrics; one that is only reported and cannot be computed is skipped with its reason."""
    made, skipped = [], {}
    for name, margin in guards.items():
        if name == decision:
            continue
        metric = find_metric(name, trials.task)
        problem = _problem(metric, trials)
        if problem and margin is not None:
            raise problem
        if problem:
            skipped[name] = str(problem)
            continue
        made.append(_compare(trials, metric, "all", margin, "information" if margin is None else "guard"))
    return made, skipped


def _slices(
    trials: _Trials, metric: Metric, slices: Mapping[str, np.ndarray], margin: float | None
) -> tuple[list[_Comparison], list[SmallSlice]]:
    usable, small = slice_masks(slices, trials.y, trials.unit, metric)
    role: Role = "information" if margin is None else "guard"
    return [_compare(trials.on(mask), metric, name, margin, role) for name, mask in usable], small


def _judge(
    comparisons: list[_Comparison], parts: list[Components], confidence: float
) -> tuple[list[MetricDelta], dict[str, float]]:
    """Rows with verdicts: the decision at the full error level, the guards at Holm's levels."""
    alpha = 1 - confidence
    guards = [i for i, one in enumerate(comparisons) if one.role == "guard"]
    judged = [(comparisons[i].delta, parts[i], comparisons[i].margin or 0.0) for i in guards]
    level = dict(zip(guards, intervals.holm_levels(judged, alpha), strict=True))
    rows = [
        one.row(part, 1 - level.get(i, alpha)) for i, (one, part) in enumerate(zip(comparisons, parts, strict=True))
    ]
    return rows, {f"{comparisons[i].metric.name} ({comparisons[i].slice})": value for i, value in level.items()}


def _artifact(decision: _Comparison, shipped: int | None, confidence: float) -> MetricDelta:
    """The decision metric with the artifacts as they are: test-row noise only."""
    fixed = decision if shipped is None else replace(decision, pruned=[decision.pruned[shipped]])
    return fixed.row(replace(fixed.components(), seed_df=0), confidence)


def _bootstrap(comparisons: list[_Comparison], draws: int, seed: int, confidence: float) -> dict[str, dict[str, float]]:
    """Standard error and percentile interval of each metric's delta over resampled units (artifacts fixed)."""
    if draws < 2:
        return {}
    models = [(one, statistics) for one in comparisons for statistics in (*one.baseline, *one.pruned)]
    sums = resampled_sums(np.concatenate([statistics.sums for _, statistics in models], axis=1), draws, seed)
    ends = np.cumsum([statistics.sums.shape[1] for _, statistics in models])
    quality = [
        one.metric.resampled(part, statistics)
        for (one, statistics), part in zip(models, np.split(sums, ends[:-1], axis=1), strict=True)
    ]
    checks: dict[str, dict[str, float]] = {}
    for one in comparisons:
        mine = np.stack([q for (owner, _), q in zip(models, quality, strict=True) if owner is one])
        delta = mean_over_seeds(mine[len(one.baseline) :]) - mean_over_seeds(mine[: len(one.baseline)])
        delta = delta[np.isfinite(delta)]
        if len(delta) < 2:
            continue
        low, high = np.quantile(delta, [(1 - confidence) / 2, (1 + confidence) / 2])
        checks[one.metric.name] = {
            "standard_error": float(delta.std(ddof=1)),
            "ci_low": float(low),
            "ci_high": float(high),
            "draws": len(delta),
        }
    return checks


def _widened(part: Components, check: dict[str, float] | None, draws: int) -> Components:
    """Row variance replaced by the bootstrap's where the linear expansion is clearly too small for it."""
    if check is None:
        return part
    tolerance = 1 + max(0.1, 4 / np.sqrt(2 * draws))
    if check["standard_error"] <= tolerance * np.sqrt(part.row):
        return part
    return replace(part, row=check["standard_error"] ** 2)


def _described(one: _Comparison, part: Components, confidence: float) -> dict[str, Any]:
    return {
        "metric": one.metric.name,
        "slice": one.slice,
        "row_variance": part.row,
        "row_df": part.row_df,
        "seed_variance": part.seed,
        "seed_df": part.seed_df,
        "between_seed_variance": part.between,
        "shared_row_noise": part.shared_noise,
        "weight": part.weight,
        "standard_error": part.standard_error,
        "df": intervals.degrees_of_freedom(part, intervals.PASS_SHARE * (1 - confidence)),
        "excluded_units": one.baseline[0].excluded,
    }


def _delong(trials: _Trials) -> dict[str, float | None]:
    """Mean over seed pairs of DeLong's delta and standard error, which know nothing of users."""
    full, small = (
        [ranking.auc_placements(trials.y, score) for score in arm] for arm in (trials.baseline, trials.pruned)
    )
    delta, error = np.mean([ranking.delong(trials.y, a, b) for a in full for b in small], axis=0)
    return {"delta": float(delta), "standard_error": float(error) if np.isfinite(error) else None}

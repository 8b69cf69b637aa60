"""Comparison of both arms on one metric and one set of rows: statistics, variance components, and the reported row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from feature_audit.noninferiority import intervals
from feature_audit.noninferiority.components import Components, components, mean_over_seeds
from feature_audit.noninferiority.metrics import ClusterStatistics, Metric
from feature_audit.noninferiority.resampling import pooled, resampled_sums
from feature_audit.noninferiority.scored_rows import ScoredArms, check_metric
from feature_audit.question import GuardMode
from feature_audit.results import MetricDelta

Role = Literal["decision", "guard", "information"]


@dataclass(frozen=True)
class Comparison:
    """Both arms on one metric and one set of rows, before any verdict.

    Attributes:
        metric, slice, rows, clusters, margin, role, mode, target: as in ``MetricDelta``.
        baseline, pruned: statistics of each training; ``sums`` are those of the resampling groups.
        identical: True if all trainings of both arms have identical scores.
        parts: variance components of the delta over retrainings.
    """

    metric: Metric
    slice: str
    rows: int
    clusters: int
    margin: float | None
    role: Role
    baseline: list[ClusterStatistics]
    pruned: list[ClusterStatistics]
    identical: bool
    parts: Components
    mode: GuardMode | None = None
    target: str = ""

    @property
    def key(self) -> str:
        """Name of the comparison in diagnostics, unique among all comparisons."""
        return f"{self.metric.name} of {self.target}" if self.target else self.metric.name

    @property
    def delta(self) -> float:
        """Improvement of the pruned arm, mean over seeds."""
        pruned, baseline = (qualities(self.metric, arm) for arm in (self.pruned, self.baseline))
        return float(mean_over_seeds(pruned) - mean_over_seeds(baseline))

    def row(self, confidence: float) -> MetricDelta:
        """The comparison as a reported row, judged at ``confidence``."""
        largest = 1.0 if self.metric.bounded else np.inf
        to_fail = self.mode == "not_shown_worse"
        end = intervals.conclude(self.delta, self.parts, self.margin, confidence, largest=largest, to_fail=to_fail)
        return MetricDelta(
            metric=self.metric.name,
            slice=self.slice,
            rows=self.rows,
            units=self.clusters,
            baseline=float(np.mean([one.value for one in self.baseline])),
            pruned=float(np.mean([one.value for one in self.pruned])),
            delta=self.delta,
            ci_low=end.low,
            ci_high=end.high,
            margin=self.margin,
            verdict=end.verdict,
            role=self.role,
            mode=self.mode,
            target=self.target,
        )

    def of_artifacts(self, shipped: int | None) -> Comparison:
        """The same for the artifacts as trained: test-row noise only, for one pruned seed or for their mean."""
        pruned = self.pruned if shipped is None else [self.pruned[shipped]]
        influence = [np.stack([one.influence for one in arm]) for arm in (pruned, self.baseline)]
        parts = _components(self.metric, self.baseline, pruned, influence, self.identical)
        return replace(self, pruned=pruned, parts=replace(parts, seed_df=0), role="information")

    def condensed(self) -> Comparison:
        """The same without influence values, which take one number per cluster."""
        baseline, pruned = (
            [replace(one, influence=np.empty(0)) for one in arm] for arm in (self.baseline, self.pruned)
        )
        return replace(self, baseline=baseline, pruned=pruned)

    def described(self, confidence: float) -> dict[str, Any]:
        """Variance components as plain data."""
        parts = self.parts
        return {
            "metric": self.key,
            "slice": self.slice,
            "row_variance": parts.row,
            "row_df": parts.row_df,
            "seed_variance": parts.seed,
            "seed_df": parts.seed_df,
            "between_seed_variance": parts.between,
            "shared_row_noise": parts.shared_noise,
            "weight": parts.weight,
            "standard_error": parts.standard_error,
            "df": intervals.degrees_of_freedom(parts, intervals.PASS_SHARE * (1 - confidence)),
            "excluded_units": self.baseline[0].excluded,
        }


def compare(
    scored: ScoredArms, metric: Metric, name: str, margin: float | None, role: Role, mode: GuardMode | None = None
) -> Comparison:
    """Compute the statistics of every training on these rows.

    Raises:
        AuditError: the metric cannot be computed on them.
    """
    check_metric(metric, scored)
    baseline, baseline_influence = _statistics(metric, scored, scored.baseline)
    pruned, pruned_influence = _statistics(metric, scored, scored.pruned)
    influence = [pruned_influence, baseline_influence]
    identical = bool((scored.baseline == scored.baseline[0]).all() and (scored.pruned == scored.baseline[0]).all())
    return Comparison(
        metric=metric,
        slice=name,
        rows=len(scored.y),
        clusters=scored.clusters,
        margin=margin,
        role=role,
        baseline=baseline,
        pruned=pruned,
        identical=identical,
        parts=_components(metric, baseline, pruned, influence, identical, deployed=scored.deployed),
        mode=mode,
        target=scored.target,
    )


def _statistics(metric: Metric, scored: ScoredArms, scores: np.ndarray) -> tuple[list[ClusterStatistics], np.ndarray]:
    """Statistics of each training of an arm, and the (seeds, clusters) influence values that they share."""
    found, influence = [], np.empty((len(scores), scored.clusters))
    for own, score in zip(influence, scores, strict=True):
        one = metric.statistics(scored.sample(score))
        own[:] = one.influence
        sums = np.empty((0, one.sums.shape[1])) if scored.pool is None else pooled(one.sums, scored.pool)
        found.append(replace(one, influence=own, sums=sums))
    return found, influence


def qualities(metric: Metric, arm: Sequence[ClusterStatistics]) -> np.ndarray:
    """(seeds,) metric values, signed so that higher is better."""
    return np.array([metric.quality(one.value) for one in arm])


def _components(
    metric: Metric,
    baseline: Sequence[ClusterStatistics],
    pruned: Sequence[ClusterStatistics],
    influence: list[np.ndarray],
    identical: bool,
    *,
    deployed: bool = False,
) -> Components:
    """Variance components of the delta. If no test cluster separates two different models, they need not be equal.

    A zero variance is then replaced by that of one cluster changing sides, with the two degrees of freedom of a single
    observation. For accuracy on n rows this bounds the loss by about 3 / n, the rule of three (Hanley & Lippman-Hand
    1983). ``influence`` contains the pruned arm and the baseline.
    """
    arms = pruned, baseline
    quality = [qualities(metric, arm) for arm in arms]
    if metric.orientation == "one":
        influence, quality = _unfolded(influence, arms)
    parts = components(*influence, *quality, deployed=deployed)
    if parts.row > 0 or identical:
        return parts
    return replace(parts, row=float(np.max(np.square(baseline[0].influence))), row_df=2.0)


def _unfolded(
    influence: list[np.ndarray], arms: tuple[Sequence[ClusterStatistics], ...]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For ratios: influence and values of the log ratio itself, because -|log ratio| has a kink at zero.

    At a well calibrated model's kink, the side is random and the slope is uninformative. If any training is within two
    standard errors of it, the arms are taken on opposite sides: since errors of log ratios are positively correlated,
    this gives the larger variance, and |error of the delta| <= |error of pruned| + |error of baseline|.
    """
    logs = [np.log([one.value for one in arm]) for arm in arms]
    side = [np.where(log > 0, 1.0, -1.0) for log in logs]
    errors = [np.sqrt(np.square(psi).sum(axis=1)) for psi in influence]
    raw = [psi * sign[:, None] for psi, sign in zip(influence, side, strict=True)]
    if any((np.abs(log) <= 2 * error).any() for log, error in zip(logs, errors, strict=True)):
        np.negative(raw[1], out=raw[1])
    else:
        raw[0] *= side[0][0]
        raw[1] *= side[1][0]
    return raw, logs


def bootstrapped(
    comparisons: Sequence[Comparison], *, draws: int, seed: int, confidence: float
) -> tuple[list[Comparison], dict[str, dict[str, float]]]:
    """Check the row variances of comparisons on the same rows by one paired bootstrap over clusters.

    Args:
        comparisons: all on the same clusters.
        draws: number of resamples; fewer than two = no check.
        seed: seed of the resamples.
        confidence: confidence of the reported percentile interval.

    Returns:
        The comparisons, with the row variance replaced where the linear expansion is clearly too small (kinks, tiny
        samples); and by metric the bootstrap's standard error and percentile interval with fixed artifacts.
    """
    if draws < 2:
        return list(comparisons), {}
    sums = [one.sums for owner in comparisons for one in (*owner.baseline, *owner.pruned)]
    resamples = resampled_sums(np.concatenate(sums, axis=1), draws, seed)
    columns = iter(np.split(resamples, np.cumsum([part.shape[1] for part in sums])[:-1], axis=1))
    checks, kept = {}, []
    for owner in comparisons:
        baseline, pruned = (
            np.stack([owner.metric.resampled(next(columns), one) for one in arm])
            for arm in (owner.baseline, owner.pruned)
        )
        delta = mean_over_seeds(pruned) - mean_over_seeds(baseline)
        delta = delta[np.isfinite(delta)]
        if len(delta) < 2:
            kept.append(owner)
            continue
        low, high = np.quantile(delta, [(1 - confidence) / 2, (1 + confidence) / 2])
        error = float(delta.std(ddof=1))
        checks[owner.key] = {
            "standard_error": error,
            "ci_low": float(low),
            "ci_high": float(high),
            "draws": len(delta),
        }
        tolerance = 1 + max(0.1, 4 / np.sqrt(2 * len(delta)))  # 4 standard deviations of the bootstrap's own error
        too_small = error > tolerance * np.sqrt(owner.parts.row)
        kept.append(replace(owner, parts=replace(owner.parts, row=error**2)) if too_small else owner)
    return kept, checks

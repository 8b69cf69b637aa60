"""From influence values to standard errors, and from those to a verdict and its interval.

The estimate is ``mean over pruned seeds - mean over baseline seeds`` on the same test rows. Over retrainings its
variance has two parts: V_row, what other test users would have changed, and c * sigma^2 with
c = 1/S_pruned + 1/S_baseline, what other random seeds would have changed. sigma^2, the variance of a model's *true*
quality between trainings, is pooled over both arms: a baseline that was trained once has a seed error too, and only
the retrainings can tell how large. The spread s^2 between seeds on one test set also contains tau^2, the row noise in
which the seeds differ; V_row holds that already, so it is subtracted rather than counted twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

Outcome = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True)
class Components:
    """The variance of one metric's delta, in parts.

    Attributes:
        row: V_row, variance of the delta over test units with the artifacts fixed.
        row_df: its degrees of freedom (few where a handful of units carries the variance).
        between: s^2, spread of the quality between seeds on these rows; NaN where no arm has two seeds.
        shared_noise: tau^2, the part of s^2 that is row noise.
        seed_df: degrees of freedom of s^2.
        weight: c = 1/S_pruned + 1/S_baseline.
    """

    row: float
    row_df: float
    between: float
    shared_noise: float
    seed_df: int
    weight: float

    @property
    def seed(self) -> float:
        """sigma^2, the estimated variance of the true quality between trainings (never below zero)."""
        return max(self.between - self.shared_noise, 0.0) if self.seed_df else 0.0

    @property
    def standard_error(self) -> float:
        """Of the delta over retrainings."""
        return float(np.sqrt(self.row + self.weight * self.seed))

    @property
    def df(self) -> float:
        """Satterthwaite (1946) degrees of freedom of the total variance."""
        return satterthwaite(
            self.row,
            self.row_df,
            self.weight * max(self.between, self.shared_noise),
            self.seed_df,
            self.row + self.weight * self.seed,
        )


def satterthwaite(row: float, row_df: float, seed: float, seed_df: int, total: float) -> float:
    """Degrees of freedom of an estimated ``total`` whose parts have variances 2 part^2 / df."""
    spread = row**2 / row_df + (seed**2 / seed_df if seed_df else 0.0)
    return float(total**2 / spread) if spread > 0 else float(row_df)


def row_variance(influence: np.ndarray) -> tuple[float, float]:
    """Variance of a sum of unit influence values and its degrees of freedom.

    The degrees of freedom match the variance's own sampling error, 2 n / (kurtosis - 1): n for normal values, far
    fewer where single units dominate, so that the t quantile widens when the standard error itself is shaky.

    Args:
        influence: (units,) values that sum to zero.
    """
    n = len(influence)
    if n < 2:
        return float("nan"), 1.0
    squares = influence**2
    second = float(squares.sum())
    if second == 0.0:
        return 0.0, float(n - 1)
    variance = second * n / (n - 1)
    excess = n * float((squares**2).sum()) / second**2 - 1
    df = 2 * n / excess if excess > 0 else float(n - 1)
    return variance, float(min(max(df, 1.0), n - 1))


def components(
    pruned: np.ndarray, baseline: np.ndarray, pruned_quality: np.ndarray, baseline_quality: np.ndarray
) -> Components:
    """Variance components of mean(pruned) - mean(baseline).

    Args:
        pruned, baseline: (seeds, units) influence values of the quality.
        pruned_quality, baseline_quality: (seeds,) qualities.
    """
    row, row_df = row_variance(pruned.mean(axis=0) - baseline.mean(axis=0))
    seed_df = len(pruned) + len(baseline) - 2
    between = noise = float("nan")
    if seed_df:
        arms = ((pruned, pruned_quality), (baseline, baseline_quality))
        between = sum(float(((quality - quality.mean()) ** 2).sum()) for _, quality in arms) / seed_df
        units = pruned.shape[1]
        noise = sum(float(((psi - psi.mean(axis=0)) ** 2).sum()) for psi, _ in arms) / seed_df * units / (units - 1)
    return Components(row, row_df, between, noise, seed_df, 1 / len(pruned) + 1 / len(baseline))


@dataclass(frozen=True)
class Conclusion:
    """Verdict and interval of one comparison; ``verdict`` is None without a margin."""

    verdict: Outcome | None
    low: float
    high: float


def conclude(delta: float, standard_error: float, df: float, margin: float | None, confidence: float) -> Conclusion:
    """Non-inferiority verdict and a two-sided interval that agrees with it.

    Pass: the one-sided ``confidence`` lower bound lies above -margin. Fail: the upper end of the two-sided interval
    lies below -margin. The interval is the ordinary two-sided t interval, except that on a pass whose lower end would
    still reach below -margin, that end is the margin itself. This is a partition interval (Hsu & Berger 1999,
    *Stepwise confidence intervals without multiplicity adjustment*): qualities below -margin are excluded by the
    one-sided test alone, the others by the two-sided one, and each true value is tested once.

    Args:
        delta: improvement of pruned over baseline, higher is better.
        standard_error, df: of the delta.
        margin: >= 0, or None for an interval without a verdict.
        confidence: e.g. 0.95.
    """
    half = float(stats.t.ppf(0.5 + confidence / 2, df)) * standard_error
    low, high = delta - half, delta + half
    if margin is None:
        return Conclusion(None, low, high)
    if delta - float(stats.t.ppf(confidence, df)) * standard_error > -margin:
        return Conclusion("pass", max(low, float(np.nextafter(-margin, 1.0))), high)
    return Conclusion("fail" if high < -margin else "inconclusive", low, high)


def p_value(delta: float, standard_error: float, df: float, margin: float) -> float:
    """Smallest error level at which ``conclude`` would decide either way (pass at p, fail at twice the tail)."""
    if standard_error == 0:
        return 0.0 if delta != -margin else 1.0
    t = (delta + margin) / standard_error
    return float(min(stats.t.sf(t, df), 2 * stats.t.cdf(t, df), 1.0))


def holm_levels(p_values: list[float], alpha: float) -> list[float]:
    """Error level at which each of several comparisons is judged, in Holm's (1979) step-down order.

    Comparisons from the first undecided one on keep that step's level, so that verdict and interval agree.
    """
    levels = [alpha] * len(p_values)
    stopped: float | None = None
    for step, index in enumerate(np.argsort(p_values, kind="stable")):
        level = alpha / (len(p_values) - step) if stopped is None else stopped
        levels[int(index)] = level
        if stopped is None and p_values[int(index)] > level:
            stopped = level
    return levels

"""Variance components of a delta: test rows and random seeds.

The estimate is ``mean over pruned seeds - mean over baseline seeds`` on the same test rows. Over retrainings its
variance is ``V + c * sigma^2``:

* V: variance over test users, with the trained artifacts fixed;
* sigma^2: the variance of a model's *true* quality between trainings, c = 1/S_pruned + 1/S_baseline. It is pooled over
  both arms: a baseline that was trained once has a seed error too, and only the retrainings show its size. If both arms
  were trained more than once, the estimate from separate arms is used if it is larger (``_seed_spread``).

A *deployed* baseline is one fixed model: it has no seed error, c = 1/S_pruned, and its row noise is common to all
seeds.

The spread s^2 of the qualities between seeds on one test set estimates sigma^2 + tau^2, where tau^2 is the test-row
noise that differs between seeds. V already contains c * tau^2, which must not be counted twice. The rest of V is the
row noise ``common`` to all seeds, and the total is estimated by common + c * s^2, but not below V.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from feature_audit.noninferiority.clusters import blocks


@dataclass(frozen=True)
class Components:
    """The variance of one metric's delta, in parts (squared metric units).

    Attributes:
        row: V, variance of the delta over test clusters with the artifacts fixed.
        row_df: its degrees of freedom (few if a handful of clusters dominates the variance).
        between: s^2, variance of the quality between seeds on these rows; 0 if no arm has two seeds.
        shared_noise: tau^2, the part of s^2 that is row noise.
        seed_df: degrees of freedom of s^2; 0 = seed noise was not measured.
        weight: c = 1/S_pruned + 1/S_baseline; 1/S_pruned against a deployed baseline.
        deployed: True if the baseline is one fixed model.
    """

    row: float
    row_df: float
    between: float
    shared_noise: float
    seed_df: int
    weight: float
    deployed: bool = False

    @property
    def seed(self) -> float:
        """sigma^2, the estimated variance of the true quality between trainings (never below zero)."""
        return max(self.between - self.shared_noise, 0.0)

    @property
    def common(self) -> float:
        """Row noise common to all seeds: V without the seeds' individual row noise."""
        return max(self.row - self.weight * self.shared_noise, 0.0)

    @property
    def total(self) -> float:
        """Variance of the delta over retrainings."""
        return max(self.common + self.weight * self.between, self.row) if self.seed_df else self.row

    @property
    def standard_error(self) -> float:
        """Standard error of the delta over retrainings."""
        return float(np.sqrt(self.total))


def row_variance(influence: np.ndarray) -> tuple[float, float]:
    """Variance of a sum of cluster influence values, and its degrees of freedom.

    The degrees of freedom match the sampling error of the variance itself, 2 n / (kurtosis - 1): n for normal values,
    far fewer if single clusters dominate, so that the t quantile widens if the standard error is itself uncertain.

    Args:
        influence: (clusters,) values that sum to zero.
    """
    n = len(influence)
    if n < 2:
        return float("nan"), 1.0
    squares = influence**2
    second = float(squares.sum())
    if second == 0.0:
        return 0.0, float(n - 1)
    squares /= second
    excess = n * float(squares @ squares) - 1
    df = 2 * n / excess if excess > 0 else float(n - 1)
    return second * n / (n - 1), float(min(max(df, 1.0), n - 1))


def components(
    pruned: np.ndarray,
    baseline: np.ndarray,
    pruned_quality: np.ndarray,
    baseline_quality: np.ndarray,
    *,
    deployed: bool = False,
) -> Components:
    """Variance components of mean(pruned) - mean(baseline).

    Args:
        pruned, baseline: (seeds, clusters) influence values of the quality.
        pruned_quality, baseline_quality: (seeds,) qualities.
        deployed: True if the baseline, with a single row, is a fixed model.
    """
    row, row_df = row_variance(mean_over_seeds(pruned) - mean_over_seeds(baseline))
    seed_df = len(pruned) + len(baseline) - 2
    between, noise = _seed_spread(((pruned, pruned_quality), (baseline, baseline_quality)))
    weight = seed_weight(len(pruned), len(baseline), deployed=deployed)
    return Components(row, row_df, between, noise, seed_df, weight, deployed)


def seed_weight(pruned: int, baseline: int, *, deployed: bool) -> float:
    """Factor of one training's seed variance in the delta of two arms with these numbers of trainings."""
    return 1 / pruned + (0.0 if deployed else 1 / baseline)


def _seed_spread(arms: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """(s^2, tau^2) of one training: pooled over the arms or averaged over separate arms, whichever s^2 is larger.

    Pooling underestimates the delta's seed noise if the smaller arm is the noisier one. Separate variances (Welch 1947)
    do not, but have few degrees of freedom. The larger of both keeps the error rate near its nominal level in either
    case. With equal numbers of trainings in both arms they agree.

    Args:
        arms: ((seeds, clusters) influence values, (seeds,) qualities) of each arm.
    """
    repeated = [(len(psi), psi, quality) for psi, quality in arms if len(psi) > 1]
    if not repeated:
        return 0.0, 0.0
    clusters = arms[0][0].shape[1]
    spreads = [
        (seeds, _scatter(quality[:, None]), _scatter(psi) * clusters / (clusters - 1))
        for seeds, psi, quality in repeated
    ]

    def averaged(weights: list[float]) -> tuple[float, float]:
        between, noise = (sum(w * one[part] for w, one in zip(weights, spreads, strict=True)) for part in (1, 2))
        return float(between), float(noise)

    df = sum(seeds - 1 for seeds, *_ in spreads)
    pooled = averaged([1 / df] * len(spreads))
    if len(spreads) == 1:
        return pooled
    weight = sum(1 / seeds for seeds, *_ in spreads)
    return max(pooled, averaged([1 / seeds / (seeds - 1) / weight for seeds, *_ in spreads]))


def mean_over_seeds(values: np.ndarray) -> np.ndarray:
    """Mean along axis 0 that is exact if all seeds agree."""
    if values.ndim == 1:
        return np.asarray(values[0] + (values - values[0]).mean(axis=0))
    mean = np.empty(values.shape[1:])
    for block in blocks(len(mean)):
        mean[block] = values[0, block] + (values[:, block] - values[0, block]).mean(axis=0)
    return mean


def _scatter(values: np.ndarray) -> float:
    """Squared deviations from the mean over seeds (axis 0)."""
    away = values - mean_over_seeds(values)
    return float(np.square(away, out=away).sum())

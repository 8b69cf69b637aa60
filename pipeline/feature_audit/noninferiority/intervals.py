"""Bounds, intervals and verdicts from variance components.

Three seeds leave two degrees of freedom for the seed noise, and the usual methods fail there: t over seeds ignores the
test rows, and Satterthwaite's approximation has an error rate of 6.2 % at a nominal 5 % if seed noise dominates. Here,
the degrees of freedom follow a rule with one constant, which is chosen by quadrature so that the error rate stays
within its nominal level for any seed variance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy import optimize, special

from feature_audit.noninferiority.components import Components

Outcome = Literal["pass", "fail", "inconclusive"]

PASS_SHARE = 0.9  # share of the interval's error spent on the end that decides a pass

_SEED_NOISE = np.concatenate(([0.0], np.geomspace(0.02, 1000.0, 40)))  # grid of c sigma^2 / V for the check
_SMALLEST_CONSTANT, _LARGEST_CONSTANT = 1e-9, 50.0
# Quadrature over s^2 by quantile levels p = v^3: errors occur if s^2 is small, so nodes are dense there.
_NODES = (np.arange(800) + 0.5) / 800
_LEVELS, _WEIGHTS = _NODES**3, 3 * _NODES**2 / 800
_LARGEST_SURPLUS = 1e6


@dataclass(frozen=True)
class Conclusion:
    """Verdict and interval of one comparison; ``verdict`` is None without a margin."""

    verdict: Outcome | None
    low: float
    high: float


def conclude(
    delta: float,
    parts: Components,
    margin: float | None,
    confidence: float,
    *,
    largest: float = np.inf,
    to_fail: bool = False,
) -> Conclusion:
    """Interval of the delta, and the non-inferiority verdict based on it.

    Pass: the lower end is above -margin. Fail: the upper end is below it. Inconclusive otherwise.
    With a margin the question is one-sided. The interval therefore spends ``PASS_SHARE`` of its error on the lower end,
    where certainty requires data, and the rest on the upper end. Its coverage is still ``confidence``, and a loss of
    the margin passes with probability at most 0.9 (1 - confidence). If only a proven loss matters (``to_fail``), the
    ends are swapped, and a loss of the margin fails with that probability. Without a margin the error is split evenly.

    Args:
        delta: improvement of pruned over baseline, higher is better.
        parts: its variance components.
        margin: >= 0, or None for an interval without a verdict.
        confidence: e.g. 0.95.
        largest: maximum absolute delta of the metric; clipping the interval there does not reduce its coverage.
        to_fail: True if the upper end decides.
    """
    alpha = 1 - confidence
    below = alpha * (0.5 if margin is None else 1 - PASS_SHARE if to_fail else PASS_SHARE)
    low = max(delta - critical_value(parts, below) * parts.standard_error, -largest)
    high = min(delta + critical_value(parts, alpha - below) * parts.standard_error, largest)
    if margin is None:
        return Conclusion(None, low, high)
    if low > -margin:
        return Conclusion("pass", low, high)
    return Conclusion("fail" if high < -margin else "inconclusive", low, high)


def critical_value(parts: Components, alpha: float) -> float:
    """Number of standard errors from the estimate to its one-sided bound at error level ``alpha``: a t quantile."""
    return float(special.stdtrit(degrees_of_freedom(parts, alpha), 1 - alpha))


def degrees_of_freedom(parts: Components, alpha: float) -> float:
    """Degrees of freedom of the total variance at one error level.

    Let R be the ratio of the remaining row noise to the seed term, ``(total - c s^2) / (c s^2)``. The seed part then
    has ``nu (1 + b R^2)`` degrees of freedom: nu if seed noise dominates, infinitely many if it vanishes; b is
    ``seed_constant``. (Satterthwaite would use ``nu (1 + R)^2``, whose cross term makes it anti-conservative.)
    """
    row = (parts.row / parts.total) ** 2 / parts.row_df if parts.total else 1 / parts.row_df
    seed = parts.weight * parts.between
    if not parts.seed_df or seed <= 0:
        return 1 / row
    # Rounded down, which is conservative: the constant grows with the share.
    share = np.floor(100 * min(parts.weight * parts.shared_noise / parts.row, 1.0)) / 100 if parts.row else 1.0
    constant = seed_constant(parts.seed_df, float(share), alpha)
    surplus = min(max(parts.total - seed, 0.0) / seed, _LARGEST_SURPLUS)
    return 1 / (row + 1 / (parts.seed_df * (1 + constant * surplus**2)))


@lru_cache(maxsize=4096)
def seed_constant(nu: int, share: float, alpha: float) -> float:
    """The largest b whose one-sided error is at most ``alpha`` for any size of the seed noise.

    Model, in units of V: the estimate is N(0, 1 + q), c s^2 is (share + q) chi^2_nu / nu and independent of it, and
    q = c sigma^2 / V >= 0 is unknown. The error is integrated over chi^2 for a grid of q.

    Args:
        nu: degrees of freedom of s^2.
        share: c tau^2 / V in [0, 1].
        alpha: one-sided error level.
    """
    spread = (share + _SEED_NOISE)[:, None] * 2 * special.gammaincinv(nu / 2, _LEVELS) / nu
    spread = np.maximum(spread, 1e-12)
    total = np.maximum(1 - share + spread, 1.0)
    surplus = np.square(np.minimum(np.maximum(total - spread, 0.0) / spread, _LARGEST_SURPLUS))
    # t quantiles are smooth in 1/df: one table for every b.
    inverse_df = np.linspace(0.0, 1.0 / nu, 257)
    quantile = np.concatenate(([special.ndtri(1 - alpha)], special.stdtrit(1 / inverse_df[1:], 1 - alpha)))
    scale = np.sqrt(total / (1 + _SEED_NOISE)[:, None])

    def worst(log_b: float) -> float:
        t = np.interp(1 / (nu * (1 + np.exp(log_b) * surplus)), inverse_df, quantile)
        return float((special.ndtr(-t * scale) @ _WEIGHTS).max()) - alpha * 1.002  # the quadrature's own error

    low, high = np.log(_SMALLEST_CONSTANT), np.log(_LARGEST_CONSTANT)
    if worst(high) <= 0:
        return _LARGEST_CONSTANT
    if worst(low) > 0:
        return 0.0
    return float(np.exp(optimize.brentq(worst, low, high, xtol=1e-3)))


def holm_levels(comparisons: Sequence[tuple[float, Components, float]], alpha: float) -> list[float]:
    """Error levels of several guards that fail only on a proven loss (Holm 1979).

    While some guard is decided at ``alpha / (guards left)``, it is removed and the others get a larger share. Guards
    that are never decided keep the last share, so that verdicts and intervals agree.

    Args:
        comparisons: (delta, components, margin) of each guard.
        alpha: familywise error level.
    """
    levels = [alpha] * len(comparisons)
    left = list(range(len(comparisons)))
    while left:
        level = alpha / len(left)
        for i in left:
            levels[i] = level
        open_ones = [i for i in left if conclude(*comparisons[i], 1 - level, to_fail=True).verdict == "inconclusive"]
        if len(open_ones) == len(left):
            break
        left = open_ones
    return levels

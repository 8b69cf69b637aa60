"""From variance components to bounds, intervals and verdicts.

Three seeds leave two degrees of freedom for the seed noise, and the usual remedies fail there: t over seeds ignores
the test rows, and Satterthwaite's approximation errs 6.2 % of the time at 5 % where seed noise dominates. Here the
degrees of freedom come from a rule with one constant, and the constant is set by quadrature so that the error stays
within its level for any seed variance.
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

PASS_SHARE = 0.9  # of the interval's error, spent on the end that a pass stands on

_SEED_NOISE = np.concatenate(([0.0], np.geomspace(0.02, 1000.0, 40)))  # c sigma^2 / V at which the error is checked
_SMALLEST_CONSTANT, _LARGEST_CONSTANT = 1e-9, 50.0
# Quadrature over s^2 by quantile levels p = v^3: errors happen where s^2 came out small, so the nodes crowd there.
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
    """Interval of the delta and the non-inferiority verdict read off it.

    Pass: the lower end lies above -margin. Fail: the upper end lies below it. Inconclusive otherwise.
    With a margin the question is one-sided, so the interval spends ``PASS_SHARE`` of its error on the lower end, where
    it costs data to be sure, and the rest on the upper end: coverage is ``confidence`` all the same, and a loss of the
    margin passes with probability 0.9 (1 - confidence) at most. Where only a shown loss counts (``to_fail``) the ends
    change places, and a loss of the margin fails with that probability. Without a margin the error is split evenly.

    Args:
        delta: improvement of pruned over baseline, higher is better.
        parts: its variance components.
        margin: >= 0, or None for an interval without a verdict.
        confidence: e.g. 0.95.
        largest: size that no delta of the metric exceeds; the interval is cut there, which loses no coverage.
        to_fail: is it the upper end that decides?
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
    """Standard errors between the estimate and its one-sided bound at error level ``alpha``: a t quantile."""
    return float(special.stdtrit(degrees_of_freedom(parts, alpha), 1 - alpha))


def degrees_of_freedom(parts: Components, alpha: float) -> float:
    """Degrees of freedom of the total variance at one error level.

    With R the row noise's surplus over the seed term, ``(total - c s^2) / (c s^2)``, the seed part has
    ``nu (1 + b R^2)`` degrees of freedom: nu where seed noise dominates, infinitely many where it vanishes; b is
    ``seed_constant``. (Satterthwaite would have ``nu (1 + R)^2``, whose cross term is what makes it err.)
    """
    row = (parts.row / parts.total) ** 2 / parts.row_df if parts.total else 1 / parts.row_df
    seed = parts.weight * parts.between
    if not parts.seed_df or seed <= 0:
        return 1 / row
    # Rounded down, which errs on the safe side: the constant grows with the share.
    share = np.floor(100 * min(parts.weight * parts.shared_noise / parts.row, 1.0)) / 100 if parts.row else 1.0
    constant = seed_constant(parts.seed_df, float(share), alpha)
    surplus = min(max(parts.total - seed, 0.0) / seed, _LARGEST_SURPLUS)
    return 1 / (row + 1 / (parts.seed_df * (1 + constant * surplus**2)))


@lru_cache(maxsize=4096)
def seed_constant(nu: int, share: float, alpha: float) -> float:
    """The largest b whose one-sided error is at most ``alpha`` for every size of the seed noise.

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
    # t quantiles are smooth in 1/df: one table serves every b.
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
    """Error level at which each of several guards is judged that only a shown loss fails (Holm 1979).

    As long as some guard is decided at ``alpha / (guards left)``, it leaves and the others get a larger share; those
    never decided keep the last share, so that verdicts and intervals agree.

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

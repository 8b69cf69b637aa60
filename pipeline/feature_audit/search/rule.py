"""The rule for K: the smallest K whose validation quality is within the margin of the full model.

"Within the margin" is a question with noise in it. Taking the smallest K whose *point estimate* clears the margin picks
a K that sits on the edge, where the test split's verdict is a coin toss. So the rule asks for as much evidence as the
validation split can give, in steps, and takes the smallest K of the first step that any K reaches:

1. ``assured``: parity on the test split would pass with 90 % probability if the true difference were the estimate;
2. ``supported``: the one-sided lower confidence bound on validation lies above -margin;
3. ``level``: the estimate lies within the margin, and within one standard error of the best K's (the
   one-standard-error rule of Breiman et al. 1984, asked for in scikit-learn #23288);
4. ``best``: none is within the margin; the K with the best estimate, which the report says plainly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.stats import norm

Evidence = Literal["assured", "supported", "level", "best", "fixed"]


@dataclass(frozen=True)
class KPoint:
    """Validation quality at one K.

    Attributes:
        k: number of features.
        metric: the metric's own value.
        delta: improvement over the full model on the same rows; higher is better.
        std_error: of ``delta``, over validation units.
    """

    k: int
    metric: float
    delta: float
    std_error: float


@dataclass(frozen=True)
class KChoice:
    """The chosen K, how strong its evidence is, and one sentence for the report."""

    k: int
    evidence: Evidence
    reason: str


def choose_k(
    points: Sequence[KPoint], *, margin: float, confidence: float, metric: str, test_ratio: float, power: float = 0.9
) -> KChoice:
    """Choose K from a curve.

    Args:
        points: at least one; any order.
        margin: non-inferiority margin in the metric's units.
        confidence: of the one-sided bound that parity will pass on.
        metric: its name, for the sentence.
        test_ratio: standard error expected on test / standard error on validation; sqrt(units / test units).
        power: probability of a pass that ``assured`` asks for.

    Raises:
        ValueError: ``points`` is empty.
    """
    if not points:
        raise ValueError("points: empty; the selector measured no K, give at least one")
    curve = sorted(points, key=lambda point: point.k)
    best = max(curve, key=lambda point: (point.delta, -point.k))
    if len(curve) == 1:
        return KChoice(best.k, "fixed", f"K = {best.k} was fixed by k_min = k; {_figure(best, metric)}")
    z_bound = float(norm.ppf(confidence))  # parity passes on the one-sided bound
    z_power = float(norm.ppf(power))
    for point in curve:
        if point.delta - (z_bound + z_power) * point.std_error * test_ratio >= -margin:
            why = f"the smallest K for which the test is expected to pass with {power:.0%} probability"
            return KChoice(point.k, "assured", f"K = {point.k} is {why}: {_figure(point, metric)}")
    for point in curve:
        if point.delta - z_bound * point.std_error >= -margin:
            why = f"the smallest K whose lower confidence bound on validation lies within the margin of {margin:g}"
            return KChoice(point.k, "supported", f"K = {point.k} is {why}: {_figure(point, metric)}")
    for point in curve:
        if point.delta >= -margin and point.delta >= best.delta - best.std_error:
            why = f"the smallest K within the margin of {margin:g} and one standard error of the best K"
            return KChoice(point.k, "level", f"K = {point.k} is {why}: {_figure(point, metric)}")
    why = f"no K within the budget comes within the margin of {margin:g} on validation; K = {best.k} comes closest"
    return KChoice(best.k, "best", f"{why}: {_figure(best, metric)}")


def _figure(point: KPoint, metric: str) -> str:
    return f"validation {metric} {point.metric:.4f}, {point.delta:+.4f} ± {point.std_error:.4f} against the full model"

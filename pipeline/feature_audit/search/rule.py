"""The rules for K: the smallest K whose validation quality is within the margin of the full model.

"Within the margin" is a question with noise in it. Taking the smallest K whose *point estimate* clears the margin picks
a K that sits on the edge, where the test split's verdict is a coin toss. So the default rule, ``assured``, asks for the
chance that the test split will give a pass (``pass_chance``), in steps, and takes the smallest K of the first step that
any K reaches:

1. ``assured``: the chance is 90 % or more;
2. ``likely``: it is at least even and at least nine tenths of the best K's: a few more features are a small price for a
   verdict, and nearly as good a chance with fewer is better still;
3. ``level``: the split cannot say so much; the estimate lies within the margin, and within one standard error of the
   best K's.

Two simpler rules can be asked for. ``one_standard_error`` is step 3 alone (Breiman, Friedman, Olshen, Stone (1984),
"Classification and Regression Trees", section 3.4.3; asked for in scikit-learn #23288). ``within_margin`` is the point
estimate alone: the smallest sets and the least certain verdicts.

Where no K is within the margin, every rule takes the K with the best estimate, ``best``; the report says so plainly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import norm

Rule = Literal["assured", "one_standard_error", "within_margin"]
Evidence = Literal["assured", "likely", "level", "within", "best", "fixed"]

#: The steps of each rule, the one that asks for most first.
STEPS: dict[Rule, tuple[Evidence, ...]] = {
    "assured": ("assured", "likely", "level"),
    "one_standard_error": ("level",),
    "within_margin": ("within",),
}


#: Chance to pass below which no K is said to be likely to.
EVEN = 0.5


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


@dataclass(frozen=True)
class _Step:
    """One step of a rule: why a K that reaches it was taken, and the test of a K beside all that were measured."""

    why: str
    reached: Callable[[KPoint, Sequence[KPoint]], bool]


def choose_k(
    points: Sequence[KPoint],
    *,
    margin: float,
    confidence: float,
    metric: str,
    test_ratio: float,
    power: float = 0.9,
    rule: Rule = "assured",
    retrained: bool = False,
) -> KChoice:
    """Choose K from a curve.

    Args:
        points: at least one; any order.
        margin: non-inferiority margin in the metric's units.
        confidence: of the one-sided bound that parity will pass on.
        metric: its name, for the sentence.
        test_ratio: standard error expected on test / standard error on validation; sqrt(units / test units).
        power: probability of a pass that ``assured`` asks for.
        rule: how much evidence is asked for.
        retrained: was a model retrained at each of the points, so that even a single one is judged by the rule? False =
            the points are all that one network gave, and a single one is the only K there is.

    Raises:
        ValueError: ``points`` is empty.
    """
    if not points:
        raise ValueError("points: empty; the selector measured no K, give at least one")
    curve = sorted(points, key=lambda point: point.k)
    best = best_point(curve)
    if len(curve) == 1 and not retrained:
        reason = f"K = {best.k} is the only K on the curve between k_min and the budget; {_figure(best, metric)}"
        return KChoice(best.k, "fixed", reason)
    steps = _steps(margin, confidence, test_ratio, power)
    asked = "" if rule == "assured" else f" (k_rule = {rule})"
    for evidence in STEPS[rule]:
        for point in curve:
            if steps[evidence].reached(point, curve):
                reason = f"K = {point.k} is {steps[evidence].why}{asked}: {_figure(point, metric)}"
                return KChoice(point.k, evidence, reason)
    tried = f"no retrained K (tried: {_listed(curve)})" if retrained else "no measured K"
    why = f"{tried} is within the margin of {margin:g} on validation; K = {best.k} comes closest"
    return KChoice(best.k, "best", f"{why}{asked}: {_figure(best, metric)}")


def satisfies(
    point: KPoint,
    points: Sequence[KPoint],
    *,
    margin: float,
    confidence: float,
    test_ratio: float,
    power: float = 0.9,
    rule: Rule = "assured",
) -> bool:
    """True if a K has all the evidence that the rule asks for; ``points`` are all K measured so far, this one included.

    The other arguments are those of ``choose_k``.
    """
    steps = _steps(margin, confidence, test_ratio, power)
    return steps[STEPS[rule][0]].reached(point, points)


def pass_chance(point: KPoint, *, margin: float, confidence: float, test_ratio: float) -> float:
    """Probability that parity will pass on the test split, as far as the validation split can tell.

    The test estimate will stray from the truth by its own standard error, and the truth from the validation estimate by
    that one's: given validation alone it is normal around ``delta`` with variance ``se^2 (1 + test_ratio^2)`` (the
    predictive distribution under a flat prior). Parity passes where it lies ``z(confidence)`` standard errors of the
    test split above ``-margin``.

    It ranks K well but is too sure of itself, for the validation rows have also judged removals and stopped trainings
    (docs/search.md): a forecast to choose by, not a probability to quote.

    Args:
        point: measured on validation.
        margin, confidence, test_ratio: see ``choose_k``.
    """
    gap = point.delta + margin - float(norm.ppf(confidence)) * test_ratio * point.std_error
    spread = point.std_error * float(np.hypot(1.0, test_ratio))
    return float(norm.cdf(gap / spread)) if spread > 0 else float(gap >= 0)


def best_point(points: Sequence[KPoint]) -> KPoint:
    """The K with the best estimate; of equals the smallest."""
    return max(points, key=lambda point: (point.delta, -point.k))


def _steps(margin: float, confidence: float, test_ratio: float, power: float) -> dict[Evidence, _Step]:
    def chance(point: KPoint) -> float:
        return pass_chance(point, margin=margin, confidence=confidence, test_ratio=test_ratio)

    def likely(point: KPoint, points: Sequence[KPoint]) -> bool:
        return chance(point) >= max(EVEN, power * max(map(chance, points)))

    def level(point: KPoint, points: Sequence[KPoint]) -> bool:
        best = best_point(points)
        return point.delta >= max(-margin, best.delta - best.std_error)

    return {
        "assured": _Step(
            f"the smallest K for which validation forecasts a pass on test with {power:.0%} probability",
            lambda point, _: chance(point) >= power,
        ),
        "likely": _Step(
            f"the smallest K whose forecast of a pass on test is nearly the best; no K reaches {power:.0%}",
            likely,
        ),
        "level": _Step(f"the smallest K within the margin of {margin:g} and one standard error of the best K", level),
        "within": _Step(
            f"the smallest K whose estimate lies within the margin of {margin:g}, without an allowance for noise",
            lambda point, _: point.delta >= -margin,
        ),
    }


def _listed(points: Sequence[KPoint]) -> str:
    return ", ".join(str(point.k) for point in points)


def _figure(point: KPoint, metric: str) -> str:
    return f"validation {metric} {point.metric:.4f}, {point.delta:+.4f} ± {point.std_error:.4f} against the full model"

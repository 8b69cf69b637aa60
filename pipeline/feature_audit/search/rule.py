"""The rules for K: the smallest K whose validation quality is within the margin of the full model.

"Within the margin" is a question with noise in it. Taking the smallest K whose *point estimate* clears the margin picks
a K that sits on the edge, where the test split's verdict is a coin toss. So the default rule, ``assured``, asks for as
much evidence as the validation split can give, in steps, and takes the smallest K of the first step that any K reaches:

1. ``assured``: parity on the test split would pass with 90 % probability if the true difference were the estimate;
2. ``supported``: the one-sided lower confidence bound on validation lies above -margin;
3. ``level``: the estimate lies within the margin, and within one standard error of the best K's.

Two simpler rules can be asked for. ``one_standard_error`` is step 3 alone (Breiman, Friedman, Olshen, Stone (1984),
"Classification and Regression Trees", section 3.4.3; asked for in scikit-learn #23288). ``within_margin`` is the point
estimate alone: the smallest sets and the least certain verdicts.

Where no K is within the margin, every rule takes the K with the best estimate, ``best``, which the report says plainly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.stats import norm

Rule = Literal["assured", "one_standard_error", "within_margin"]
Evidence = Literal["assured", "supported", "level", "within", "best", "fixed"]

#: The steps of each rule, the one that asks for most first.
STEPS: dict[Rule, tuple[Evidence, ...]] = {
    "assured": ("assured", "supported", "level"),
    "one_standard_error": ("level",),
    "within_margin": ("within",),
}


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
    """One step of a rule: why a K that reaches it was taken, and the test of a K given the best K."""

    why: str
    reached: Callable[[KPoint, KPoint], bool]


def choose_k(
    points: Sequence[KPoint],
    *,
    margin: float,
    confidence: float,
    metric: str,
    test_ratio: float,
    power: float = 0.9,
    rule: Rule = "assured",
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

    Raises:
        ValueError: ``points`` is empty.
    """
    if not points:
        raise ValueError("points: empty; the selector measured no K, give at least one")
    curve = sorted(points, key=lambda point: point.k)
    best = best_point(curve)
    if len(curve) == 1:
        reason = f"K = {best.k} is the only K on the curve between k_min and the budget; {_figure(best, metric)}"
        return KChoice(best.k, "fixed", reason)
    steps = _steps(margin, confidence, test_ratio, power)
    asked = "" if rule == "assured" else f" (k_rule = {rule})"
    for evidence in STEPS[rule]:
        for point in curve:
            if steps[evidence].reached(point, best):
                reason = f"K = {point.k} is {steps[evidence].why}{asked}: {_figure(point, metric)}"
                return KChoice(point.k, evidence, reason)
    why = f"no K within the budget comes within the margin of {margin:g} on validation; K = {best.k} comes closest"
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
    return steps[STEPS[rule][0]].reached(point, best_point(points))


def best_point(points: Sequence[KPoint]) -> KPoint:
    """The K with the best estimate; of equals the smallest."""
    return max(points, key=lambda point: (point.delta, -point.k))


def _steps(margin: float, confidence: float, test_ratio: float, power: float) -> dict[Evidence, _Step]:
    z_bound = float(norm.ppf(confidence))  # parity passes on the one-sided bound
    z_pass = (z_bound + float(norm.ppf(power))) * test_ratio
    return {
        "assured": _Step(
            f"the smallest K for which the test is expected to pass with {power:.0%} probability",
            lambda point, best: point.delta - z_pass * point.std_error >= -margin,
        ),
        "supported": _Step(
            f"the smallest K whose lower confidence bound on validation lies within the margin of {margin:g}",
            lambda point, best: point.delta - z_bound * point.std_error >= -margin,
        ),
        "level": _Step(
            f"the smallest K within the margin of {margin:g} and one standard error of the best K",
            lambda point, best: point.delta >= max(-margin, best.delta - best.std_error),
        ),
        "within": _Step(
            f"the smallest K whose estimate lies within the margin of {margin:g}, without an allowance for noise",
            lambda point, best: point.delta >= -margin,
        ),
    }


def _figure(point: KPoint, metric: str) -> str:
    return f"validation {metric} {point.metric:.4f}, {point.delta:+.4f} ± {point.std_error:.4f} against the full model"

"""The rule for K: the smallest K that parity on the test split is expected to pass.

Taking the smallest K whose point estimate lies within the margin would pick a K on the edge, where the test split's
verdict is a coin toss. So the rule asks for the chance of a pass, in two steps:

1. ``confident``: the smallest K whose chance is ``POWER`` or more.
2. ``best_effort``, where no K has it: the smallest K whose chance is at least ``POWER`` times the best one's.

Of several targets that a pass needs, the one with the least chance counts.

Only K that are not clearly worse than the best K count, by the one-standard-error rule (Breiman, Friedman, Olshen,
Stone 1984, section 3.4.3) with the margin on top. On a wide table with few rows the full model sinks under its own
noise features; every small set beats it, and parity with it alone would give away what a few more features are worth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import norm

from feature_audit.results import CurvePoint

Evidence = Literal["confident", "best_effort", "fixed"]

#: Chance of a pass that a K needs.
POWER = 0.9
#: Factor from a K to the next larger one that is worth retraining.
STEP = 1.4
#: K that may be tested.
MOST_RUNGS = 3


@dataclass(frozen=True)
class Criterion:
    """What parity will ask for on the test split.

    Attributes:
        metric: its name, for sentences.
        margin: non-inferiority margin in the metric's units.
        confidence: of the one-sided bound that parity passes on.
        test_ratio: standard error expected on test / standard error on validation.
    """

    metric: str
    margin: float
    confidence: float
    test_ratio: float


@dataclass(frozen=True)
class KChoice:
    """The chosen K, how strong its evidence is, and one sentence for the report."""

    k: int
    evidence: Evidence
    reason: str


def choose_k(points: Sequence[CurvePoint], criterion: Criterion, *, retrained: bool = False) -> KChoice:
    """Choose K from a curve.

    Args:
        points: at least one; any order.
        criterion: of the verdict.
        retrained: was a model retrained at each of the points? For the sentence.

    Raises:
        ValueError: ``points`` is empty.
    """
    if not points:
        raise ValueError("points: empty; the selector measured no K, give at least one")
    curve = sorted(points, key=lambda point: point.k)
    chances = np.where(_near_best(curve, criterion), log_pass_chances(curve, criterion), -np.inf)
    confident = chances.max() >= math.log(POWER)
    needed = math.log(POWER) + (0.0 if confident else chances.max())
    chosen = curve[int(np.argmax(chances >= needed))]
    figure = f"validation {criterion.metric} {chosen.metric:.4f}, {chosen.delta:+.4f} ± {chosen.std_error:.4f}"
    for name, (delta, error, _) in chosen.others.items():
        figure += f", {name} {delta:+.4f} ± {error:.4f}"
    if confident:
        why = f"is the smallest K that validation forecasts to pass on test with at least {POWER:.0%} probability"
        near = "and that is not clearly worse than the best K"
        return KChoice(chosen.k, "confident", f"K = {chosen.k} {why} {near}: {figure} against the full model")
    tried = f"no retrained K (tried: {', '.join(str(point.k) for point in curve)})" if retrained else "no K"
    why = f"{tried} is forecast to pass on test with {POWER:.0%} probability; K = {chosen.k} has nearly the best chance"
    return KChoice(chosen.k, "best_effort", f"{why}: {figure} against the full model")


def propose(curve: Sequence[CurvePoint], criterion: Criterion) -> list[int]:
    """K of a curve that are worth retraining, largest first: the rule's, and the smallest that is likely to pass.

    Where they lie two steps apart, the curve's K nearest to their geometric mean comes as well. The curve's one network
    favours large K, so its comparison with the best K asks for too many; what is retrained decides.
    """
    safe = choose_k(curve, criterion).k
    bold = min([safe, *_likely(curve, criterion)])
    between = min((point.k for point in curve), key=lambda k: abs(math.log(k * k / (safe * bold))))
    return sorted({safe, bold, between} if safe >= STEP**2 * bold else {safe, bold}, reverse=True)


def rungs(points: Sequence[CurvePoint], criterion: Criterion, chosen: int) -> tuple[int, ...]:
    """K to test one after the other, largest first, at most ``MOST_RUNGS``.

    They are the chosen one, the one with the best chance if that is larger, and smaller ones that are likely to pass.
    None is clearly worse than the best K.

    Args:
        points: what was retrained.
        criterion: of the verdict.
        chosen: K that the rule chose among the points.
    """
    chances = np.where(_near_best(points, criterion), log_pass_chances(points, criterion), -np.inf)
    safest = points[int(np.argmax(chances))].k
    near = [point for point, chance in zip(points, chances, strict=True) if chance > -np.inf]
    smaller = {k for k in _likely(near, criterion) if k < chosen}
    return tuple(sorted({chosen, max(safest, chosen), *smaller}, reverse=True)[:MOST_RUNGS])


def is_confident(point: CurvePoint, points: Sequence[CurvePoint], criterion: Criterion) -> bool:
    """Does a K have all the evidence that the rule asks for, given all K measured so far (itself included or not)?"""
    measured = [*points, point]
    chance = log_pass_chances([point], criterion)[0]
    return bool(chance >= math.log(POWER) and _near_best(measured, criterion)[-1])


def log_pass_chances(points: Sequence[CurvePoint], criterion: Criterion) -> np.ndarray:
    """Log of the probability that parity will pass on the test split, as far as validation can tell, (n,) float64.

    The test estimate strays from the truth by its own standard error, and the truth from the validation estimate by
    that one's: given validation alone it is normal around ``delta`` with variance ``se^2 (1 + test_ratio^2)`` (the
    predictive distribution under a flat prior). Parity passes where it lies ``z(confidence)`` standard errors of the
    test split above ``-margin``. Logs keep the order of K that have hardly any chance.

    It ranks K well but is too sure of itself, because the validation rows have also judged removals and stopped
    trainings: a forecast to choose by, not a probability to quote.
    """
    delta, error, margin = _changes(points, criterion)
    gap = delta + margin - norm.ppf(criterion.confidence) * criterion.test_ratio * error
    spread = np.maximum(error * np.hypot(1.0, criterion.test_ratio), 1e-12)  # no error: certain
    chances: np.ndarray = norm.logcdf(gap / spread).min(axis=0)
    return chances


def _changes(points: Sequence[CurvePoint], criterion: Criterion) -> np.ndarray:
    """Delta, its standard error and the margin of every target that a pass needs, (3, targets, n) float64."""
    found = [[(point.delta, point.std_error, criterion.margin), *map(tuple, point.others.values())] for point in points]
    changes: np.ndarray = np.array(found, dtype=np.float64).transpose(2, 1, 0)
    return changes


def _likely(points: Sequence[CurvePoint], criterion: Criterion) -> list[int]:
    """K that are more likely to pass than not. Smaller ones are tested after larger ones and cost these nothing."""
    chances = log_pass_chances(points, criterion)
    return [point.k for point, chance in zip(points, chances, strict=True) if chance >= -math.log(2)]


def _near_best(points: Sequence[CurvePoint], criterion: Criterion) -> np.ndarray:
    """Which K are within the margin and one standard error of the best one? (n,) bool.

    Of several targets each has a best K of its own; where no K is near all of them, those are that fall least short, in
    units of what is near.
    """
    delta, error, margin = _changes(points, criterion)
    targets, best = np.arange(len(delta)), delta.argmax(axis=1)
    allowed = error[targets, best], margin[targets, best]
    missing = (delta[targets, best] - allowed[0] - allowed[1])[:, None] - delta
    short = (missing / np.maximum(sum(allowed), 1e-12)[:, None]).max(axis=0)
    near: np.ndarray = short <= max(short.min(), 0.0)
    return near

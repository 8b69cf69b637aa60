"""The rule for K: the smallest K that is expected to pass parity on the test split.

The smallest K whose point estimate is within the margin would be a borderline K, for which the verdict on the test
split is a coin toss. Therefore the rule uses the pass probability, in two steps:

1. ``confident``: the smallest K with a pass probability of at least ``PASS_CHANCE``.
2. ``best_effort``, if there is none: the smallest K with a pass probability of at least ``PASS_CHANCE`` times the best.

With several targets that a pass requires, the one with the lowest pass probability counts.

Only K that are not clearly worse than the best K are considered, by the one-standard-error rule (Breiman, Friedman,
Olshen, Stone 1984, section 3.4.3) plus the margin. On a wide table with few rows, noise features degrade the full model
so much that every small set beats it; parity with the full model would then forgo the gain of a few more features.
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

#: Pass probability that a K needs.
PASS_CHANCE = 0.9
#: Ratio of one retrained K to the next smaller one.
STEP = 1.4
#: Maximum number of K that are tested.
MOST_RUNGS = 3


@dataclass(frozen=True)
class Criterion:
    """The criterion that parity applies on the test split.

    Attributes:
        metric: its name, for messages.
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
    """The chosen K, the strength of its evidence, and the reason as one sentence for the report."""

    k: int
    evidence: Evidence
    reason: str


def choose_k(points: Sequence[CurvePoint], criterion: Criterion, *, retrained: bool = False) -> KChoice:
    """Choose K from a curve.

    Args:
        points: at least one; any order.
        criterion: of the verdict.
        retrained: whether a model was retrained at each of the points; used in the reason.

    Raises:
        ValueError: ``points`` is empty.
    """
    if not points:
        raise ValueError("points: empty; give at least one")
    curve = sorted(points, key=lambda point: point.k)
    chances = np.where(_near_best(curve, criterion), log_pass_chances(curve, criterion), -np.inf)
    confident = chances.max() >= math.log(PASS_CHANCE)
    needed = math.log(PASS_CHANCE) + (0.0 if confident else chances.max())
    chosen = curve[int(np.argmax(chances >= needed))]
    figure = f"(validation {criterion.metric} {chosen.metric:.4f}, {chosen.delta:+.4f} ± {chosen.std_error:.4f}"
    for name, (delta, error, _) in chosen.others.items():
        figure += f", {name} {delta:+.4f} ± {error:.4f}"
    figure += ")"
    if confident:
        why = f"is the smallest K with near-best quality and a pass forecast of at least {PASS_CHANCE:.0%}"
        return KChoice(chosen.k, "confident", f"K = {chosen.k} {why} {figure}")
    tried = f"no retrained K ({', '.join(str(point.k) for point in curve)})" if retrained else "no K"
    why = f"{tried} reaches a {PASS_CHANCE:.0%} pass forecast"
    why += f"; K = {chosen.k} is the smallest K close to the best forecast"
    return KChoice(chosen.k, "best_effort", f"{why} {figure}")


def propose(curve: Sequence[CurvePoint], criterion: Criterion) -> list[int]:
    """K of a curve to retrain, largest first: the choice of the rule, and the smallest K that is likely to pass.

    If they are two or more steps apart, the K nearest to their geometric mean is added. The shared network of the curve
    favours large K, so its comparison with the best K demands too many features; the retrainings decide.
    """
    safe = choose_k(curve, criterion).k
    bold = min([safe, *_likely(curve, criterion)])
    between = min((point.k for point in curve), key=lambda k: abs(math.log(k * k / (safe * bold))))
    return sorted({safe, bold, between} if safe >= STEP**2 * bold else {safe, bold}, reverse=True)


def rungs(points: Sequence[CurvePoint], criterion: Criterion, chosen: int) -> tuple[int, ...]:
    """K to test in this order, largest first, at most ``MOST_RUNGS``.

    They are the chosen K, the K with the highest pass probability if that is larger, and smaller K that are likely to
    pass. None is clearly worse than the best K.

    Args:
        points: the retrained K.
        criterion: of the verdict.
        chosen: the K that the rule chose among the points.
    """
    chances = np.where(_near_best(points, criterion), log_pass_chances(points, criterion), -np.inf)
    safest = points[int(np.argmax(chances))].k
    near = [point for point, chance in zip(points, chances, strict=True) if chance > -np.inf]
    smaller = {k for k in _likely(near, criterion) if k < chosen}
    return tuple(sorted({chosen, max(safest, chosen), *smaller}, reverse=True)[:MOST_RUNGS])


def is_confident(point: CurvePoint, points: Sequence[CurvePoint], criterion: Criterion) -> bool:
    """Whether a K satisfies the rule, given all K measured so far (which may include it)."""
    measured = [*points, point]
    chance = log_pass_chances([point], criterion)[0]
    return bool(chance >= math.log(PASS_CHANCE) and _near_best(measured, criterion)[-1])


def log_pass_chances(points: Sequence[CurvePoint], criterion: Criterion) -> np.ndarray:
    """Log of the predicted probability that parity passes on the test split, (n,) float64.

    The test estimate deviates from the truth by its standard error, and the truth deviates from the validation estimate
    by that of validation. Given the validation estimate, it is normal around ``delta`` with variance
    ``se^2 (1 + test_ratio^2)`` (the predictive distribution under a flat prior). Parity passes if it lies
    ``z(confidence)`` standard errors of the test split above ``-margin``. Logs preserve the order of very unlikely K.

    The forecast ranks K well but is overconfident, because the validation rows also judged removals and stopped
    trainings. Use it to choose K, not as a calibrated probability.
    """
    delta, error, margin = _changes(points, criterion)
    gap = delta + margin - norm.ppf(criterion.confidence) * criterion.test_ratio * error
    spread = np.maximum(error * np.hypot(1.0, criterion.test_ratio), 1e-12)  # no error: certain
    chances: np.ndarray = norm.logcdf(gap / spread).min(axis=0)
    return chances


def _changes(points: Sequence[CurvePoint], criterion: Criterion) -> np.ndarray:
    """Delta, its standard error and the margin of every target that a pass requires, (3, targets, n) float64."""
    found = [[(point.delta, point.std_error, criterion.margin), *map(tuple, point.others.values())] for point in points]
    changes: np.ndarray = np.array(found, dtype=np.float64).transpose(2, 1, 0)
    return changes


def _likely(points: Sequence[CurvePoint], criterion: Criterion) -> list[int]:
    """K that are more likely to pass than not. Smaller K are tested after larger ones and cost those no power."""
    chances = log_pass_chances(points, criterion)
    return [point.k for point, chance in zip(points, chances, strict=True) if chance >= -math.log(2)]


def _near_best(points: Sequence[CurvePoint], criterion: Criterion) -> np.ndarray:
    """Whether each K is within the margin plus one standard error of the best K, (n,) bool.

    Each target has its own best K. If no K is near all of them, those with the smallest shortfall, relative to the
    allowed distance, count as near.
    """
    delta, error, margin = _changes(points, criterion)
    targets, best = np.arange(len(delta)), delta.argmax(axis=1)
    allowed = error[targets, best], margin[targets, best]
    missing = (delta[targets, best] - allowed[0] - allowed[1])[:, None] - delta
    short = (missing / np.maximum(sum(allowed), 1e-12)[:, None]).max(axis=0)
    near: np.ndarray = short <= max(short.min(), 0.0)
    return near

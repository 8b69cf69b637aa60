"""The rule for K."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from feature_audit.results import CurvePoint
from feature_audit.selection import Criterion, choose_k
from feature_audit.selection.k.rule import MOST_RUNGS, PASS_CHANCE, is_confident, log_pass_chances, propose, rungs
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

CRITERION = Criterion(metric="auc", margin=0.002, confidence=0.95, test_ratio=1.0)


def at(k: int, delta: float, error: float = 0.0005) -> CurvePoint:
    return CurvePoint(k, 0.8 + delta, delta, "masked", error)


def points(*deltas: float, error: float = 0.0005) -> list[CurvePoint]:
    return [at(10 * (place + 1), delta, error) for place, delta in enumerate(deltas)]


def test_prefers_the_smallest_k_that_would_pass_on_test() -> None:
    choice = choose_k(points(-0.01, -0.0009, 0.0004, 0.0005), CRITERION)
    assert (choice.k, choice.evidence) == (30, "confident")
    assert "a pass forecast of at least 90%" in choice.reason
    assert "validation auc 0.8004, +0.0004 ± 0.0005" in choice.reason


def test_says_so_where_no_k_is_likely_enough() -> None:
    choice = choose_k(points(-0.01, -0.0014, -0.0013), CRITERION)
    assert (choice.k, choice.evidence) == (30, "best_effort")
    assert "no K reaches a 90% pass forecast" in choice.reason
    retrained = choose_k(points(-0.02, -0.012, -0.01), CRITERION, retrained=True)
    assert (retrained.k, retrained.evidence) == (30, "best_effort")
    assert "no retrained K (10, 20, 30)" in retrained.reason


def test_nearly_as_good_a_chance_with_fewer_features_is_better() -> None:
    curve = [at(10, -0.0005, 0.002), at(20, 0.0030, 0.002), at(40, 0.0032, 0.002)]
    choice = choose_k(curve, replace(CRITERION, test_ratio=0.8))
    assert (choice.k, choice.evidence) == (20, "best_effort")


def test_k_does_not_follow_a_full_model_that_sinks_under_its_own_features() -> None:
    """On a wide table with few rows every small set beats the full model; K is compared with the best of them."""
    curve = [at(14, 0.012, 0.003), at(29, 0.018, 0.003), at(42, 0.037, 0.003), at(60, 0.036, 0.003)]
    assert choose_k(curve, CRITERION).k == 42
    noisy = [replace(point, std_error=0.008) for point in curve]
    assert choose_k(noisy, CRITERION).k == 42, "within one standard error and the margin of the best: 29 is not"
    assert choose_k([at(14, 0.030, 0.008), *noisy[1:]], CRITERION).k == 14


def test_the_curve_proposes_a_safe_and_a_bold_k_and_one_between() -> None:
    rising = [at(10, -0.02), at(20, -0.0005), at(40, 0.0050), at(60, 0.0075), at(90, 0.0080)]
    assert choose_k(rising, CRITERION).k == 60
    assert propose(rising, CRITERION) == [60, 40, 20], "10 is unlikely to pass"
    near = [at(20, -0.0110), at(40, -0.0005), at(60, 0.0075), at(90, 0.0080)]
    assert propose(near, CRITERION) == [60, 40], "none lies between"
    assert propose([at(10, -0.02), at(20, -0.0151), at(40, -0.015)], CRITERION) == [40], "none has an even chance"
    assert propose([at(10, 0.0), at(20, 0.0)], CRITERION) == [10]


def test_rungs_are_what_may_pass_the_safest_first() -> None:
    assert rungs([at(10, -0.02), at(20, -0.0005), at(40, 0.0008)], CRITERION, 40) == (40, 20)
    assert rungs([at(10, 0.001), at(20, 0.0012), at(40, 0.0011)], CRITERION, 10) == (20, 10), "the best chance is at 20"
    assert rungs([at(10, -0.02), at(20, -0.012)], CRITERION, 20) == (20,)
    sinking = [at(20, 0.0079, 0.006), at(63, 0.0228, 0.0058)]
    assert rungs(sinking, CRITERION, 63) == (63,), "20 would pass, and would give away what 63 gains"


@pytest.mark.parametrize(
    ("delta", "error", "test_ratio"), [(0.001, 0.001, 0.8), (0.004, 0.002, 1.3), (-0.001, 0.0004, 0.5)]
)
def test_the_chance_to_pass_is_that_of_audits_played_out(delta: float, error: float, test_ratio: float) -> None:
    """Draw true values given the validation estimate, then a test estimate of each, and count the passes of parity."""
    random = np.random.default_rng(5)
    truth = delta + error * random.normal(size=200_000)
    test_error = error * test_ratio
    bound = truth + test_error * random.normal(size=truth.size) - norm.ppf(0.95) * test_error
    chance = math.exp(log_pass_chances([at(5, delta, error)], replace(CRITERION, test_ratio=test_ratio))[0])
    assert chance == pytest.approx(float((bound >= -0.002).mean()), abs=0.004)


def test_a_larger_test_split_allows_a_smaller_k() -> None:
    curve = points(-0.01, -0.0004, 0.0004)
    assert choose_k(curve, replace(CRITERION, test_ratio=0.5)).k < choose_k(curve, CRITERION).k


def test_no_points_is_refused() -> None:
    with pytest.raises(ValueError, match="points"):
        choose_k([], CRITERION)


curves = st.lists(st.tuples(st.floats(-0.05, 0.05), st.floats(0, 0.02)), min_size=1, max_size=8).map(
    lambda cells: [at(3 * place + 1, delta, error) for place, (delta, error) in enumerate(cells)]
)


@given(curves, st.floats(0, 0.01), st.floats(0.1, 3))
def test_the_choice_is_the_smallest_k_of_its_step(curve: list[CurvePoint], margin: float, ratio: float) -> None:
    criterion = replace(CRITERION, margin=margin, test_ratio=ratio)
    choice = choose_k(curve, criterion)
    picked = next(point for point in curve if point.k == choice.k)
    assert (choice.evidence == "confident") == any(is_confident(point, curve, criterion) for point in curve)
    if choice.evidence == "confident":
        assert is_confident(picked, curve, criterion)
        assert not any(is_confident(point, curve, criterion) for point in curve if point.k < picked.k)
    best = max(curve, key=lambda point: point.delta)
    assert picked.delta >= best.delta - best.std_error - margin, "never clearly worse than the best K"


@given(curves, st.floats(0, 0.01))
def test_proposals_and_rungs_are_few_and_hold_the_choice(curve: list[CurvePoint], margin: float) -> None:
    criterion = replace(CRITERION, margin=margin)
    choice = choose_k(curve, criterion).k
    tested, proposed = rungs(curve, criterion, choice), propose(curve, criterion)
    for ks in (tested, tuple(proposed)):
        assert ks == tuple(sorted(set(ks), reverse=True))
        assert choice in ks
        assert len(ks) <= MOST_RUNGS
    assert proposed[0] == choice
    best = max(curve, key=lambda point: point.delta)
    assert all(point.delta >= best.delta - best.std_error - margin for point in curve if point.k in tested)


@given(curves)
def test_the_order_of_points_does_not_matter(curve: list[CurvePoint]) -> None:
    assert choose_k(curve[::-1], CRITERION) == choose_k(curve, CRITERION)


def test_hopeless_curves_keep_their_order() -> None:
    """Chances far in the tail are zero as probabilities, but differ as logarithms."""
    assert choose_k(points(-0.09, -0.08, -0.05, -0.0502, error=1e-4), CRITERION).k == 30
    assert math.exp(log_pass_chances(points(-0.09, error=1e-4), CRITERION)[0]) == 0.0
    assert PASS_CHANCE < 1


def with_other(point: CurvePoint, delta: float, error: float = 0.0005, margin: float = 0.002) -> CurvePoint:
    return replace(point, others={"convert": (delta, error, margin)})


def test_the_target_with_the_lowest_chance_determines_k() -> None:
    """The first K that is good enough for the decision target loses the signal of the other target."""
    curve = [
        with_other(at(10, 0.0004), -0.05),
        with_other(at(20, 0.0005), -0.0012),
        with_other(at(30, 0.0005), 0.0004),
        with_other(at(40, 0.0004), 0.0004),
    ]
    choice = choose_k(curve, CRITERION)
    assert (choice.k, choice.evidence) == (30, "confident")
    assert "convert +0.0004 ± 0.0005" in choice.reason
    assert choose_k([replace(point, others={}) for point in curve], CRITERION).k == 10
    wide = [replace(point, others={"convert": (*point.others["convert"][:2], 0.2)}) for point in curve]
    assert choose_k(wide, CRITERION).k == 10


def test_where_no_k_is_near_the_best_of_every_target_one_is_chosen_all_the_same() -> None:
    torn = [with_other(at(10, 0.02), -0.02), with_other(at(20, -0.001), 0.02), with_other(at(30, -0.03), 0.021)]
    assert choose_k(torn, CRITERION).k == 20


@given(st.lists(st.floats(-0.01, 0.01), min_size=2, max_size=6))
def test_a_second_target_that_is_the_first_changes_nothing(deltas: list[float]) -> None:
    alone = points(*deltas)
    twice = [with_other(point, point.delta) for point in alone]
    assert choose_k(twice, CRITERION).k == choose_k(alone, CRITERION).k
    assert rungs(twice, CRITERION, 10) == rungs(alone, CRITERION, 10)

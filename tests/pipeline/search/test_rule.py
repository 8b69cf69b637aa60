"""The rule for K."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from feature_audit.config import AuditConfig
from feature_audit.search import KPoint, best_point, choose_k, satisfies
from feature_audit.search.rule import STEPS, Rule, pass_chance
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

RULE: dict[str, Any] = {"margin": 0.002, "confidence": 0.95, "metric": "auc", "test_ratio": 1.0}


def points(*deltas: float, error: float = 0.0005) -> list[KPoint]:
    return [KPoint(10 * (place + 1), 0.8 + delta, delta, error) for place, delta in enumerate(deltas)]


def test_prefers_the_smallest_k_that_would_pass_on_test() -> None:
    choice = choose_k(points(-0.01, -0.0009, 0.0004, 0.0005), **RULE)
    assert (choice.k, choice.evidence) == (30, "assured")


def test_steps_down_to_weaker_evidence() -> None:
    likely = choose_k(points(-0.01, -0.0009, -0.0008), **RULE)
    assert (likely.k, likely.evidence) == (20, "likely")
    assert "forecast of a pass on test is nearly the best" in likely.reason
    level = choose_k(points(-0.01, -0.0014, -0.0013), **RULE)
    assert (level.k, level.evidence) == (20, "level")
    best = choose_k(points(-0.02, -0.01, -0.012), **RULE)
    assert (best.k, best.evidence) == (20, "best")
    assert "no measured K is within" in best.reason


def test_level_is_never_worse_than_one_standard_error_below_the_best() -> None:
    wide = [KPoint(5, 0.8, -0.0019, 0.002), KPoint(50, 0.8, 0.0015, 0.002)]
    assert choose_k(wide, **RULE).k == 50


@pytest.mark.parametrize(
    ("delta", "error", "test_ratio"), [(0.001, 0.001, 0.8), (0.004, 0.002, 1.3), (-0.001, 0.0004, 0.5)]
)
def test_the_chance_to_pass_is_that_of_audits_played_out(delta: float, error: float, test_ratio: float) -> None:
    """Draw truths that fit the validation estimate, then test estimates of each, and count the passes of parity."""
    random = np.random.default_rng(5)
    truth = delta + error * random.normal(size=200_000)
    test_error = error * test_ratio
    bound = truth + test_error * random.normal(size=truth.size) - norm.ppf(0.95) * test_error
    chance = pass_chance(KPoint(5, 0.8, delta, error), margin=0.002, confidence=0.95, test_ratio=test_ratio)
    assert chance == pytest.approx(float((bound >= -0.002).mean()), abs=0.004)


def test_a_few_more_features_are_taken_for_a_better_chance_and_not_for_the_same() -> None:
    curve = [KPoint(10, 0.8, -0.0005, 0.002), KPoint(20, 0.8, 0.0030, 0.002), KPoint(40, 0.8, 0.0032, 0.002)]
    choice = choose_k(curve, **{**RULE, "test_ratio": 0.8})
    assert (choice.k, choice.evidence) == (20, "likely")


def test_a_larger_test_split_asks_less() -> None:
    curve = points(-0.01, -0.0004, 0.0004)
    assert choose_k(curve, **{**RULE, "test_ratio": 0.5}).k <= choose_k(curve, **RULE).k


def test_no_points_is_refused() -> None:
    with pytest.raises(ValueError, match="points"):
        choose_k([], **RULE)


@given(st.lists(st.floats(-0.05, 0.05), min_size=2, max_size=8), st.floats(0, 0.01))
def test_never_picks_outside_the_curve_nor_a_hopeless_k_while_another_is_within(
    deltas: list[float], margin: float
) -> None:
    curve = points(*deltas)
    choice = choose_k(curve, **{**RULE, "margin": margin})
    picked = next(point for point in curve if point.k == choice.k)
    if max(deltas) >= -margin:
        assert picked.delta >= -margin
    else:
        assert choice.evidence == "best"
        assert picked.delta == max(deltas)


def test_the_configuration_offers_every_rule() -> None:
    assert get_args(AuditConfig.model_fields["k_rule"].annotation) == get_args(Rule) == tuple(STEPS)


def test_each_rule_asks_for_its_own_evidence_and_says_so() -> None:
    curve = points(-0.01, -0.0018, -0.0005, 0.0004, 0.001, error=0.001)
    found = {rule: choose_k(curve, **RULE, rule=rule) for rule in STEPS}
    assert {rule: (choice.k, choice.evidence) for rule, choice in found.items()} == {
        "assured": (50, "likely"), "one_standard_error": (40, "level"), "within_margin": (20, "within"),
    }  # fmt: skip
    for rule in ("one_standard_error", "within_margin"):
        assert f"(k_rule = {rule})" in found[rule].reason
    assert "one standard error of the best K" in found["one_standard_error"].reason
    assert "without an allowance for noise" in found["within_margin"].reason


def test_one_standard_error_of_a_noisier_best_lets_more_through() -> None:
    quiet = [KPoint(5, 0.8, -0.001, 0.0005), KPoint(50, 0.8, 0.001, 0.0005)]
    noisy = [KPoint(5, 0.8, -0.001, 0.0005), KPoint(50, 0.8, 0.001, 0.002)]
    assert choose_k(quiet, **RULE, rule="one_standard_error").k == 50
    assert choose_k(noisy, **RULE, rule="one_standard_error").k == 5


curves = st.lists(st.tuples(st.floats(-0.05, 0.05), st.floats(0, 0.02)), min_size=2, max_size=8).map(
    lambda cells: [KPoint(3 * place + 1, 0.8 + d, d, error) for place, (d, error) in enumerate(cells)]
)


@given(curves, st.floats(0, 0.01), st.sampled_from(list(STEPS)))
def test_the_choice_is_the_smallest_k_of_the_step_that_it_names(curve: list[KPoint], margin: float, rule: Rule) -> None:
    choice = choose_k(curve, **{**RULE, "margin": margin}, rule=rule)
    picked = next(point for point in curve if point.k == choice.k)
    best = best_point(curve)
    assert choice.evidence in (*STEPS[rule], "best")
    assert (choice.evidence == "best") == (best.delta < -margin)
    given_to_all = {"margin": margin, "confidence": 0.95, "test_ratio": 1.0, "rule": rule}
    if choice.evidence == STEPS[rule][0]:
        assert satisfies(picked, curve, **given_to_all)
        assert not any(satisfies(point, curve, **given_to_all) for point in curve if point.k < picked.k)
    else:
        assert not any(satisfies(point, curve, **given_to_all) for point in curve)
    if rule == "one_standard_error" and choice.evidence == "level":
        assert picked.delta >= best.delta - best.std_error


@given(curves, st.floats(0, 0.01), st.floats(0.1, 3))
def test_asking_for_less_never_takes_more_features(curve: list[KPoint], margin: float, test_ratio: float) -> None:
    given_to_all = {**RULE, "margin": margin, "test_ratio": test_ratio}
    within, one_error, assured = (
        choose_k(curve, **given_to_all, rule=rule).k for rule in ("within_margin", "one_standard_error", "assured")
    )
    assert within <= one_error <= best_point(curve).k
    assert within <= assured

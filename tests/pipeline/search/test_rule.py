"""The rule for K."""

from __future__ import annotations

from typing import Any

import pytest
from feature_audit.search import KPoint, choose_k
from hypothesis import given
from hypothesis import strategies as st

RULE: dict[str, Any] = {"margin": 0.002, "confidence": 0.95, "metric": "auc", "test_ratio": 1.0}


def points(*deltas: float, error: float = 0.0005) -> list[KPoint]:
    return [KPoint(10 * (place + 1), 0.8 + delta, delta, error) for place, delta in enumerate(deltas)]


def test_prefers_the_smallest_k_that_would_pass_on_test() -> None:
    choice = choose_k(points(-0.01, -0.0009, 0.0004, 0.0005), **RULE)
    assert (choice.k, choice.evidence) == (30, "assured")


def test_steps_down_to_weaker_evidence() -> None:
    assert choose_k(points(-0.01, -0.0009, -0.0008), **RULE).evidence == "supported"
    level = choose_k(points(-0.01, -0.0014, -0.0013), **RULE)
    assert (level.k, level.evidence) == (20, "level")
    best = choose_k(points(-0.02, -0.01, -0.012), **RULE)
    assert (best.k, best.evidence) == (20, "best")
    assert "no K within the budget" in best.reason


def test_level_is_never_worse_than_one_standard_error_below_the_best() -> None:
    wide = [KPoint(5, 0.8, -0.0019, 0.002), KPoint(50, 0.8, 0.0015, 0.002)]
    assert choose_k(wide, **RULE).k == 50


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

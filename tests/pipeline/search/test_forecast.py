"""What the next retraining will find."""

from __future__ import annotations

import math

import pytest
from feature_audit.search import KPoint, forecast
from hypothesis import given
from hypothesis import strategies as st

CURVE = [KPoint(4, 0.7, -0.1, 0.008), KPoint(16, 0.75, -0.02, 0.004), KPoint(64, 0.77, 0.0, 0.002)]
points = st.builds(KPoint, st.integers(1, 200), st.just(0.7), st.floats(-0.1, 0.1), st.floats(1e-4, 0.01))


@given(st.lists(points, min_size=1, max_size=5, unique_by=lambda point: point.k))
def test_what_was_retrained_is_forecast_as_it_was_found(retrained: list[KPoint]) -> None:
    for point in retrained:
        found = forecast(point.k, CURVE, retrained)
        assert (found.k, found.delta) == (point.k, pytest.approx(point.delta, abs=1e-12))
        assert found.std_error == pytest.approx(point.std_error)


@given(st.floats(-0.05, 0.05), st.floats(0.2, 5), st.integers(1, 300))
def test_a_curve_that_is_off_by_a_constant_is_forecast_exactly(off: float, factor: float, k: int) -> None:
    def at(k: int) -> KPoint:
        place = min(max(math.log(k / 4) / math.log(4), 0.0), 2.0)
        low, share = min(int(place), 1), place - min(int(place), 1)
        delta = CURVE[low].delta * (1 - share) + CURVE[low + 1].delta * share + off
        error = CURVE[low].std_error * (1 - share) + CURVE[low + 1].std_error * share
        return KPoint(k, 0.7, delta, factor * error)

    found, truth = forecast(k, CURVE, [at(20), at(90)]), at(k)
    assert found.delta == pytest.approx(truth.delta, abs=1e-9)
    assert found.std_error == pytest.approx(truth.std_error)


def test_between_two_retrainings_it_goes_from_one_to_the_other() -> None:
    found = [KPoint(4, 0.7, -0.05, 0.008), KPoint(64, 0.8, 0.01, 0.002)]  # .05 and .01 above the curve
    assert forecast(16, CURVE, found).delta == pytest.approx(-0.02 + 0.03)
    assert math.isnan(forecast(16, CURVE, found).metric)


def test_a_curve_without_noise_is_no_division_by_zero() -> None:
    exact = [KPoint(4, 0.7, -0.1, 0.0), KPoint(64, 0.8, 0.0, 0.0)]
    assert forecast(16, exact, [KPoint(4, 0.7, -0.1, 0.001)]).std_error == 0.0

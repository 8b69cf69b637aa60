"""Precision, signs and units of the report's numbers."""

import math

import pytest
from feature_audit.report import numbers
from feature_audit.results import MetricDelta
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("value", "decimals", "plain", "signed"),
    [
        (0.00041, 4, "0.0004", "+0.0004"),
        (-0.00041, 4, "−0.0004", "−0.0004"),
        (-0.00001, 4, "0.0000", "0.0000"),
        (0.00001, 4, "0.0000", "0.0000"),
        (1234.5, 1, "1,234.5", "+1,234.5"),
        (math.nan, 2, "n/a", "n/a"),
        (math.inf, 2, "n/a", "n/a"),
        (None, 2, "n/a", "n/a"),
    ],
)
def test_plain_and_signed(value, decimals, plain, signed):
    assert numbers.plain(value, decimals) == plain
    assert numbers.signed(value, decimals) == signed


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.84, "0.8 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (3 * 3600 + 719, "3 h 12 min"),
    ],
)
def test_duration(seconds, text):
    assert numbers.duration(seconds).replace(numbers.SPACE, " ") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1.0, "1.00"),
        (0.99951, "1.00"),
        (0.012345, "0.0123"),
        (1234.5, "1,234"),
        (1.2e-7, "1.20e−07"),
        (-3.14159, "−3.14"),
    ],
)
def test_significant(value, text):
    assert numbers.significant(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.002, "0.002"), (0.0, "0"), (1.0, "1"), (0.25, "0.25"), (2e-6, "2.0e−06")]
)
def test_margin_is_written_as_the_user_wrote_it(value, text):
    assert numbers.margin(value) == text


@given(
    margin=st.floats(1e-4, 0.1),
    low=st.floats(-0.2, 0.2),
    width=st.floats(1e-5, 0.1),
)
def test_rounding_never_moves_an_interval_over_the_margin(margin, low, width):
    """The printed interval leads to the same conclusion as the exact one."""
    high = low + width
    row = MetricDelta("auc", "all", 9, 9, 0.7, 0.7, low, low, high, margin, "pass", "decision")
    decimals = numbers.decimals_of(row)
    assert 2 <= decimals <= numbers.MOST_DECIMALS
    for end in (low, high):
        printed, limit = round(end, decimals), round(-margin, decimals)
        if abs(end + margin) > 10**-numbers.MOST_DECIMALS:
            assert (printed > limit) == (end > -margin)
            assert (printed < limit) == (end < -margin)

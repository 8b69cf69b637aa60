"""Temperature: exact at both ends, never rising, a pure function of the step."""

from __future__ import annotations

from itertools import pairwise

import pytest
from concrete_selectors import temperature
from hypothesis import given
from hypothesis import strategies as st


@given(
    steps=st.integers(2, 500),
    start=st.floats(1, 50),
    end=st.floats(0.001, 1),
    share=st.floats(0.05, 1),
    seed=st.integers(0, 499),
)
def test_starts_ends_and_never_rises(steps: int, start: float, end: float, share: float, seed: int) -> None:
    values = [temperature(step, steps=steps, start=start, end=end, share=share) for step in range(steps)]
    assert values[0] == start or round(share * steps) <= 1
    assert values[-1] == end
    assert all(a >= b for a, b in pairwise(values))
    step = seed % steps
    assert temperature(step, steps=steps, start=start, end=end, share=share) == values[step]


def test_geometric_in_between() -> None:
    values = [temperature(step, steps=11, start=10.0, end=0.1) for step in range(11)]
    assert values[5] == pytest.approx(1.0)
    assert values[1] / values[0] == pytest.approx(values[9] / values[8])


def test_reaches_the_end_at_the_given_share() -> None:
    values = [temperature(step, steps=100, start=10.0, end=0.1, share=0.5) for step in range(100)]
    assert values[49] == 0.1
    assert values[48] > 0.1


@pytest.mark.parametrize("bad", [{"share": 0.0}, {"share": 1.1}, {"start": 0.0}, {"end": -1.0}, {"steps": 0}])
def test_refuses_what_no_schedule_has(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        temperature(0, **{"steps": 10, "start": 10.0, "end": 0.1, **bad})  # type: ignore[arg-type]

"""The grid on which K is confirmed."""

from __future__ import annotations

import itertools

from feature_audit.stages.choice import STEP, _grid, _larger
from hypothesis import given
from hypothesis import strategies as st


@given(st.sets(st.integers(1, 300), min_size=1), st.data())
def test_grid_holds_the_anchor_and_neighbours_a_factor_apart(ks: set[int], data: st.DataObject) -> None:
    anchor = data.draw(st.sampled_from(sorted(ks)))
    grid = _grid(sorted(ks), anchor)
    assert anchor in grid
    assert grid == sorted(set(grid))
    assert set(grid) <= ks
    upto = grid[: grid.index(anchor) + 1]
    assert all(small * STEP <= large for small, large in itertools.pairwise(upto))
    assert grid[-1] == max(ks), "the budget itself can always be reached"


@given(st.integers(1, 300), st.integers(1, 400))
def test_larger_k_end_at_the_budget(k: int, high: int) -> None:
    larger = _larger(k, high)
    if k >= high:
        assert larger == []
    else:
        assert larger[-1] == high
        assert larger == sorted(set(larger))
        assert larger[0] > k

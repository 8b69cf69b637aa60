"""One ranking from several trials."""

from __future__ import annotations

import numpy as np
import pytest
from feature_audit.search import consensus, voters
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import gmean

rankings = st.integers(1, 12).flatmap(lambda n: st.lists(st.permutations(range(n)), min_size=1, max_size=5))


@given(rankings)
def test_features_go_by_the_geometric_mean_of_their_ranks(orders: list[list[int]]) -> None:
    found = consensus(orders)
    assert sorted(found) == sorted(orders[0])
    ranks = [[order.index(feature) + 1 for order in orders] for feature in found]
    assert (np.diff(gmean(ranks, axis=1)) > -1e-9).all()


@given(rankings)
def test_what_all_trials_say_stays(orders: list[list[int]]) -> None:
    """One trial is its own consensus; what all rank above all others, always-kept features say, stays above them."""
    assert consensus(orders[:1]) == list(orders[0])
    first = [order.index(0) for order in orders]
    swapped = [[0, *order[:place], *order[place + 1 :]] for order, place in zip(orders, first, strict=True)]
    assert consensus(swapped)[0] == 0


def test_one_lucky_trial_does_not_put_a_feature_first() -> None:
    """Feature 3 is first by one trial and last by two; feature 0 is among the first of all."""
    assert consensus([[3, 0, 1, 2], [0, 1, 2, 3], [1, 0, 2, 3]]) == [0, 1, 3, 2]


@pytest.mark.parametrize(
    ("values", "heard"),
    [
        ([0.5], [0]),
        ([0.1, 0.3, 0.2], [1, 2, 0]),
        ([0.1, 0.3, 0.2, 0.3, 0.0, 0.1, 0.2], [1, 3, 2, 6]),
    ],
)
def test_of_many_trials_the_better_half_is_heard(values: list[float], heard: list[int]) -> None:
    assert voters(values) == heard

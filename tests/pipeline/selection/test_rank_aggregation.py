"""One ranking from several trials."""

from __future__ import annotations

import numpy as np
from feature_audit.selection.rank_aggregation import aggregate_ranks
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import gmean

rankings = st.integers(1, 12).flatmap(lambda n: st.lists(st.permutations(range(n)), min_size=1, max_size=5))


@given(rankings)
def test_features_go_by_the_geometric_mean_of_their_ranks(orders: list[list[int]]) -> None:
    found = aggregate_ranks(orders).tolist()
    assert sorted(found) == sorted(orders[0])
    ranks = [[order.index(feature) + 1 for order in orders] for feature in found]
    assert (np.diff(gmean(ranks, axis=1)) > -1e-9).all()


@given(rankings)
def test_what_all_trials_say_stays(orders: list[list[int]]) -> None:
    """A single trial decides; features that all trials rank first, such as always-kept ones, stay first."""
    assert aggregate_ranks(orders[:1]).tolist() == list(orders[0])
    first = [order.index(0) for order in orders]
    swapped = [[0, *order[:place], *order[place + 1 :]] for order, place in zip(orders, first, strict=True)]
    assert aggregate_ranks(swapped)[0] == 0


def test_one_lucky_trial_does_not_put_a_feature_first() -> None:
    """Feature 3 is first in one trial and last in two; feature 0 is among the first in all."""
    assert aggregate_ranks([[3, 0, 1, 2], [0, 1, 2, 3], [1, 0, 2, 3]]).tolist() == [0, 1, 3, 2]


@st.composite
def grouped(draw: st.DrawFn) -> tuple[list[int], list[list[int]]]:
    """Group numbers scattered over the features, and rankings that keep groups together."""
    groups = draw(st.lists(st.integers(0, 3), min_size=1, max_size=10))
    numbers = {group: place for place, group in enumerate(dict.fromkeys(groups))}
    groups = [numbers[group] for group in groups]
    orders = []
    for _ in range(draw(st.integers(1, 4))):
        of_groups = draw(st.permutations(range(len(numbers))))
        orders.append([f for group in of_groups for f in range(len(groups)) if groups[f] == group])
    return groups, orders


@given(grouped())
def test_groups_have_one_rank_and_stay_together(case: tuple[list[int], list[list[int]]]) -> None:
    groups, orders = case
    found = aggregate_ranks(orders, groups).tolist()
    assert sorted(found) == list(range(len(groups)))
    seen = [groups[feature] for feature in found]
    runs = [group for place, group in enumerate(seen) if place == 0 or seen[place - 1] != group]
    assert len(runs) == len(set(runs)), "no group is torn apart"
    as_groups = [list(dict.fromkeys(groups[f] for f in order)) for order in orders]
    assert runs == aggregate_ranks(as_groups).tolist()

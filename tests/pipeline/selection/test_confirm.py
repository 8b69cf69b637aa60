"""Retrainings that confirm K: where they start, how they proceed, when they end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from feature_audit.results import CurvePoint
from feature_audit.selection import Criterion, most_confirmations
from feature_audit.selection.k.confirm import confirm, ladder
from feature_audit.selection.k.rule import is_confident
from hypothesis import given
from hypothesis import strategies as st

CRITERION = Criterion(metric="auc", margin=0.002, confidence=0.95, test_ratio=1.0)


def confirmed(quality: Callable[[int], float], ks: range | list[int], *proposed: int) -> list[int]:
    def retrain(sizes: Sequence[int]) -> list[CurvePoint]:
        return [CurvePoint(k, 0.8, quality(k), "retrained", 0.0005) for k in sizes]

    found = confirm(ks, proposed, CRITERION, retrain)
    return [point.k for point in found]


def test_a_proposal_that_holds_is_retrained_once() -> None:
    assert confirmed(lambda _: 0.0, range(1, 100), 20) == [20]


def test_a_proposal_that_falls_short_is_followed_by_larger_ones_in_growing_steps() -> None:
    assert confirmed(lambda k: 0.0 if k >= 25 else -0.01, range(1, 100), 20) == [20, 28]
    assert confirmed(lambda k: 0.0 if k >= 60 else -0.01, range(1, 100), 20) == [20, 28, 55, 99]


def test_smaller_proposals_are_retrained_before_larger_k_are_asked() -> None:
    assert confirmed(lambda _: 0.0, range(1, 100), 40, 20, 10) == [40, 20, 10]
    assert confirmed(lambda _: -0.01, range(1, 100), 60, 20) == [60, 20, 84, 99]
    assert confirmed(lambda k: 0.0 if k == 20 else -0.01, range(1, 100), 60, 20) == [60, 20], (
        "one with the evidence is enough"
    )
    assert confirmed(lambda _: 0.0, [5, 30, 60], 60, 20, 5) == [60, 5], "whole groups only"


def test_what_is_known_to_be_needed_is_asked_for_at_once() -> None:
    asked: list[list[int]] = []

    def retrain(sizes: Sequence[int]) -> list[CurvePoint]:
        asked.append(list(sizes))
        return [CurvePoint(k, 0.8, -0.01, "retrained", 0.0005) for k in sizes]

    confirm(range(1, 100), (60, 20, 10), CRITERION, retrain)
    assert asked == [[60, 20, 10], [84], [99]], "a larger K only where none of those before has the evidence"


@given(st.sets(st.integers(1, 2_000), min_size=1), st.integers(1, 2_500))
def test_the_ladder_climbs_to_the_largest_k_in_few_steps(ks: set[int], proposed: int) -> None:
    found = list(ladder(sorted(ks), proposed))
    assert found == sorted(set(found))
    assert set(found) <= ks
    assert found[-1] == max(ks), "a refuted K is never the end while a larger one is untried"
    assert found[0] == max((k for k in ks if k <= proposed), default=min(ks))
    assert len(found) <= 7


@given(st.integers(1, 300), st.integers(0, 300), st.data())
def test_no_way_through_a_range_is_longer_than_the_one_that_is_planned(
    low: int, more: int, data: st.DataObject
) -> None:
    proposed = data.draw(st.integers(low, low + more))
    longest = most_confirmations(low, low + more)
    smaller = [k for k in (proposed // 2, proposed // 4) if k >= low]
    assert len(confirmed(lambda _: -0.01, range(low, low + more + 1), proposed, *smaller)) <= longest
    assert longest == len(list(ladder(range(low, low + more + 1), low))) + 2


def test_the_plan_of_a_wide_table_takes_no_time() -> None:
    """Trying the walk from every K of a large budget would take minutes."""
    ks = range(1, 20_001)
    assert most_confirmations(1, 20_000) == len(list(ladder(ks, 1))) + 2 <= 9


@given(st.lists(st.floats(-0.01, 0.01), min_size=40, max_size=40), st.integers(1, 40))
def test_it_ends_at_the_first_k_that_has_the_evidence_or_at_the_largest(qualities: list[float], proposed: int) -> None:
    def retrain(sizes: Sequence[int]) -> list[CurvePoint]:
        return [CurvePoint(k, 0.8, qualities[k - 1], "retrained", 0.0005) for k in sizes]

    found = confirm(range(1, 41), [proposed], CRITERION, retrain)
    for place, one in enumerate(found[:-1]):
        assert not is_confident(one, found[:place], CRITERION)
    assert found[-1].k == 40 or is_confident(found[-1], found, CRITERION)


@pytest.mark.parametrize("ks", [[5], [5, 300]])
def test_few_k_are_tried_one_after_the_other(ks: list[int]) -> None:
    assert confirmed(lambda _: -0.1, ks, 1) == ks

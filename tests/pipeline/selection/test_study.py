"""The study: trials cover the ranges, are reproducible, and do not depend on how rounds are run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from feature_audit.results import LEAST_TRIALS
from feature_audit.selection.study import ROUND, Draw, RunRound, SearchSpace, TrialResult, TrialRow, run_study
from hypothesis import given
from hypothesis import strategies as st

SPACE = SearchSpace(slots=(10, 40), temperature_start=(2.0, 20.0), temperature_end=(0.05, 0.5), anneal_share=(0.5, 1.0))
Trial = Callable[[Draw], TrialResult]


def quality(draw: Draw) -> TrialResult:
    value = -abs(draw.settings["temperature_start"] - 5) - draw.settings["anneal_share"] + 0.1 * draw.number
    return TrialResult(value, notes={"compute": 1.0})


def one_by_one(trial: Trial, seen: list[list[Draw]] | None = None) -> RunRound:
    def run(draws: Sequence[Draw]) -> list[TrialResult]:
        if seen is not None:
            seen.append(list(draws))
        return [trial(draw) for draw in draws]

    return run


def shown(rows: list[TrialRow]) -> list[tuple[object, ...]]:
    return [(row.number, row.state, row.value, *row.settings.values()) for row in rows]


@given(st.integers(1, 500), st.integers(0, 30), st.integers(0, 5))
def test_every_point_lies_in_the_ranges_and_the_first_is_recommended(high: int, number: int, seed: int) -> None:
    space = SearchSpace((max(1, high // 2), high), (2.0, 20.0), (0.05, 0.5), (0.5, 1.0))
    point = space.point(number, seed)
    assert space.slots[0] <= point["slots"] <= high
    assert 2.0 <= point["temperature_start"] <= 20.0
    assert 0.05 <= point["temperature_end"] <= 0.5
    assert 0.5 <= point["anneal_share"] <= 1.0
    if number == 0:
        assert point["slots"] == round((space.slots[0] * high) ** 0.5)
        assert point["temperature_start"] == pytest.approx(40**0.5)
        assert point["anneal_share"] == pytest.approx(0.75)


def test_few_trials_spread_over_the_ranges() -> None:
    """Four draws of a Halton sequence cover both halves of every range."""
    shares = np.array([SPACE.point(number, 3)["anneal_share"] for number in range(1, 6)])
    assert (shares < 0.75).any()
    assert (shares > 0.75).any()
    assert len({SPACE.point(number, 3)["temperature_start"] for number in range(4)}) == 4


def test_a_range_of_one_value_fixes_a_setting() -> None:
    fixed = SearchSpace((7, 7), (6.0, 6.0), (0.2, 0.2), (1.0, 1.0))
    assert all(fixed.point(number, 1) == fixed.point(0, 0) for number in range(4))
    found = run_study(one_by_one(quality), space=fixed, trials=LEAST_TRIALS, seed=1)
    assert all(row.settings == fixed.point(0, 0) for row in found.trials)


@pytest.mark.parametrize("trials", [4, LEAST_TRIALS])
def test_the_first_trial_is_recommended_and_the_best_comes_first(trials: int) -> None:
    summary = run_study(one_by_one(quality), space=SPACE, trials=trials, seed=3)
    points = [SPACE.point(number, 3) for number in range(trials)]
    assert summary.trials[0].settings == points[0]
    assert ([row.settings for row in summary.trials] == points) == (trials < LEAST_TRIALS)
    values = [row.value for row in summary.finished]
    assert values == sorted((row.value for row in summary.trials), reverse=True)


@pytest.mark.parametrize("trials", [5, LEAST_TRIALS + 1, 3 * ROUND])
def test_same_seed_gives_the_same_study_in_whatever_order_a_round_ends(trials: int) -> None:
    def backwards(draws: Sequence[Draw]) -> list[TrialResult]:
        ended = {draw.number: quality(draw) for draw in reversed(draws)}
        return [ended[draw.number] for draw in draws]

    whole = run_study(one_by_one(quality), space=SPACE, trials=trials, seed=1)
    assert shown(run_study(backwards, space=SPACE, trials=trials, seed=1).trials) == shown(whole.trials)
    assert shown(run_study(one_by_one(quality), space=SPACE, trials=trials, seed=2).trials) != shown(whole.trials)
    assert [row.number for row in whole.trials] == list(range(trials))


def test_a_round_depends_on_earlier_rounds_only() -> None:
    seen: list[list[Draw]] = []
    run_study(one_by_one(quality, seen), space=SPACE, trials=2 * ROUND + 1, seed=1)
    assert [len(one) for one in seen] == [ROUND, ROUND, 1]
    other: list[list[Draw]] = []

    def worse_from_second_round(draw: Draw) -> TrialResult:
        return quality(draw) if draw.number < ROUND else TrialResult(-100.0 - draw.number)

    run_study(one_by_one(worse_from_second_round, other), space=SPACE, trials=2 * ROUND + 1, seed=1)
    assert other[:2] == seen[:2]
    assert other[2] != seen[2]


def test_nothing_is_stopped_among_few_trials() -> None:
    """Intermediate reports cost validation passes, and the limit requires four finished trials."""
    seen: list[list[Draw]] = []
    run_study(one_by_one(quality, seen), space=SPACE, trials=LEAST_TRIALS - 1, seed=1)
    assert [len(one) for one in seen] == [LEAST_TRIALS - 1], "all of them at once"
    assert all(draw.stop_below is None for draw in seen[0])


def test_a_trial_that_falls_far_behind_is_stopped() -> None:
    """The limit is the lower quartile of the finished trials' values at the same step."""

    def trial(draw: Draw) -> TrialResult:
        assert draw.stop_below is not None
        early = -100.0 if draw.number in (0, 6) else float(draw.number)
        stopped = early < draw.stop_below
        return TrialResult(None if stopped else early, early, notes={"compute": 0.5 if stopped else 1.0})

    seen: list[list[Draw]] = []
    rows = run_study(one_by_one(trial, seen), space=SPACE, trials=LEAST_TRIALS + 4, seed=1).trials
    assert [row.state for row in rows] == ["complete"] * 6 + ["pruned"] + ["complete"] * 5
    assert [one[0].stop_below for one in seen] == [
        -math.inf, np.percentile([-100, 1, 2, 3], 25), np.percentile([-100, 1, 2, 3, 4, 5, 7], 25),
    ]  # fmt: skip
    assert rows[6].value is None
    assert rows[6].notes["compute"] == 0.5, "what was stopped keeps its cost"


def test_a_study_without_a_finished_trial_raises() -> None:
    with pytest.raises(RuntimeError, match="none of the trials finished"):
        run_study(one_by_one(lambda _: TrialResult(None, 0.0)), space=SPACE, trials=1, seed=1)


def test_importances_only_with_enough_trials() -> None:
    assert run_study(one_by_one(quality), space=SPACE, trials=2, seed=1).importances == {}
    many = run_study(one_by_one(quality), space=SPACE, trials=12, seed=1).importances
    assert set(many) == set(SPACE.point(0, 0))
    assert sum(many.values()) == pytest.approx(1.0)

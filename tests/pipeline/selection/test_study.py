"""The Optuna study: repeats that cover the ranges, resumable, reproducible, honest about failures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import pytest
from feature_audit.results import LEAST_TRIALS
from feature_audit.selection.study import SearchSpace, ShouldStop, TrialResult, TrialRow, run_study
from hypothesis import given
from hypothesis import strategies as st

SPACE = SearchSpace(slots=(10, 40), temperature_start=(2.0, 20.0), temperature_end=(0.05, 0.5), anneal_share=(0.5, 1.0))


def quality(settings: dict[str, float], draw: int, should_stop: ShouldStop | None) -> TrialResult:
    value = -abs(settings["temperature_start"] - 5) - settings["anneal_share"] + 0.1 * draw
    return TrialResult(value, {"compute": 1.0})


def finished(rows: list[TrialRow]) -> list[tuple[object, ...]]:
    """Settings and values of the finished trials."""
    return [(*row.settings.values(), row.value) for row in rows if row.state == "complete"]


@given(st.integers(1, 500), st.integers(0, 30), st.integers(0, 5))
def test_every_point_lies_in_the_ranges_and_the_first_is_recommended(high: int, draw: int, seed: int) -> None:
    space = SearchSpace((max(1, high // 2), high), (2.0, 20.0), (0.05, 0.5), (0.5, 1.0))
    point = space.point(draw, seed)
    assert space.slots[0] <= point["slots"] <= high
    assert 2.0 <= point["temperature_start"] <= 20.0
    assert 0.05 <= point["temperature_end"] <= 0.5
    assert 0.5 <= point["anneal_share"] <= 1.0
    if draw == 0:
        assert point["slots"] == round((space.slots[0] * high) ** 0.5)
        assert point["temperature_start"] == pytest.approx(40**0.5)
        assert point["anneal_share"] == pytest.approx(0.75)


def test_few_trials_spread_over_the_ranges() -> None:
    """A Halton sequence leaves no half of a range empty in four draws."""
    shares = np.array([SPACE.point(draw, 3)["anneal_share"] for draw in range(1, 6)])
    assert (shares < 0.75).any()
    assert (shares > 0.75).any()
    assert len({SPACE.point(draw, 3)["temperature_start"] for draw in range(4)}) == 4


def test_a_range_of_one_value_fixes_a_setting() -> None:
    fixed = SearchSpace((7, 7), (6.0, 6.0), (0.2, 0.2), (1.0, 1.0))
    assert all(fixed.point(draw, 1) == fixed.point(0, 0) for draw in range(4))


def test_the_first_trial_is_recommended_and_the_best_comes_first(tmp_path: Path) -> None:
    summary = run_study(quality, space=SPACE, trials=4, seed=3, journal=tmp_path / "j")
    assert [row.settings for row in summary.trials] == [SPACE.point(draw, 3) for draw in range(4)]
    values = [row.value for row in summary.finished]
    assert values == sorted((row.value for row in summary.trials), reverse=True)


@pytest.mark.parametrize("trials", [5, LEAST_TRIALS + 1])
def test_same_seed_gives_the_same_study_even_when_resumed(tmp_path: Path, trials: int) -> None:
    whole = run_study(quality, space=SPACE, trials=trials, seed=1, journal=tmp_path / "a")
    other = run_study(quality, space=SPACE, trials=trials, seed=2, journal=tmp_path / "c")
    assert finished(other.trials) != finished(whole.trials)

    class Killed(BaseException):
        pass

    def dies_in_second(settings: dict[str, float], draw: int, should_stop: ShouldStop | None) -> TrialResult:
        if draw == 1:
            raise Killed
        return quality(settings, draw, should_stop)

    with pytest.raises(Killed):
        run_study(dies_in_second, space=SPACE, trials=trials, seed=1, journal=tmp_path / "b")
    resumed = run_study(quality, space=SPACE, trials=trials, seed=1, journal=tmp_path / "b")
    assert [row.state for row in resumed.trials] == ["complete", "fail", *["complete"] * (trials - 1)]
    assert finished(resumed.trials) == finished(whole.trials)


def test_nothing_is_stopped_among_few_trials(tmp_path: Path) -> None:
    """Asking costs validation passes, and a pruner that needs four finished trials could not answer."""
    asked: list[bool] = []

    def objective(settings: dict[str, float], draw: int, should_stop: ShouldStop | None) -> TrialResult:
        asked.append(should_stop is not None)
        return quality(settings, draw, should_stop)

    run_study(objective, space=SPACE, trials=3, seed=1, journal=tmp_path / "few")
    assert asked == [False] * 3
    run_study(objective, space=SPACE, trials=LEAST_TRIALS, seed=1, journal=tmp_path / "many")
    assert asked[3:] == [True] * LEAST_TRIALS


def test_a_trial_that_falls_far_behind_is_stopped(tmp_path: Path) -> None:
    def objective(settings: dict[str, float], draw: int, should_stop: ShouldStop | None) -> TrialResult:
        assert should_stop is not None
        if should_stop(1, -100.0 if draw == 6 else float(draw)):
            raise optuna.TrialPruned
        return TrialResult(float(draw))

    rows = run_study(objective, space=SPACE, trials=LEAST_TRIALS, seed=1, journal=tmp_path / "j").trials
    assert [row.state for row in rows] == ["complete"] * 6 + ["pruned", "complete"]


def test_stopped_trials_count_and_keep_their_cost(tmp_path: Path) -> None:
    """Else a study of twelve trials can be one of forty, as each is measured by ever better ones."""

    def prunes_odd(settings: dict[str, float], draw: int, should_stop: ShouldStop | None) -> TrialResult:
        if draw % 2:
            stopped = optuna.TrialPruned()
            stopped.notes = {"compute": 0.5}  # type: ignore[attr-defined]
            raise stopped
        return quality(settings, draw, should_stop)

    for trials in (3, 5):  # the second call continues the first
        summary = run_study(prunes_odd, space=SPACE, trials=trials, seed=1, journal=tmp_path / "j")
        assert [row.state for row in summary.trials] == ["complete", "pruned", "complete", "pruned", "complete"][
            :trials
        ]
        assert [row.notes["compute"] for row in summary.trials] == [1.0, 0.5, 1.0, 0.5, 1.0][:trials]


def test_what_was_finished_before_is_told_once_at_the_start(tmp_path: Path) -> None:
    started: list[list[int]] = []
    told: list[int] = []
    for trials in (2, 5, 5):
        run_study(
            quality, space=SPACE, trials=trials, seed=1, journal=tmp_path / "j",
            on_start=lambda rows: started.append([row.number for row in rows]),
            on_trial=lambda row: told.append(row.number),
        )  # fmt: skip
    assert started == [[], [0, 1], [0, 1, 2, 3, 4]]
    assert told == [0, 1, 2, 3, 4]


def test_a_study_without_a_finished_trial_raises(tmp_path: Path) -> None:
    def always(settings: dict[str, float], draw: int, should_stop: ShouldStop | None) -> TrialResult:
        raise optuna.TrialPruned

    with pytest.raises(RuntimeError, match="no trial"):
        run_study(always, space=SPACE, trials=1, seed=1, journal=tmp_path / "j")


def test_importances_only_with_enough_trials(tmp_path: Path) -> None:
    assert run_study(quality, space=SPACE, trials=2, seed=1, journal=tmp_path / "a").importances == {}
    many = run_study(quality, space=SPACE, trials=12, seed=1, journal=tmp_path / "b").importances
    assert set(many) == set(SPACE.point(0, 0))
    assert sum(many.values()) == pytest.approx(1.0)


def test_two_workers_share_the_trials(tmp_path: Path) -> None:
    seen: list[int] = []
    summary = run_study(
        quality, space=SPACE, trials=6, seed=1, journal=tmp_path / "j", workers=2,
        on_trial=lambda row: seen.append(row.number),
    )  # fmt: skip
    assert sorted(seen) == [row.number for row in summary.trials if row.state == "complete"]
    assert len(seen) == 6, "two workers do not both take the last one"
    assert sorted(row.settings["anneal_share"] for row in summary.trials) == sorted(
        SPACE.point(draw, 1)["anneal_share"] for draw in range(6)
    )

"""The Optuna study: resumable, reproducible, honest about failures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from feature_audit.search import SearchSpace, TrialResult, run_study

SPACE = SearchSpace(
    slots=(10, 40),
    first_slots=20,
    temperature_start=(2.0, 20.0),
    temperature_end=(0.05, 0.5),
    anneal_share=(0.5, 1.0),
    speed=(0.5, 2.0),
)


def quality(number: int, settings: dict[str, float], should_stop: Callable[[int, float], bool]) -> TrialResult:
    luck = 0.1 * settings["draw"]
    return TrialResult(-abs(settings["temperature_start"] - 5) - settings["speed"] + luck, {"work": 1.0})


def settings_of(rows: list[dict[str, object]]) -> list[tuple[object, ...]]:
    """Of the finished trials, and their values."""
    kept = ("slots", "temperature_start", "speed", "value")
    return [tuple(row[key] for key in kept) for row in rows if row["state"] == "complete"]


def test_first_trial_is_the_default_and_best_is_the_highest(tmp_path: Path) -> None:
    summary = run_study(lambda: quality, space=SPACE, trials=4, seed=3, journal=tmp_path / "j")
    assert summary.trials[0]["slots"] == 20
    assert len(summary.trials) == 4
    assert summary.trials[summary.best]["value"] == max(row["value"] for row in summary.trials)


def test_same_seed_gives_the_same_study_even_when_resumed(tmp_path: Path) -> None:
    whole = run_study(lambda: quality, space=SPACE, trials=5, seed=1, journal=tmp_path / "a")
    run_study(lambda: quality, space=SPACE, trials=2, seed=1, journal=tmp_path / "b")
    resumed = run_study(lambda: quality, space=SPACE, trials=5, seed=1, journal=tmp_path / "b")
    assert settings_of(resumed.trials) == settings_of(whole.trials)
    other = run_study(lambda: quality, space=SPACE, trials=5, seed=2, journal=tmp_path / "c")
    assert settings_of(other.trials) != settings_of(whole.trials)


def test_an_interrupted_trial_is_marked_failed_and_run_again(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def dies_in_second(
        number: int, settings: dict[str, float], should_stop: Callable[[int, float], bool]
    ) -> TrialResult:
        if number == 1:
            raise Killed
        return quality(number, settings, should_stop)

    whole = run_study(lambda: quality, space=SPACE, trials=8, seed=1, journal=tmp_path / "a")
    with pytest.raises(Killed):
        run_study(lambda: dies_in_second, space=SPACE, trials=8, seed=1, journal=tmp_path / "b")
    resumed = run_study(lambda: quality, space=SPACE, trials=8, seed=1, journal=tmp_path / "b")
    assert [row["state"] for row in resumed.trials] == ["complete", "fail", *["complete"] * 7]
    assert settings_of(resumed.trials) == settings_of(whole.trials), "also those that the sampler learned from others"


def test_stopped_trials_count_and_keep_their_cost(tmp_path: Path) -> None:
    """Else a study of twelve trials can be one of forty, as each is measured by ever better ones."""

    def prunes_odd(number: int, settings: dict[str, float], should_stop: Callable[[int, float], bool]) -> TrialResult:
        if number % 2:
            stopped = optuna.TrialPruned()
            stopped.notes = {"work": 0.5}  # type: ignore[attr-defined]
            raise stopped
        return quality(number, settings, should_stop)

    for trials in (3, 5):  # the second call continues the first
        summary = run_study(lambda: prunes_odd, space=SPACE, trials=trials, seed=1, journal=tmp_path / "j")
        states = ["complete", "pruned", "complete", "pruned", "complete"][:trials]
        assert [row["state"] for row in summary.trials] == states
        assert [row["notes"]["work"] for row in summary.trials] == [1.0, 0.5, 1.0, 0.5, 1.0][:trials]


@pytest.mark.parametrize("enough", [20, 41])
def test_a_trial_with_all_slots_follows_where_fewer_say_too_little(tmp_path: Path, enough: int) -> None:
    """Once: if all are too few as well, a second trial with all could not tell more."""

    def wants_more(number: int, settings: dict[str, float], _: Callable[[int, float], bool]) -> TrialResult:
        return TrialResult(float(number), more_slots=settings["slots"] < enough)

    for trials in (1, 5):  # a study that is continued knows what the first trial had said
        summary = run_study(lambda: wants_more, space=SPACE, trials=trials, seed=1, journal=tmp_path / "j")
    slots = [row["slots"] for row in summary.trials]
    assert slots[0] == 20
    assert (slots[1] == 40) == (enough == 41)
    assert slots.count(40) <= 1


@pytest.mark.parametrize(("most", "trials"), [(0.5, 1), (2.0, 2), (3.5, 3), (99.0, 5)])
def test_no_trial_is_started_that_would_cost_too_much(tmp_path: Path, most: float, trials: int) -> None:
    """Every trial costs 1; the first is always run, and a study that is continued stays within the same limit."""
    for _ in range(2):
        summary = run_study(
            lambda: quality, space=SPACE, trials=5, seed=1, journal=tmp_path / "j", most_work=lambda _: most
        )
        assert len(summary.trials) == trials


def test_the_limit_is_asked_about_the_best_trial_so_far(tmp_path: Path) -> None:
    asked: list[int] = []

    def best_second(number: int, settings: dict[str, float], _: Callable[[int, float], bool]) -> TrialResult:
        return TrialResult(float(number == 1), {"work": 1.0})

    def most_work(best: int) -> float:
        asked.append(best)
        return 99.0

    run_study(lambda: best_second, space=SPACE, trials=4, seed=1, journal=tmp_path / "j", most_work=most_work)
    assert asked == [0, 1, 1]


def test_no_trial_follows_where_those_before_agree(tmp_path: Path) -> None:
    asked: list[list[int]] = []

    def agree(numbers: list[int]) -> bool:
        asked.append(numbers)
        return len(numbers) == 3

    def falls(number: int, settings: dict[str, float], _: Callable[[int, float], bool]) -> TrialResult:
        return TrialResult(-float(number % 2))

    for _ in range(2):  # continued, it asks again and ends at once
        summary = run_study(lambda: falls, space=SPACE, trials=5, seed=1, journal=tmp_path / "j", agree=agree)
        assert len(summary.trials) == 3
    assert asked == [[0, 1], [0, 2, 1], [0, 2, 1]], "never about one trial; best first, of equals the earlier one"


def test_trials_that_agree_on_too_few_slots_are_not_enough(tmp_path: Path) -> None:
    def wants_more(number: int, settings: dict[str, float], _: Callable[[int, float], bool]) -> TrialResult:
        return TrialResult(0.0, more_slots=True)

    summary = run_study(lambda: wants_more, space=SPACE, trials=5, seed=1, journal=tmp_path / "j", agree=lambda _: True)
    assert [row["slots"] for row in summary.trials] == [20, 40]


def test_what_was_finished_before_is_told_once_at_the_start(tmp_path: Path) -> None:
    started: list[list[int]] = []
    told: list[int] = []
    for trials in (2, 5, 5):
        run_study(
            lambda: quality, space=SPACE, trials=trials, seed=1, journal=tmp_path / "j",
            on_start=lambda rows: started.append([row["number"] for row in rows]),
            on_trial=lambda row: told.append(row["number"]),
        )  # fmt: skip
    assert started == [[], [0, 1], [0, 1, 2, 3, 4]]
    assert told == [0, 1, 2, 3, 4]


def test_a_study_without_a_finished_trial_raises(tmp_path: Path) -> None:
    def always(number: int, settings: dict[str, float], should_stop: Callable[[int, float], bool]) -> TrialResult:
        raise optuna.TrialPruned

    with pytest.raises(RuntimeError, match="no trial"):
        run_study(lambda: always, space=SPACE, trials=1, seed=1, journal=tmp_path / "j")


def test_importances_only_with_enough_trials(tmp_path: Path) -> None:
    assert run_study(lambda: quality, space=SPACE, trials=2, seed=1, journal=tmp_path / "a").importances == {}
    many = run_study(lambda: quality, space=SPACE, trials=12, seed=1, journal=tmp_path / "b").importances
    assert set(many) == set(SPACE.defaults())
    assert sum(many.values()) == pytest.approx(1.0)


def make_quality() -> Callable[..., TrialResult]:
    return quality


def test_two_workers_share_the_trials(tmp_path: Path) -> None:
    seen: list[int] = []
    summary = run_study(
        make_quality, space=SPACE, trials=6, seed=1, journal=tmp_path / "j", workers=2,
        on_trial=lambda row: seen.append(row["number"]),
    )  # fmt: skip
    finished = [row["number"] for row in summary.trials if row["state"] == "complete"]
    assert sorted(seen) == finished
    assert len(finished) == 6, "two workers do not both take the last one"
    assert summary.trials[0]["slots"] == 20

"""Progress of the search: one bar on a terminal, a line per trial elsewhere."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click_log import make_log
from command_line import feature_audit, tracking_in
from feature_audit.fitting.progress import SearchProgress


class Terminal(io.StringIO):
    """Standard error as a terminal shows it."""

    def isatty(self) -> bool:
        return True

    def shown(self) -> list[str]:
        """What each drawing showed, in order."""
        return [text.strip() for text in self.getvalue().replace("\n", "\r").split("\r") if text.strip()]


@contextmanager
def on_terminal() -> Iterator[Terminal]:
    """Inside, standard error is a terminal. (Not a fixture: pytest captures anew between set-up and test.)"""
    fake = Terminal()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", fake)
        yield fake


class Clock:
    """Seconds that pass when told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def search(progress: SearchProgress, clock: Clock) -> None:
    """Two trials of 100 s, then two retrainings of 10 s."""
    for k_within in (None, 12):
        for phase, seconds in (("concrete", 40), ("eliminate", 40), ("finetune", 20)):
            for step in range(1, 5):
                clock.now += seconds / 4
                progress.trial_step({"phase": phase, "step": step, "steps": 4})
        progress.trial_done(k_within)
    for k, within in ((12, True), (8, False)):
        watch = progress.confirming(k)
        for epoch in (1, 2):
            for batch in range(5):
                clock.now += 1
                watch({"epoch": epoch, "epochs": 2, "batch": batch, "batches": 5, "loss": 0.1})
        progress.confirmation_done(k, within=within)


def test_one_bar_shows_trial_best_k_and_time_left() -> None:
    clock = Clock()
    with (
        on_terminal() as terminal,
        SearchProgress(trials=2, confirmations=6, confirmation_seconds=60, clock=clock) as progress,
    ):
        search(progress, clock)
    shown = terminal.shown()
    text = "\n".join(shown)
    assert "select: trial 1 of 2, no K within the margin yet   0%|" in text
    assert "select: trial 1 of 2, no K within the margin yet, about 4 min left   5%|" in text, "150 + 60 s after 50 s"
    assert "select: trial 2 of 2, no K within the margin yet, about 3 min left  12%|" in text
    assert "select: trial 2 of 2, no K within the margin yet, about 70 s left  24%|" in text
    assert "select: retraining 1 at K = 12, best K within the margin 12, about 55 s left  31%|" in text
    assert "select: retraining 2 at K = 8, best K within the margin 12, about 45 s left  44%|" in text
    percent = [int(line.split("%|")[0].split()[-1]) for line in shown]
    assert percent == sorted(percent), "one bar, and it never goes back"


def test_lines_of_the_log_stand_above_the_bar() -> None:
    with on_terminal() as terminal:
        root = logging.getLogger()
        handler = logging.StreamHandler(terminal)
        root.addHandler(handler)
        try:
            with SearchProgress(trials=2, confirmations=0, confirmation_seconds=0) as progress:
                logging.getLogger("feature_audit.anything").warning("a line of its own")
                progress.trial_done(3)
        finally:
            root.removeHandler(handler)
    assert "a line of its own" in terminal.shown()
    assert not any("select: trial 1 of 2, K = 3" in line for line in terminal.shown()), "the bar says it"


def test_a_resumed_search_counts_what_was_finished() -> None:
    clock = Clock()
    with (
        on_terminal(),
        SearchProgress(trials=4, confirmations=0, confirmation_seconds=0, clock=clock) as progress,
    ):
        progress.resume([20, None, 9])
        assert progress.words() == "select: trial 4 of 4, best K within the margin 9"
        clock.now = 30
        progress.trial_step({"phase": "eliminate", "step": 1, "steps": 4})
        assert progress.words() == "select: trial 4 of 4, best K within the margin 9, about 30 s left"


def test_a_retraining_that_takes_longer_than_all_were_to_take_still_has_an_end() -> None:
    clock = Clock()
    with SearchProgress(trials=1, confirmations=6, confirmation_seconds=5, clock=clock) as progress:
        progress.trial_done(4)
        watch = progress.confirming(4)
        clock.now = 25
        watch({"epoch": 1, "epochs": 2, "batch": 4, "batches": 10, "loss": 0.1})
        assert progress.time_left() == "about 75 s left"


def test_more_retrainings_than_the_bar_has_room_for_move_its_end() -> None:
    clock = Clock()
    with (
        on_terminal() as terminal,
        SearchProgress(trials=1, confirmations=1, confirmation_seconds=5, clock=clock) as progress,
    ):
        progress.trial_done(None)
        for k in (4, 6, 9):
            watch = progress.confirming(k)
            clock.now += 5
            watch({"epoch": 1, "epochs": 2, "batch": 4, "batches": 10, "loss": 0.1})
            progress.confirmation_done(k, within=False)
    shown = [line for line in terminal.shown() if "%|" in line]
    assert any("retraining 3 at K = 9" in line for line in shown)
    percent = [int(line.split("%|")[0].split()[-1]) for line in shown]
    assert max(percent) == 100
    assert percent[-1] == 100


def test_elsewhere_there_is_a_line_per_trial_and_no_bar(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    with (
        caplog.at_level(logging.INFO),
        SearchProgress(trials=2, confirmations=6, confirmation_seconds=60, clock=clock) as progress,
    ):
        search(progress, clock)
    assert [record.getMessage() for record in caplog.records] == [
        "select: trial 1 of 2, no K is within the margin on the masked curve, about 3 min left",
        "select: trial 2 of 2, K = 12 is within the margin on the masked curve",
    ]
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_a_search_on_a_terminal(tmp_path: Path) -> None:
    make_log(2_000).write_parquet(tmp_path / "log.parquet")
    words = "--target clicked --time ts --group user_id --row_id impression --margin 0.05 --model mlp --k 8 --trials 2"
    with tracking_in(tmp_path), on_terminal() as terminal:
        assert feature_audit("select", "--data", "log.parquet", "--threads", "1", *words.split()) == 0
    shown = [line for line in terminal.shown() if line.startswith("select: ") and "%|" in line]
    for part in ("trial 1 of 2", "trial 2 of 2", "retraining 1 at K = ", "best K within the margin", "about "):
        assert any(part in line for line in shown), part
    percent = [int(line.split("%|")[0].split()[-1]) for line in shown]
    assert percent == sorted(percent)
    assert not any("batches" in line for line in terminal.shown() if "K = " in line), "no bar beside the bar"

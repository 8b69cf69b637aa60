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
from feature_audit.fitting.progress import SelectionProgress


class Terminal(io.StringIO):
    """Standard error as a terminal shows it."""

    def isatty(self) -> bool:
        return True

    def shown(self) -> list[str]:
        """The texts drawn on the terminal, in order."""
        return [text.strip() for text in self.getvalue().replace("\n", "\r").split("\r") if text.strip()]


@contextmanager
def on_terminal() -> Iterator[Terminal]:
    """Within the context, stderr is a terminal. (Not a fixture: pytest captures again between set-up and test.)"""
    fake = Terminal()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", fake)
        yield fake


class Clock:
    """A clock that advances only when it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def search(progress: SelectionProgress, clock: Clock) -> None:
    """Two trials of 80 s, the curve in 20 s, then two retrainings of 10 s."""
    for _ in range(2):
        for phase in ("concrete", "eliminate"):
            for step in range(1, 5):
                clock.now += 10
                progress.trial_step({"phase": phase, "step": step, "steps": 4})
        progress.trial_done()
    for step in range(1, 5):
        clock.now += 5
        progress.trial_step({"phase": "finetune", "step": step, "steps": 4})
    for k in (12, 17):
        watch = progress.confirming(k)
        for epoch in (1, 2):
            for batch in range(5):
                clock.now += 1
                watch({"epoch": epoch, "epochs": 2, "batch": batch, "batches": 5, "loss": 0.1})


def test_one_bar_shows_what_is_under_way_and_the_time_left() -> None:
    clock = Clock()
    with on_terminal() as terminal, SelectionProgress(2, clock=clock) as progress:
        search(progress, clock)
    shown = terminal.shown()
    text = "\n".join(shown)
    assert "select: trial 1 of 2   0%|" in text
    assert "select: trial 1 of 2, about 2 min left for the trials  12%|" in text, "half of the first after 40 s"
    assert "select: trial 2 of 2, about 40 s left for the trials" in text
    assert "select: curve over K  62%|" in text
    assert "select: retraining at K = 12" in text
    assert "select: retraining at K = 17" in text
    percent = [int(line.split("%|")[0].split()[-1]) for line in shown]
    assert percent[:-1] == sorted(percent[:-1]) or max(percent) == 100
    assert percent[-1] == 100


def test_lines_of_the_log_stand_above_the_bar() -> None:
    with on_terminal() as terminal:
        root = logging.getLogger()
        handler = logging.StreamHandler(terminal)
        root.addHandler(handler)
        try:
            with SelectionProgress(2) as progress:
                logging.getLogger("feature_audit.anything").warning("a line of its own")
                progress.trial_done()
        finally:
            root.removeHandler(handler)
    assert "a line of its own" in terminal.shown()
    assert not any(line == "select: trial 1 of 2" for line in terminal.shown()), "the bar says it"


def test_a_resumed_selection_counts_what_was_finished() -> None:
    clock = Clock()
    with on_terminal(), SelectionProgress(4, clock=clock) as progress:
        for _ in range(3):
            progress.trial_found()
        assert progress.words() == "select: trial 4 of 4"
        clock.now = 30
        progress.trial_step({"phase": "eliminate", "step": 2, "steps": 4})
        assert progress.words() == "select: trial 4 of 4, about 10 s left for the trials"


def test_elsewhere_there_is_a_line_per_trial_and_no_bar(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    with caplog.at_level(logging.INFO), SelectionProgress(2, clock=clock) as progress:
        search(progress, clock)
    assert [record.getMessage() for record in caplog.records] == [
        "select: trial 1 of 2, about 80 s left for the trials",
        "select: trial 2 of 2",
    ]
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_a_search_on_a_terminal(tmp_path: Path) -> None:
    make_log(2_000).write_parquet(tmp_path / "log.parquet")
    words = "--target clicked --time ts --group user_id --row_id impression --margin 0.05 --model mlp --k 8 --trials 2"
    with tracking_in(tmp_path), on_terminal() as terminal:
        assert feature_audit("select", "--data", "log.parquet", "--threads", "1", *words.split()) == 0
    shown = [line for line in terminal.shown() if line.startswith("select: ") and "%|" in line]
    for part in ("trial 1 of 2", "trial 2 of 2", "curve over K", "retraining at K = ", "about "):
        assert any(part in line for line in shown), part
    assert not any("batches" in line for line in terminal.shown() if "K = " in line), "no bar beside the bar"

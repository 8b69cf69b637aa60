"""Progress on a terminal and in notebooks; silence elsewhere, so that logs stay readable."""

from __future__ import annotations

import logging
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self

log = logging.getLogger(__name__)

#: Phases of a trial in order, with their shares of its running time.
_PHASES = {"concrete": 0.5, "eliminate": 0.5}
#: Minimum seconds between two updates of a bar.
_REDRAW = 0.2


def _bar_class(*, alone: bool = False) -> Any:
    """tqdm if the output is a terminal or a notebook, otherwise None; ``alone``: only this process draws a bar."""
    if multiprocessing.parent_process() is not None and not alone:  # a worker: bars would overwrite each other
        return None
    if "ipykernel" in sys.modules:
        from tqdm.auto import tqdm
    elif sys.stderr.isatty():
        from tqdm import tqdm
    else:
        return None
    return tqdm


@contextmanager
def training_bar(label: str, *, alone: bool = False) -> Iterator[Callable[[dict[str, Any]], None] | None]:
    """A bar over the batches of a training; None if it would not be shown.

    Args:
        label: text before the bar.
        alone: True if this is a worker process, and the only one that draws a bar.
    """
    tqdm = _bar_class(alone=alone)
    if tqdm is None:
        yield None
        return
    with tqdm(desc=label, unit=" batches", leave=False, dynamic_ncols=True) as bar:

        def update(state: dict[str, Any]) -> None:
            bar.total = state["batches"] * state["epochs"]
            bar.set_postfix_str(f"epoch {state['epoch']}, loss {state['loss']:.4f}", refresh=False)
            bar.update(1)

        yield update


class SelectionProgress:
    """Progress of a selection: trials, then the curve over K, then the retrainings that confirm K.

    It is one bar on a terminal or in a notebook; elsewhere it logs a line after every trial. A context manager.

    Args:
        trials: total number of trials.
        clock: seconds, for tests.
    """

    def __init__(self, trials: int, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self.trials = trials
        self._finished = self._before = self._confirmed = 0
        self._part = 0.0  # progress of the current step, 0 to 1
        self._clock = clock
        self._began = self._drawn = clock()
        self._label = ""
        self._bar: Any = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        tqdm = _bar_class()
        if tqdm is not None:
            from tqdm.contrib.logging import logging_redirect_tqdm

            layout = "{desc} {percentage:3.0f}%|{bar}|"
            bar = tqdm(total=self._steps, bar_format=layout, leave=False, dynamic_ncols=True)
            self._bar = self._stack.enter_context(bar)
            self._stack.enter_context(logging_redirect_tqdm(tqdm_class=tqdm))  # other lines go above the bar
            self._draw()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._bar = None

    def trial_found(self) -> None:
        """Count a trial that was finished in an earlier run."""
        self._finished, self._before = self._finished + 1, self._before + 1
        self._draw()

    def trial_step(self, state: dict[str, Any]) -> None:
        """Process a step of the current trial or curve: phase, step and steps, as reported by the selector."""
        done, phase = 0.0, state["phase"]
        part = state["step"] / state["steps"]
        if phase not in _PHASES:
            done = part
            if not self._label:
                self._label = "curve over K"
                self._draw()
        for name, share in _PHASES.items():
            if name == phase:
                done += share * part
                break
            done += share if phase in _PHASES else 0.0
        self._step(done)

    def trial_done(self) -> None:
        """Count a finished trial."""
        self._finished, self._part = self._finished + 1, 0.0
        if self._bar is None:
            log.info("select: %s", ", ".join(filter(None, (self._trial(self._finished), self.time_left()))))
        self._draw()

    def confirming(self, k: int) -> Callable[[dict[str, Any]], None]:
        """The callback for the training that confirms ``k``; its first call counts the training."""
        begun = False

        def step(state: dict[str, Any]) -> None:
            nonlocal begun
            if not begun:
                begun = True
                self._label, self._part = f"retraining at K = {k}", 0.0
                self._confirmed += 1
                self._draw()
            self._step((state["epoch"] - 1 + (state["batch"] + 1) / state["batches"]) / max(1, state["epochs"]))

        return step

    def time_left(self) -> str:
        """``about 45 s left for the trials``, or "" if there is no basis for an estimate."""
        done = self._finished - self._before + self._part
        left = self.trials - self._before - done
        if done <= 0 or left <= 0:
            return ""
        seconds = left * (self._clock() - self._began) / done
        return f"about {_duration(seconds)} left for the trials" if seconds >= 1 else ""

    def words(self) -> str:
        """The text before the bar."""
        under_way = self._label or self._trial(min(self._finished + 1, self.trials))
        return ", ".join(filter(None, (f"select: {under_way}", self.time_left())))

    def _trial(self, number: int) -> str:
        return f"trial {number} of {self.trials}"

    @property
    def _steps(self) -> int:
        """Trials, the curve, and the retrainings so far, at least one."""
        return self.trials + 1 + max(1, self._confirmed)

    def _step(self, part: float) -> None:
        self._part = min(max(part, 0.0), 1.0)
        if self._clock() - self._drawn >= _REDRAW:
            self._draw()

    def _draw(self) -> None:
        if self._bar is None:
            return
        self._drawn = self._clock()
        before = self._finished + (self._confirmed > 0) + max(0, self._confirmed - 1)
        self._bar.total, self._bar.n = self._steps, min(before + self._part, self._steps)
        self._bar.set_description_str(self.words(), refresh=True)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"

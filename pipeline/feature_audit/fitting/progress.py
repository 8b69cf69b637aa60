"""Progress on a terminal; silence elsewhere, so that logs stay readable."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self

log = logging.getLogger(__name__)

#: Phases of a concrete training in their order, with their shares of its time.
_PHASES = {"concrete": 0.4, "eliminate": 0.4, "finetune": 0.2}
#: Seconds between two drawings of a bar.
_REDRAW = 0.2


@contextmanager
def training_bar(label: str) -> Iterator[Callable[[dict[str, Any]], None] | None]:
    """A bar over the batches of a training; None where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(desc=label, unit=" batches", leave=False, dynamic_ncols=True) as bar:

        def update(state: dict[str, Any]) -> None:
            bar.total = state["batches"] * state["epochs"]
            bar.set_postfix_str(f"epoch {state['epoch']}, loss {state['loss']:.4f}", refresh=False)
            bar.update(1)

        yield update


class SearchProgress:
    """How far a search is, over all trials and confirmations: trial, best K so far and time left.

    On a terminal it is one bar; elsewhere a line in the log after every trial. Use it as a context manager.

    Args:
        trials: finished trials to reach.
        confirmations: retrainings that are expected to confirm K; the bar's end jumps where fewer do, and moves where
            more are needed.
        confirmation_seconds: what they may take together, unless they fall short; the time left is a guess then.
        clock: seconds, for tests.
    """

    def __init__(
        self,
        *,
        trials: int,
        confirmations: int,
        confirmation_seconds: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.trials, self.confirmations, self.confirmation_seconds = trials, confirmations, confirmation_seconds
        self.finished = self.confirmed = 0
        self.best_k: int | None = None
        self._part = 0.0  # of the trial or confirmation under way, 0 to 1
        self._clock, self._before = clock, 0
        self._began = self._trials_ended = self._retraining_began = self._drawn = clock()
        self._label = ""
        self._bar: Any = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from tqdm import tqdm
            from tqdm.contrib.logging import logging_redirect_tqdm

            self._bar = self._stack.enter_context(
                tqdm(
                    total=self.trials + self.confirmations,
                    bar_format="{desc} {percentage:3.0f}%|{bar}|",
                    leave=False,
                    dynamic_ncols=True,
                )
            )
            self._stack.enter_context(logging_redirect_tqdm())  # other lines go above the bar
            self._draw()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._bar = None

    def resume(self, ks_within: list[int | None]) -> None:
        """Trials that were finished before, by the smallest K within the margin of each (None: there is none)."""
        self.finished = self._before = len(ks_within)
        self.best_k = min((k for k in ks_within if k is not None), default=None)
        self._draw()

    def trial_step(self, state: dict[str, Any]) -> None:
        """A step of the trial under way: phase, step and steps, as a concrete training reports them."""
        phase = state["phase"]
        done = 0.0
        for name, share in _PHASES.items():
            if name == phase:
                done += share * state["step"] / state["steps"]
                break
            done += share
        self._step(done)

    def trial_done(self, k_within: int | None) -> None:
        """A trial is finished; its smallest K within the margin on the masked curve."""
        self.finished, self._part, self._trials_ended = self.finished + 1, 0.0, self._clock()
        if k_within is not None:
            self.best_k = min(k_within, self.best_k or k_within)
        if self._bar is None:
            found = f"K = {k_within} is within the margin" if k_within else "no K is within the margin"
            left = f", {self.time_left()}" if self.finished < self.trials and self.time_left() else ""
            log.info("select: trial %d of %d, %s on the masked curve%s", self.finished, self.trials, found, left)
        self._draw()

    def confirming(self, k: int) -> Callable[[dict[str, Any]], None]:
        """The callback for the training that confirms ``k``."""
        self._retraining_began = self._clock()
        self._label = f"retraining {self.confirmed + 1} at K = {k}"
        self._draw()
        return lambda state: self._step(
            (state["epoch"] - 1 + (state["batch"] + 1) / state["batches"]) / max(1, state["epochs"])
        )

    def confirmation_done(self, k: int, *, within: bool) -> None:
        """A retraining is finished; was its estimate within the margin?"""
        if self.confirmed == 0:
            self.best_k = None  # what a retraining finds replaces what the masked curve supposed
        self.confirmed, self._part = self.confirmed + 1, 0.0
        if within:
            self.best_k = min(k, self.best_k or k)
        self._draw()

    def time_left(self) -> str:
        """``about 45 s left``, or nothing while there is nothing to estimate it by."""
        now = self._clock()
        left = self.confirmation_seconds
        if self.finished < self.trials:
            done = self.finished - self._before + self._part
            if done <= 0:
                return ""
            left += (self.trials - self._before - done) * (now - self._began) / done
        else:
            left -= now - self._trials_ended
            if self._part > 0:  # at least the rest of this one
                left = max(left, (now - self._retraining_began) * (1 - self._part) / self._part)
        return f"about {_duration(left)} left" if left >= 1 else ""

    def words(self) -> str:
        """What stands before the bar."""
        under_way = self._label or f"trial {min(self.finished + 1, self.trials)} of {self.trials}"
        best = f"best K within the margin {self.best_k}" if self.best_k else "no K within the margin yet"
        return ", ".join(filter(None, (f"select: {under_way}", best, self.time_left())))

    def _step(self, part: float) -> None:
        self._part = min(max(part, 0.0), 1.0)
        if self._clock() - self._drawn >= _REDRAW:
            self._draw()

    def _draw(self) -> None:
        if self._bar is None:
            return
        self._drawn = self._clock()
        self._bar.total = max(self._bar.total, self.finished + self.confirmed + math.ceil(self._part))
        self._bar.n = self.finished + self.confirmed + self._part
        self._bar.set_description_str(self.words(), refresh=True)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"

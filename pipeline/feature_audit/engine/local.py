"""Jobs on this machine: sequentially in this process, or in parallel in several."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import util
from typing import Any, Self

import psutil

from feature_audit.engine.jobs import Job, attempt, returned, sealed
from feature_audit.engine.process import tune_process
from feature_audit.memory import WorkerKilledError

log = logging.getLogger(__name__)

#: Timeout in seconds of one wait for results.
_POLL = 0.5


class LocalEngine:
    """Processes on this machine.

    They start with the first jobs and end with the engine, or with the parent process, however it ends.

    Args:
        workers: number of parallel jobs; 1 = in this process.
        threads: threads per worker.
        cards: values of ``CUDA_VISIBLE_DEVICES`` to assign in turn; empty = workers inherit this process's value.
        tries: number of attempts for jobs whose worker was killed.
    """

    def __init__(self, workers: int = 1, threads: int = 1, cards: Sequence[str] = (), *, tries: int = 2) -> None:
        self._workers, self._threads, self._cards, self._tries = workers, threads, tuple(cards), tries
        self._context = multiprocessing.get_context("spawn")  # a forked torch may deadlock in its threads
        self._pool: ProcessPoolExecutor | None = None
        self._lives: Any = None  # our end of a pipe that all workers watch: they exit when it closes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._end_workers()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    @property
    def watches(self) -> bool:
        """Whether jobs run in this process, where their steps can be followed."""
        return self._workers == 1

    def run(self, jobs: Sequence[Job], on_result: Callable[[int, Any], None] | None = None) -> list[Any]:
        """Run jobs; see ``Engine``.

        A killed worker ends the others as well; their jobs are run again, up to ``tries`` times.
        """
        results: dict[int, Any] = {}

        def keep(place: int, result: Any) -> None:
            results[place] = result
            if on_result is not None:
                on_result(place, result)

        if self.watches:
            for place, job in enumerate(jobs):
                keep(place, job.function(*job.arguments, watch=job.watch))
        else:
            for left in reversed(range(self._tries)):
                try:
                    self._side_by_side(jobs, results, keep)
                    break
                except BrokenProcessPool as error:
                    if not left:
                        often = " twice" if self._tries > 1 else ""
                        lost = f"a worker process was killed{often} ({_open(jobs, results)})"
                        raise WorkerKilledError(lost) from error
                    log.warning("%s: a worker process was killed; running it again", _open(jobs, results))
        return [results[place] for place in range(len(jobs))]

    def _side_by_side(self, jobs: Sequence[Job], done: dict[int, Any], keep: Callable[[int, Any], None]) -> None:
        """Run the unfinished jobs.

        Raises:
            BrokenProcessPool: a worker was killed.
        """
        pool = self._start()
        try:
            waiting = {
                pool.submit(attempt, sealed(job), job.label, job.marker.parent): place
                for place, job in enumerate(jobs)
                if place not in done
            }
            if len(waiting) >= self._workers:
                pool.submit(int)  # the pool notices its last process only at the next submit
            left = set(waiting)
            while left:
                # The timeout lets Ctrl-C through: Polars' signal handler restarts system calls.
                ready, left = wait(left, timeout=_POLL, return_when=FIRST_COMPLETED)
                for future in ready:
                    place = waiting[future]
                    keep(place, returned(future.result(), jobs[place].label))
        except BaseException:
            self._end_workers()  # otherwise the pool would wait for jobs that are no longer needed
            raise

    def _start(self) -> ProcessPoolExecutor:
        if self._pool is None:
            watched, self._lives = self._context.Pipe(duplex=False)
            settings = (watched, self._context.Value("i", 0), self._threads, self._cards)
            self._pool = ProcessPoolExecutor(self._workers, self._context, _begin, settings)
        return self._pool

    def _end_workers(self) -> None:
        if self._pool is not None:
            self._lives.close()
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def _open(jobs: Sequence[Job], done: dict[int, Any]) -> str:
    """Labels of the first unfinished jobs."""
    labels = [job.label for place, job in enumerate(jobs) if place not in done]
    return ", ".join(labels[:3]) + (" ..." if len(labels) > 3 else "")


def _begin(watched: Any, place: Any, threads: int, cards: tuple[str, ...]) -> None:
    """Initialise this process as a worker: its GPU, its threads, and its end.

    ``watched`` reaches end-of-file when the parent closes its end or dies, however it dies. (An Event would not work:
    setting it waits for every waiting process, including killed ones.)
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from a terminal, the parent receives it too and ends its workers
    if cards:
        with place.get_lock():
            number, place.value = place.value, place.value + 1
        os.environ["CUDA_VISIBLE_DEVICES"] = cards[number % len(cards)]

    def watch() -> None:
        watched.poll(None)
        for child in psutil.Process().children(recursive=True):  # an external training program
            child.kill()
        util._run_finalizers(0)  # type: ignore[attr-defined]  # semaphores of nested workers: Python warns of leaked ones
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    for library in ("OMP", "OPENBLAS", "MKL"):  # read when NumPy and SciPy are imported, and by external programs
        os.environ[f"{library}_NUM_THREADS"] = str(threads)
    tune_process(threads)

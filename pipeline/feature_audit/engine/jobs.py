"""The unit of work: a function and its arguments, which writes its results to a folder, marker last.

Running a job twice gives the same result, so a job whose worker was lost is run again. Arguments and return values are
small: rows, weights and scores are files in the work folder, which all workers can access.
"""

from __future__ import annotations

import logging
import pickle
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from feature_audit.disk import room_in
from feature_audit.importing import large_imports, users_code, what_failed
from feature_audit.memory import memory_for

log = logging.getLogger(__name__)

#: Called with progress states, as trainings and selectors report them.
Watch = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Job:
    """One call of a function.

    Attributes:
        function: a module-level function, so that other processes can import it; called with the arguments and
            ``watch``.
        arguments: small, picklable objects.
        marker: the file that the function writes last.
        label: description for messages: ``trial 3``.
        watch: called at its steps if it runs in this process.
        processes: number of processes that it starts to compute in parallel, each with a separate core or GPU.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    marker: Path
    label: str
    watch: Watch | None = None
    processes: int = 1


class Engine(Protocol):
    """Runs jobs."""

    @property
    def watches(self) -> bool:
        """Whether jobs run in this process, where their steps can be followed."""

    def run(self, jobs: Sequence[Job], on_result: Callable[[int, Any], None] | None = None) -> list[Any]:
        """Run independent jobs.

        Args:
            jobs: any number of jobs.
            on_result: called with a job's index and result as soon as it is available, in any order.

        Returns:
            The jobs' return values, in order.

        Raises:
            AuditError: a job's worker was lost, also when the job was repeated; a job's exceptions are re-raised.
        """


@dataclass(frozen=True)
class Failed:
    """An exception raised by a job in another process, with its traceback there as text."""

    error: Exception
    trace: str


def sealed(job: Job) -> bytes:
    """Pickled function and arguments of a job; a worker that cannot unpickle them can still report that."""
    return pickle.dumps((job.function, job.arguments))


def attempt(job: bytes, label: str, folder: Path) -> Any:
    """The return value of a ``sealed`` job, or ``Failed``; tracebacks into user code are only available here."""
    try:
        with users_code(), memory_for(label), room_in(folder, label):
            with large_imports(fresh=True):
                function, arguments = pickle.loads(job)
            return function(*arguments)
    except Exception as error:
        return Failed(_portable(error), traceback.format_exc())


def returned(found: Any, label: str) -> Any:
    """The result of ``attempt``; re-raises a job's exception."""
    if isinstance(found, Failed):
        log.debug("%s, in its worker:\n%s", label, found.trace)
        raise found.error
    return found


def _portable(error: Exception) -> Exception:
    """The exception itself if it survives pickling, else a RuntimeError with the same message."""
    try:
        again = pickle.loads(pickle.dumps(error))
        if type(again) is type(error) and str(again) == str(error):
            return error
    except Exception:  # any type, raised by the exception's class
        pass
    return RuntimeError(what_failed(error))

"""The unit of work: a function and its arguments, which leaves its results in a folder and its marker last.

A job that is run twice leaves the same, so one whose worker was lost is run again. What it is given and what it returns
is small: rows, weights and scores are files in the work folder, which all workers see.
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
from feature_audit.importing import users_code, what_failed
from feature_audit.memory import memory_for

log = logging.getLogger(__name__)

#: Called with the state of what runs, as trainings and selectors report it.
Watch = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Job:
    """One call of a function.

    Attributes:
        function: of a module, so that other processes find it; called with the arguments and ``watch``.
        arguments: anything that pickle knows, small.
        marker: the file that the function writes last.
        label: what the job is, for messages: ``trial 3``.
        watch: is told of its steps where it runs in this process.
        processes: that it starts and that compute at once, each with a core or card of its own.
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
        """Does it run jobs in this process, where their steps can be followed?"""

    def run(self, jobs: Sequence[Job], told: Callable[[int, Any], None] | None = None) -> list[Any]:
        """Run jobs, which do not depend on each other.

        Args:
            jobs: any number.
            told: called with a job's place and result as soon as it is there, in any order.

        Returns:
            What the jobs returned, in their order.

        Raises:
            AuditError: a job's worker was lost, and again when the job was repeated; what a job raised comes through.
        """


@dataclass(frozen=True)
class Failed:
    """What a job raised in another process, with its traceback there as text."""

    error: Exception
    trace: str


def sealed(job: Job) -> bytes:
    """Function and arguments of a job, to be sent: who cannot read them can still say so."""
    return pickle.dumps((job.function, job.arguments))


def attempt(job: bytes, label: str, folder: Path) -> Any:
    """What a ``sealed`` job returned, or a ``Failed``: an exception's place in a user's code is known here alone."""
    try:
        with users_code(), memory_for(label), room_in(folder, label):
            function, arguments = pickle.loads(job)
            return function(*arguments)
    except Exception as error:
        return Failed(_portable(error), traceback.format_exc())


def returned(found: Any, label: str) -> Any:
    """What ``attempt`` found; raises what the job raised."""
    if isinstance(found, Failed):
        log.debug("%s, in its worker:\n%s", label, found.trace)
        raise found.error
    return found


def _portable(error: Exception) -> Exception:
    """The exception itself where pickle gives it back, else one that says the same."""
    try:
        again = pickle.loads(pickle.dumps(error))
        if type(again) is type(error) and str(again) == str(error):
            return error
    except Exception:  # any: it is made by the exception's own class
        pass
    return RuntimeError(what_failed(error))

"""Commands on a real registry: requests run in a given order, and commands can be killed before any request."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from feature_audit.errors import AuditError
from feature_audit.tracking import moves, processes
from mlflow import MlflowClient

REQUESTS = (
    "get_registered_model", "get_model_version", "set_registered_model_alias", "delete_registered_model_alias",
    "set_registered_model_tag", "delete_registered_model_tag", "set_model_version_tag",
)  # fmt: skip
_here = threading.local()


class Killed(BaseException):
    """Simulates a killed process; handlers of the code under test must not catch it as an error."""


class Command(threading.Thread):
    """One command as a simulated process, which sends its next request when it gets the turn.

    Attributes:
        result: return value of the call, the error that it raised, or None if it was killed.
    """

    _numbers = itertools.count()

    def __init__(self, call: Callable[[], Any], *, killed_before: int | None = None) -> None:
        super().__init__(daemon=True)
        self.process = f"process {next(self._numbers)}"
        self.result: Any = None
        self.failure: BaseException | None = None
        self.ended = False
        self.requests = 0
        self.slept = 0.0
        self._call, self._killed_before = call, killed_before
        self._turn, self._paused = threading.Semaphore(0), threading.Semaphore(0)

    def run(self) -> None:
        _here.command = self
        self._turn.acquire()
        try:
            self.result = self._call()
        except AuditError as error:
            self.result = error
        except Killed:
            pass
        except BaseException as error:
            self.failure = error
        self.ended = True
        self._paused.release()

    def step(self) -> None:
        """Let it run up to its next request or its end."""
        self._turn.release()
        assert self._paused.acquire(timeout=60), "the command hangs"
        if self.failure:
            raise self.failure

    def pause(self) -> None:
        """Wait for the turn; called by the command."""
        self._paused.release()
        self._turn.acquire()

    def sleep(self, seconds: float) -> None:
        """Wait for the next turn, and advance this command's clock; called by the command itself."""
        self.slept += seconds
        self.pause()

    def request(self) -> None:
        """Called by the command before each request."""
        if self.requests == self._killed_before:
            raise Killed
        self.requests += 1
        self.pause()


def run(*commands: Command, ended: set[str], order: Iterable[int] = ()) -> None:
    """Run commands to the end, and add their processes to ``ended``.

    ``order`` gives the command of each next request; after that, they alternate.
    """
    for command in commands:
        command.start()
    for number in itertools.chain(order, itertools.count()):
        left = [command for command in commands if not command.ended]
        if not left:
            break
        command = left[number % len(left)]
        command.step()
        if command.ended:
            ended.add(command.process)


@contextmanager
def simulated(ended: set[str], watch: Callable[[str, tuple[Any, ...]], None]) -> Iterator[None]:
    """Within the context, requests of a ``Command`` wait for its turn; the processes in ``ended`` no longer run.

    Args:
        ended: names of processes.
        watch: called after each request with the method's name and its arguments.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in REQUESTS:
            patch.setattr(MlflowClient, name, _controlled(name, getattr(MlflowClient, name), watch))
        # A command's clock stands still except while it sleeps: on a busy machine it would give up at any request.
        sleep, monotonic = time.sleep, time.monotonic
        patch.setattr(
            time, "sleep", lambda seconds: command.sleep(seconds) if (command := current()) else sleep(seconds)
        )
        patch.setattr(time, "monotonic", lambda: command.slept if (command := current()) else monotonic())
        patch.setattr(moves, "ABANDONED", float("inf"))
        patch.setattr(processes, "this_process", lambda: command.process if (command := current()) else "the test")
        patch.setattr(processes, "has_ended", lambda process: process in ended)
        yield


def current() -> Command | None:
    """The command that runs in this thread."""
    return getattr(_here, "command", None)


def _controlled(
    name: str, method: Callable[..., Any], watch: Callable[[str, tuple[Any, ...]], None]
) -> Callable[..., Any]:
    def request(client: MlflowClient, *arguments: Any) -> Any:
        command = current()
        if command is None:
            return method(client, *arguments)
        command.request()
        found = method(client, *arguments)
        watch(name, arguments)
        return found

    return request

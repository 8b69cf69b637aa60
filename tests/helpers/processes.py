"""Other processes in tests: what a process has started, waiting for what it does, and servers on loopback."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil

#: Lowest port to hand out, and how many there are for each of pytest's workers. All lie below the ports that a system
#: gives to outgoing connections and to servers that ask for any port, so that nothing else takes one in the meantime.
_FIRST_PORT, _PORTS = 20_000, 1_000
_numbers = itertools.count()


def wait_until(
    happened: Callable[[], Any], *, process: subprocess.Popen[Any] | None = None, seconds: float = 300
) -> None:
    """Wait until ``happened`` returns something true, and fail after ``seconds``, or if ``process`` ends before."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert process is None or process.poll() is None or happened(), "the process ended before"
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def runs(pid: int) -> bool:
    """Whether a process runs; one that has ended and that its parent has not asked about does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def started_by(pid: int, words: str = "") -> list[int]:
    """Processes below one that run, whose command lines contain these words."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended in the meantime
            if words in " ".join(process.cmdline()) and runs(process.pid):
                found.append(process.pid)
    return found


def workers_of(pid: int) -> list[int]:
    """Workers and ranks below a process."""
    return started_by(pid, "spawn_main")


def free_port() -> int:
    """A port on which nothing listens, and which is not handed out again in this run of the tests."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        port = _FIRST_PORT + worker * _PORTS + next(_numbers)
        with socket.socket() as found, suppress(OSError):
            found.bind(("127.0.0.1", port))
            return port


def wait_for_server(address: str, process: subprocess.Popen[Any]) -> None:
    """Wait until a server answers a request of this address."""

    def answers() -> bool:
        with suppress(OSError), urllib.request.urlopen(address, timeout=5):
            return True
        return False

    wait_until(answers, process=process)

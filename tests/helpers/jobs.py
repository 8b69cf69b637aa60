"""Jobs for the tests of the engines: worker processes import them from here."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Watch = Callable[[dict[str, Any]], None] | None


class OddError(Exception):
    """An exception that pickle cannot make again."""

    def __init__(self, what: str, number: int) -> None:
        super().__init__(f"{what} {number}")


def square(folder: Path, number: int, watch: Watch = None) -> dict[str, Any]:
    """The square of a number, with facts about its process."""
    if watch is not None:
        watch({"step": number})
    (folder / f"{number}.json").touch()
    return {
        "square": number**2,
        "process": os.getpid(),
        "threads": torch.get_num_threads(),
        "card": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }


def square_after_the_next(folder: Path, number: int, watch: Watch = None) -> dict[str, Any]:
    """As ``square``; job 0 waits until the caller, told the result of job 1, has made the file ``told_1``."""
    deadline = time.monotonic() + 300
    while number == 0 and not (folder / "told_1").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return square(folder, number, watch)


def fail(folder: Path, number: int, watch: Watch = None) -> None:
    """Raises."""
    raise OddError("went wrong", number)


def killed(folder: Path, number: int, times: int, watch: Watch = None) -> int:
    """Kill the process the given number of times, then succeed."""
    tries = folder / f"tries_{number}"
    with tries.open("a") as file:
        file.write("x")
    if len(tries.read_text()) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / f"{number}.json").touch()
    return number


def waits(folder: Path, number: int, watch: Watch = None) -> int:
    """Wait for the file ``go``; write the ids of its processes."""
    (folder / f"waits_{number}_{os.getpid()}").touch()
    while not (folder / "go").exists():
        time.sleep(0.05)
    (folder / f"{number}.json").touch()
    return number

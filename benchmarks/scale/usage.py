"""CPU seconds and memory of a process and its children, read from Linux's /proc."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import NamedTuple

import psutil


class Used(NamedTuple):
    """CPU seconds, and the peak bytes of both kinds of memory.

    Attributes:
        anonymous: memory that the machine must provide (RssAnon).
        resident: the same plus pages of mapped files, which the kernel evicts when memory is short.
    """

    cpu: float = 0.0
    anonymous: int = 0
    resident: int = 0


class Usage:
    """Resources of a process tree, sampled ten times a second by a thread."""

    def __init__(self, pid: int) -> None:
        self.cpu, self.taken, self.anonymous, self.resident = 0.0, 0.0, 0, 0
        self.process = psutil.Process(pid)
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while self.process.is_running():
            self._look()
            time.sleep(0.1)

    def _look(self) -> None:
        """Sample once; ended processes are included in their parent's figures as soon as it has waited for them."""
        anonymous = resident = 0
        seconds = 0.0
        try:
            for one in [self.process, *self.process.children(recursive=True)]:
                status = Path(f"/proc/{one.pid}/status").read_text()
                anonymous += _kilobytes(status, "RssAnon:")
                resident += _kilobytes(status, "VmRSS:")
                seconds += sum(one.cpu_times()[:4])
        except (psutil.Error, OSError, IndexError):  # one of them has just ended
            return
        self.anonymous, self.resident = max(self.anonymous, anonymous), max(self.resident, resident)
        self.cpu = max(self.cpu, seconds)

    def take(self) -> Used:
        """Resources used since the last call."""
        self._look()
        used = Used(self.cpu - self.taken, self.anonymous, self.resident)
        self.taken, self.anonymous, self.resident = self.cpu, 0, 0
        return used


def _kilobytes(status: str, name: str) -> int:
    return 1024 * int(status.partition(name)[2].split(maxsplit=1)[0])

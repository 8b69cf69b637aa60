"""Which process wrote something, and whether it still runs: what a killed command left behind has no owner."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

_CLOCK = 2.0  # seconds: a process's start as the kernel tells it moves when the clock is set


def this_process() -> str:
    """Host, pid and start of this process as JSON; containers that share a host name are told apart where they can be.

    ``started`` is in seconds since 1970, so that a process that got the number of a dead one is not taken for it.
    """
    import psutil

    started = round(psutil.Process().create_time(), 1)
    return json.dumps({"host": _host(), "pid": os.getpid(), "started": started})


def has_ended(process: str) -> bool:
    """Did the process of this text end? False where that cannot be known: it ran on another host, or nothing says."""
    import psutil

    try:
        found = json.loads(process)
        host, pid, started = found["host"], int(found["pid"]), float(found["started"])
    except (ValueError, TypeError, KeyError):
        return False
    if host != _host() or pid <= 0:
        return False
    try:
        return bool(abs(psutil.Process(pid).create_time() - started) > _CLOCK)
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:  # it is there, and its start is not for this user to see
        return False


def _host() -> str:
    """The host's name, with the name space of its pids where there is one: a container has its own."""
    try:
        return f"{socket.gethostname()} {os.readlink(Path('/proc/self/ns/pid'))}"
    except OSError:
        return socket.gethostname()

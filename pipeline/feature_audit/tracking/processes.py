"""Identifies the process that wrote something, and whether it is still running, to detect killed commands."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

_CLOCK = 2.0  # seconds: the start time reported by the kernel shifts when the clock is set


def this_process() -> str:
    """Host, pid and start of this process as JSON; distinguishes containers with the same host name if possible.

    ``started`` is in seconds since 1970 and distinguishes processes that reuse a pid.
    """
    import psutil

    started = round(psutil.Process().create_time(), 1)
    return json.dumps({"host": _host(), "pid": os.getpid(), "started": started})


def has_ended(process: str) -> bool:
    """Whether that process has ended; False if unknown: it ran on another host, or the text is not readable."""
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
    except psutil.Error:  # it exists, but this user may not see its start time
        return False


def _host() -> str:
    """The host's name, with its pid namespace if there is one, because each container has its own."""
    try:
        return f"{socket.gethostname()} {os.readlink(Path('/proc/self/ns/pid'))}"
    except OSError:
        return socket.gethostname()

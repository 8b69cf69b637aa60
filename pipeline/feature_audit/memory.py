"""One-line errors for a lack of memory: in Python, NumPy and torch, and of workers killed by the system for it."""

from __future__ import annotations

import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from feature_audit.disk import size_of
from feature_audit.errors import AuditError

#: Messages of libraries below Python, most of them in a RuntimeError.
_MESSAGES = re.compile(
    r"(can't|cannot|unable to|failed to) allocate|failed to map segment|out of memory|std::bad_alloc", re.IGNORECASE
)
_REQUESTED = re.compile(r"allocate\D{0,40}?(\d[\d.]*) ?(bytes|[KMGTP]i?B)", re.IGNORECASE)
_CGROUP = Path("/sys/fs/cgroup/memory.max")
_REMEDY = (
    "give it more memory, or use a smaller training.batch_size, training.embedding_dim or workers; the same command "
    "then continues from the finished work"
)


class WorkerKilledError(Exception):
    """A worker process ended without a message."""


class OutOfMemoryError(AuditError):
    """An allocation was refused, or a process was killed for its memory."""


@contextmanager
def memory_for(what: str) -> Iterator[None]:
    """Turn any out-of-memory error of a library into one line with the requested and the used memory.

    Args:
        what: the task in progress, for the message.

    Raises:
        OutOfMemoryError: memory ran out; other exceptions pass unchanged.
    """
    try:
        yield
    except OutOfMemoryError:
        raise
    except Exception as error:
        asked = _ran_out(error)
        if asked is None:
            raise
        raise OutOfMemoryError(f"{what}: memory ran out ({asked}; {_use()}); {_REMEDY}") from error


def _ran_out(error: BaseException) -> str | None:
    """The requested memory, if an exception or one of its causes is an out-of-memory error; otherwise None."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, WorkerKilledError):
            return f"{seen}, which usually means that memory ran out"
        if isinstance(seen, MemoryError) or (not isinstance(seen, AuditError) and _MESSAGES.search(str(seen))):
            found = _REQUESTED.search(str(seen))
            if found is None:
                return "an allocation was refused"
            return f"asked for {size_of(int(found[1])) if found[2] == 'bytes' else ' '.join(found.groups())}"
        seen = seen.__cause__ or seen.__context__
    return None


def _use() -> str:
    """How much this process holds, and the narrowest limit that is known."""
    used = psutil.Process().memory_info()
    limits = {psutil.virtual_memory().total: used.rss}
    if _CGROUP.is_file() and (text := _CGROUP.read_text(encoding="ascii").strip()).isdigit():
        limits[int(text)] = used.rss
    addresses = resource.getrlimit(resource.RLIMIT_AS)[0]
    if addresses != resource.RLIM_INFINITY:
        limits[addresses] = used.vms
    limit = min(limits, key=lambda most: most - limits[most])
    return f"{size_of(limits[limit])} of {size_of(limit)} are in use by this process"

"""One process at a time: a lock that the kernel releases when its process ends in any way."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)


@contextmanager
def held(path: Path, waiting: str) -> Iterator[None]:
    """Hold the lock ``path``, a file that is not deleted; logs ``waiting`` once if another process holds it.

    Raises:
        OSError: the file cannot be created, or its file system has no locks.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info(waiting)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()

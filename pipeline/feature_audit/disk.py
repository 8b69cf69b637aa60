"""Disk space: checked in advance if the size is known, and a one-line error if the disk runs full."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from feature_audit.errors import AuditError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: Messages of a full disk from libraries below Python: Polars, SQLite, NumPy, torch.
_MESSAGES = re.compile(
    r"no space left|disk is full|quota exceeded|file too large \(os error|\d+ requested and \d+ written|"
    r"inline_container\.cc:\d+\] \. unexpected pos|basic_ios::clear: iostream error",
    re.IGNORECASE,
)
_REMEDY = "free some space, or put work_dir on another disk"


class DiskFullError(AuditError):
    """A disk has too little free space."""


def require_room(folder: Path, needed: int, what: str) -> None:
    """Raise before writing if the disk has too little free space.

    Args:
        folder: folder of the output.
        needed: size of the output in bytes.
        what: for the message, e.g. ``the training store``.

    Raises:
        DiskFullError: fewer bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskFullError(f"{what} needs {size_of(needed)} in {folder}, where {size_of(free)} are free; {_REMEDY}")


@contextmanager
def room_in(folder: Path, what: str) -> Iterator[None]:
    """Turn any full-disk error of a library into one line with the free space.

    Args:
        folder: folder of most of the output; created if needed.
        what: name of the output, for the message.

    Raises:
        DiskFullError: a disk is full; other exceptions pass unchanged.
    """
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        message = _full(error)
        if message is None:
            raise
        folders = dict.fromkeys([folder, Path(tempfile.gettempdir())])
        free = ", ".join(f"{size_of(shutil.disk_usage(one).free)} in {one}" for one in folders if one.is_dir())
        raise DiskFullError(
            f"{what}: the disk is full ({message}; free: {free}); {_REMEDY}, and run the same command again: finished "
            "work is kept"
        ) from error


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Within the context, the path of a file to write; it then replaces ``path`` atomically, or not after an error.

    Two processes that write the same file at once do not disturb each other.
    """
    name = f".{path.stem}.{socket.gethostname()}.{os.getpid()}{path.suffix}"  # NumPy would add another suffix
    temporary = path.with_name(name)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_at(file: int, data: memoryview, offset: int) -> None:
    """Write all of ``data`` at an offset of an open file; a single ``os.pwrite`` may stop halfway on a full disk.

    Raises:
        OSError: it cannot be written.
    """
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written


def is_full(error: OSError) -> bool:
    """Whether an error of the operating system reports a full disk."""
    return error.errno in _FULL


def _full(error: BaseException) -> str | None:
    """The message of a full disk from an exception or one of its causes; None if there is none."""
    seen: BaseException | None = error
    while seen is not None:
        if (isinstance(seen, OSError) and is_full(seen)) or _MESSAGES.search(str(seen)):
            return " ".join(str(seen).split())[:200]
        seen = seen.__cause__ or seen.__context__
    return None


def size_of(count: int) -> str:
    """Bytes with a unit, for readers."""
    power = min(max(len(str(count)) - 1, 0) // 3, 4)
    return f"{count / 1000**power:.{1 if power else 0}f} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"

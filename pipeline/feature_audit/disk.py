"""Room on the disk: asked for where the size is known, and told in one line where it ends all the same."""

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
#: How libraries below Python say it: Polars, SQLite, NumPy, torch.
_SAID = re.compile(
    r"no space left|disk is full|quota exceeded|file too large \(os error|\d+ requested and \d+ written|"
    r"inline_container\.cc:\d+\] \. unexpected pos|basic_ios::clear: iostream error",
    re.IGNORECASE,
)
_REMEDY = "free some space, or put work_dir on another disk"


class DiskFullError(AuditError):
    """No room was left on a disk."""


def require_room(folder: Path, needed: int, what: str) -> None:
    """Refuse to begin what cannot be written.

    Args:
        folder: where it is to lie.
        needed: bytes.
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
        folder: where most is written; made if needed.
        what: was being written, for the message.

    Raises:
        DiskFullError: a disk is full; other exceptions pass unchanged.
    """
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        said = _full(error)
        if said is None:
            raise
        folders = dict.fromkeys([folder, Path(tempfile.gettempdir())])
        free = ", ".join(f"{size_of(shutil.disk_usage(one).free)} in {one}" for one in folders if one.is_dir())
        raise DiskFullError(
            f"{what}: the disk is full ({said}; free: {free}); {_REMEDY}, and run the same command again: finished "
            "work is kept"
        ) from error


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Inside, the path of a file to write, which takes the place of ``path`` afterwards: whole, or not at all.

    Two processes that write the same file at once do not disturb each other.
    """
    name = f".{path.stem}.{socket.gethostname()}.{os.getpid()}{path.suffix}"  # NumPy would add a suffix of its own
    temporary = path.with_name(name)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_at(file: int, data: memoryview, offset: int) -> None:
    """Write all of ``data`` at a place of an open file; a single ``os.pwrite`` may stop halfway on a full disk.

    Raises:
        OSError: it cannot be written.
    """
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written


def is_full(error: OSError) -> bool:
    """Does an error of the operating system say that a disk is full?"""
    return error.errno in _FULL


def _full(error: BaseException) -> str | None:
    """What was said of a full disk by an exception or by one that led to it; None where nothing was."""
    seen: BaseException | None = error
    while seen is not None:
        if (isinstance(seen, OSError) and is_full(seen)) or _SAID.search(str(seen)):
            return " ".join(str(seen).split())[:200]
        seen = seen.__cause__ or seen.__context__
    return None


def size_of(count: int) -> str:
    """Bytes as people write them."""
    power = min(max(len(str(count)) - 1, 0) // 3, 4)
    return f"{count / 1000**power:.{1 if power else 0}f} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"

"""CPU seconds and peak memory of a piece of work in this process, and the version of its code."""

from __future__ import annotations

import ctypes
import gc
import hashlib
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[3]
#: Sources that the figures of a record depend on.
_SOURCES = ("selectors/concrete_selectors", "benchmarks/selectors/arena")
#: Files among them that do not affect figures.
_AROUND = ("report.py", "records.py", "options.py", "pixels.py")


@dataclass(frozen=True)
class Spent:
    """CPU seconds of all threads, and peak MiB above the memory held before (None except on Linux)."""

    seconds: float
    peak_mib: float | None


class Meter:
    """Context manager; ``spent`` is set at its end.

    Linux keeps a high-water mark of resident memory that can be reset. Freed heap is returned to the system first, so
    that earlier work does not hide the memory of this work.
    """

    def __enter__(self) -> Self:
        gc.collect()
        try:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        except OSError:
            self._before = None
        else:
            self._before = _status("VmRSS")
        self._start = time.process_time()
        return self

    def __exit__(self, *exception: object) -> None:
        seconds = time.process_time() - self._start
        peak = None if self._before is None else (_status("VmHWM") - self._before) / 1024
        self.spent = Spent(seconds, peak)


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key + ":"))


def code_version(*more: Path) -> dict[str, str]:
    """``code``: hash of the sources that figures depend on; ``commit``: the git commit, with ``+`` if changed since.

    Args:
        more: further sources, of another benchmark.
    """
    digest = hashlib.blake2b(digest_size=6)
    paths = [path for folder in _SOURCES for path in sorted((ROOT / folder).rglob("*.py"))]
    for path in [*paths, *more]:
        if path.name not in _AROUND:
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return {"code": digest.hexdigest(), "commit": _commit()}


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", *_SOURCES)
        return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"

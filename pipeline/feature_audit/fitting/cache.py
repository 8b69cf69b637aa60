"""What makes a finished stage reusable: a key over everything it depends on, and a marker written last.

A marker vouches for the files that were there before it: one that is missing or of another size afterwards (a full
disk, a power cut, a careless copy) makes the marker void, and what it stood for is made again.

key = blake2b(source code of both packages, the stage's part of the configuration, the digests of its inputs, library
versions). A stage's folder is named after its key, so two audits with different settings never overwrite each other; a
killed stage leaves a folder without marker, which the next run continues or replaces.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from feature_audit.disk import whole
from feature_audit.engine.environment import environment
from feature_audit.locking import held

log = logging.getLogger(__name__)

MARKER = "DONE.json"
#: Files that hold finished trainings or trials of an interrupted stage; a run that was refused leaves none.
_FINISHED = "*.json"


@dataclass(frozen=True)
class StageKey:
    """The parts of a stage's key, kept apart so that a miss can say which one changed.

    Attributes:
        stage: the stage's name.
        parts: ``code``, ``config.<key>``, ``input.<name>``, ``version.<library>`` -> text.
    """

    stage: str
    parts: dict[str, str]

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that name the stage's folder."""
        text = json.dumps([self.stage, self.parts], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def stage_key(stage: str, *, config: dict[str, Any], inputs: dict[str, str]) -> StageKey:
    """Build the key of a stage.

    Args:
        stage: its name.
        config: the configuration keys it reads.
        inputs: name -> digest of what it consumes.
    """
    parts = {f"config.{name}": json.dumps(value, sort_keys=True, default=str) for name, value in config.items()}
    parts |= {f"input.{name}": value for name, value in inputs.items()}
    return StageKey(stage, parts | environment())


@dataclass(frozen=True)
class StageFolder:
    """Where one stage keeps its results.

    Attributes:
        path: the folder, made on first use.
        key: the stage's key.
        opened: seconds on this process's clock.
    """

    path: Path
    key: StageKey
    opened: float = field(default_factory=time.perf_counter, compare=False)

    @property
    def done(self) -> bool:
        """Was the marker written, and is everything that it vouches for still there?"""
        return read_marker(self.path / MARKER) is not None

    def finish(self, result: dict[str, Any]) -> None:
        """Write the marker with the stage's result; nothing that the result needs may come after it."""
        # What was broken off left its file with a dot.
        files = [file for file in self.path.rglob("*") if file.is_file() and not file.name.startswith(".")]
        seconds = time.perf_counter() - self.opened
        content = {"stage": self.key.stage, "parts": self.key.parts, "result": result, "seconds": seconds}
        write_marker(self.path / MARKER, content, files)

    def result(self) -> dict[str, Any]:
        """What ``finish`` was given."""
        return dict(self._content["result"])

    @property
    def seconds(self) -> float:
        """Seconds from opening the folder to ``finish``, in the process that finished the stage."""
        return float(self._content["seconds"])

    @property
    def _content(self) -> dict[str, Any]:
        content = read_marker(self.path / MARKER)
        assert content is not None, "only asked of a finished stage"
        return content


def write_marker(path: Path, content: dict[str, Any], files: Iterable[Path]) -> None:
    """Write, atomically, a marker that vouches for files.

    Args:
        path: of the marker.
        content: any JSON object; what JSON does not know is written as text.
        files: complete files in the marker's folder or below it.
    """
    sizes = {file.relative_to(path.parent).as_posix(): file.stat().st_size for file in files if file != path}
    with whole(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        json.dump({**content, "files": sizes}, file, indent=1, default=str)
        file.flush()
        os.fsync(file.fileno())


def read_marker(path: Path) -> dict[str, Any] | None:
    """The content given to ``write_marker``; None if the marker, or a file it vouches for, is missing or damaged."""
    try:
        content = json.loads(path.read_bytes())
        sizes = content.pop("files")
        whole = all((path.parent / name).stat().st_size == size for name, size in sizes.items())
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return dict(content) if whole else None


@contextmanager
def own_folder(work_dir: Path, key: StageKey) -> Iterator[StageFolder]:
    """The folder of a stage as returned by ``open_folder``, locked for this process until the stage is done.

    If another audit holds the lock, wait for it; its result is then a cache hit.
    """
    path = work_dir / key.stage / key.digest
    with held(path.with_name(f"{path.name}.lock"), f"{key.stage}: another audit runs the same stage; waiting for it"):
        yield open_folder(work_dir, key)


def open_folder(work_dir: Path, key: StageKey) -> StageFolder:
    """The stage's folder below ``work_dir``; logs whether it is a hit and, if not, what changed since the last one."""
    folder = StageFolder(work_dir / key.stage / key.digest, key)
    if folder.done:
        log.info("%s: reused from the cache; same code, configuration and data (%s)", key.stage, key.digest)
        return folder
    log.info("%s: %s", key.stage, _why_missed(work_dir / key.stage, key))
    folder.path.mkdir(parents=True, exist_ok=True)
    (folder.path / MARKER).unlink(missing_ok=True)  # a damaged one may not come to life while its files are made again
    return folder


def _why_missed(stage_dir: Path, key: StageKey) -> str:
    paths = sorted(stage_dir.glob(f"*/{MARKER}"), key=lambda path: path.stat().st_mtime, reverse=True)
    if (stage_dir / key.digest / MARKER).exists():
        return "running again: its saved result is damaged"
    before = next((content["parts"] for content in map(read_marker, paths) if content), None)
    if any((stage_dir / key.digest).glob(_FINISHED)):
        return "continuing after an interruption"
    if before is None:
        return "running for the first time"
    changed = [name for name in sorted(before.keys() | key.parts.keys()) if before.get(name) != key.parts.get(name)]
    shown = [
        f"{name.removeprefix('config.')} {before.get(name, 'absent')} -> {key.parts.get(name, 'absent')}"
        if name.startswith(("config.", "version."))
        else name
        for name in changed[:3]
    ]
    return f"running again, changed since last time: {', '.join(shown)}{' ...' if len(changed) > 3 else ''}"

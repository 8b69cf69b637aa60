"""Stage cache: a key over everything that a stage depends on, and a marker file written last.

A marker lists the files that existed before it. If one of them is missing or has another size later (full disk, power
loss, incomplete copy), the marker is invalid and the results are computed again.

key = blake2b(source code of both packages, the stage's part of the configuration, the digests of its inputs, library
versions). A stage's folder is named after its key, so two audits with different settings never overwrite each other. A
killed stage leaves a folder without a marker, which the next run continues or replaces.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from feature_audit.disk import whole
from feature_audit.engine.environment import environment
from feature_audit.locking import held

log = logging.getLogger(__name__)

MARKER = "DONE.json"
#: Files of finished trainings or trials of an interrupted stage.
_FINISHED = "*.json"


@dataclass(frozen=True)
class StageKey:
    """The parts of a stage's key, kept separately so that a cache miss can name the part that changed.

    Attributes:
        stage: the stage's name.
        parts: ``code``, ``config.<key>``, ``input.<name>``, ``version.<library>`` -> text.
    """

    stage: str
    parts: dict[str, str]

    @property
    def digest(self) -> str:
        """16 hexadecimal digits; the name of the stage's folder."""
        text = json.dumps([self.stage, self.parts], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def stage_key(stage: str, *, config: dict[str, Any], inputs: dict[str, str]) -> StageKey:
    """Build the key of a stage.

    Args:
        stage: the stage's name.
        config: the configuration keys that it reads.
        inputs: name -> digest of each input.
    """
    parts = {f"config.{name}": json.dumps(value, sort_keys=True, default=str) for name, value in config.items()}
    parts |= {f"input.{name}": value for name, value in inputs.items()}
    return StageKey(stage, parts | environment())


@dataclass(frozen=True)
class StageFolder:
    """Result folder of one stage.

    Attributes:
        path: the folder, created on first use.
        key: the stage's key.
        opened: ``time.perf_counter`` when the folder was opened.
    """

    path: Path
    key: StageKey
    opened: float = field(default_factory=time.perf_counter, compare=False)

    @property
    def done(self) -> bool:
        """Whether the marker was written and all files that it lists are complete."""
        return read_marker(self.path / MARKER) is not None

    def finish(self, result: dict[str, Any]) -> None:
        """Write the marker with the stage's result; write all files that the result needs before."""
        # Interrupted writes leave hidden files.
        files = [file for file in self.path.rglob("*") if file.is_file() and not file.name.startswith(".")]
        seconds = time.perf_counter() - self.opened
        content = {"stage": self.key.stage, "parts": self.key.parts, "result": result, "seconds": seconds}
        write_marker(self.path / MARKER, content, files)

    def result(self) -> dict[str, Any]:
        """The result passed to ``finish``."""
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
    """Write, atomically, a marker that lists files.

    Args:
        path: path of the marker.
        content: any JSON object; values that JSON does not support are written as text.
        files: complete files in the marker's folder or below it.
    """
    sizes = {file.relative_to(path.parent).as_posix(): file.stat().st_size for file in files if file != path}
    with whole(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        json.dump({**content, "files": sizes}, file, indent=1, default=str)
        file.flush()
        os.fsync(file.fileno())


def read_marker(path: Path) -> dict[str, Any] | None:
    """The content passed to ``write_marker``; None if the marker or a file that it lists is missing or damaged."""
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
    """The stage's folder below ``work_dir``; logs a cache hit or, on a miss, what changed since an earlier run."""
    folder = StageFolder(work_dir / key.stage / key.digest, key)
    if folder.done:
        log.info("%s: reused from the cache; same code, configuration and data (%s)", key.stage, key.digest)
        return folder
    log.info("%s: %s", key.stage, _why_missed(work_dir / key.stage, key))
    folder.path.mkdir(parents=True, exist_ok=True)
    (folder.path / MARKER).unlink(missing_ok=True)  # it must not become valid while files are rewritten
    return folder


def _why_missed(stage_dir: Path, key: StageKey) -> str:
    if (stage_dir / key.digest / MARKER).exists():
        return "running again: its saved result is damaged"
    if any((stage_dir / key.digest).glob(_FINISHED)):
        return "continuing after an interruption"
    written: dict[Path, float] = {}
    for path in stage_dir.glob(f"*/{MARKER}"):
        with suppress(FileNotFoundError):  # another audit may replace it meanwhile
            written[path] = path.stat().st_mtime
    latest_first = sorted(written, key=lambda path: written[path], reverse=True)
    earlier = [content["parts"] for content in map(read_marker, latest_first) if content]
    if not earlier:
        return "running for the first time"
    # Audits of several logs may share the folder, so the latest run is not always the one to compare with.
    changed = min((_changed(before, key.parts) for before in earlier), key=len)
    return f"running again, changed since an earlier run: {', '.join(changed[:3])}{' ...' if len(changed) > 3 else ''}"


def _changed(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """The parts of two keys that differ; of configuration and versions with both values."""
    return [
        f"{name.removeprefix('config.')} {before.get(name, 'absent')} -> {now.get(name, 'absent')}"
        if name.startswith(("config.", "version."))
        else name
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]

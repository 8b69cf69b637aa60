"""What makes a finished stage reusable: a key over everything it depends on, and a marker written last.

key = blake2b(source code of both packages, the stage's part of the configuration, the digests of its inputs, library
versions). A stage's folder is named after its key, so two audits with different settings never overwrite each other; a
killed stage leaves a folder without marker, which the next run continues or replaces.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feature_audit.locking import held

log = logging.getLogger(__name__)

MARKER = "DONE.json"
#: Files that hold finished trainings or trials of an interrupted stage; a run that was refused leaves none.
_FINISHED = ("*.json", "*.journal")
LIBRARIES = ("torch", "polars", "numpy", "scikit-learn", "scipy", "optuna")


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
    parts = {"code": _source_digest()}
    parts |= {f"config.{name}": json.dumps(value, sort_keys=True, default=str) for name, value in config.items()}
    parts |= {f"input.{name}": value for name, value in inputs.items()}
    parts |= {f"version.{name}": importlib.metadata.version(name) for name in LIBRARIES}
    return StageKey(stage, parts)


@functools.cache
def _source_digest() -> str:
    """Of every module of both packages: which of them a stage runs need not be kept track of by hand."""
    digest = hashlib.blake2b(digest_size=8)
    for package in ("feature_audit", "concrete_selectors"):
        spec = importlib.util.find_spec(package)  # without importing torch
        assert spec is not None
        assert spec.origin is not None
        folder = Path(spec.origin).parent
        for file in sorted(folder.rglob("*.py")):
            digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


@dataclass(frozen=True)
class StageFolder:
    """Where one stage keeps its results.

    Attributes:
        path: the folder, made on first use.
        key: the stage's key.
    """

    path: Path
    key: StageKey

    @property
    def done(self) -> bool:
        """Was the marker written?"""
        return (self.path / MARKER).is_file()

    def finish(self, result: dict[str, Any]) -> None:
        """Write the marker with the stage's result; nothing that the result needs may come after it."""
        content = {"stage": self.key.stage, "parts": self.key.parts, "result": result}
        temporary = self.path / f".{MARKER}"
        temporary.write_text(json.dumps(content, indent=1, default=str), encoding="utf-8")
        temporary.replace(self.path / MARKER)  # atomic: a marker is there whole or not at all

    def result(self) -> dict[str, Any]:
        """What ``finish`` was given."""
        content = json.loads((self.path / MARKER).read_text(encoding="utf-8"))
        return dict(content["result"])


@contextmanager
def own_folder(work_dir: Path, key: StageKey) -> Iterator[StageFolder]:
    """The stage's folder as by ``open_folder``, for this process alone until the stage is done.

    Another audit that came first is waited for, and what it made is then a hit.
    """
    path = work_dir / key.stage / key.digest
    with held(path.with_name(f"{path.name}.lock"), f"{key.stage}: another audit runs the same stage; waiting for it"):
        yield open_folder(work_dir, key)


def open_folder(work_dir: Path, key: StageKey) -> StageFolder:
    """The stage's folder below ``work_dir``; logs whether it is a hit and, if not, what changed since the last one."""
    folder = StageFolder(work_dir / key.stage / key.digest, key)
    if folder.done:
        log.info("%s: done before with the same code, configuration and data (%s)", key.stage, key.digest)
        return folder
    log.info("%s: %s", key.stage, _why_missed(work_dir / key.stage, key))
    folder.path.mkdir(parents=True, exist_ok=True)
    return folder


def _why_missed(stage_dir: Path, key: StageKey) -> str:
    markers = sorted(stage_dir.glob(f"*/{MARKER}"), key=lambda path: path.stat().st_mtime)
    finished = (path for kind in _FINISHED for path in (stage_dir / key.digest).glob(kind))
    if any(finished):
        return "continuing what was interrupted"
    if not markers:
        return "running for the first time"
    before = json.loads(markers[-1].read_text(encoding="utf-8"))["parts"]
    changed = [name for name in sorted(before.keys() | key.parts.keys()) if before.get(name) != key.parts.get(name)]
    shown = [
        f"{name.removeprefix('config.')} {before.get(name, 'absent')} -> {key.parts.get(name, 'absent')}"
        if name.startswith(("config.", "version."))
        else name
        for name in changed[:3]
    ]
    return f"running again, changed since last time: {', '.join(shown)}{' ...' if len(changed) > 3 else ''}"

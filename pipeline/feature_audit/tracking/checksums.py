"""Checksums of a registered version's files in ``sha256sum`` format: written at registration, verified on loading."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from feature_audit.errors import AuditError

#: In the folder of the weights; ``sha256sum --check`` there verifies the same as loading.
NAME = "SHA256SUMS"
#: MLflow's folder of packed code, relative to that folder.
_CODE = Path("..", "..", "code")


def write_checksums(artifacts: Path, code: Iterable[Path]) -> None:
    """Write the checksums of all files of a version.

    Args:
        artifacts: folder from which the version is loaded; the file is written there.
        code: packages (folders) and modules that are packed.

    Raises:
        OSError: a file cannot be read or written.
    """
    files = [path for path in sorted(artifacts.rglob("*")) if path.is_file() and path.name != NAME]
    named = {path.relative_to(artifacts).as_posix(): path for path in files}
    for place in code:
        named |= {(_CODE / file.relative_to(place.parent)).as_posix(): file for file in _files(place)}
    lines = [f"{_sha256(path)}  {name}\n" for name, path in named.items()]
    (artifacts / NAME).write_text("".join(lines), encoding="utf-8")


def check_checksums(artifacts: Path) -> None:
    """Compare a version's files with their checksums; versions registered without checksums are not checked.

    Raises:
        AuditError: a file is missing or differs; the one-line message names the first.
    """
    sums = artifacts / NAME
    if not sums.is_file():
        return
    for line in sums.read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        path = artifacts / name
        if not path.is_file() or _sha256(path) != digest:
            what = "differs from what was registered" if path.is_file() else "is missing"
            raise AuditError(
                f"{os.path.normpath(path)} {what}; copy the files of this version again, or load another version"
            )


def _files(place: Path) -> Iterator[Path]:
    """A module file, or the files of a package that MLflow packs."""
    if place.is_file():
        yield place
        return
    for file in sorted(place.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".pyc":
            yield file


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

"""The source of a team's own model: an edit makes another model, and a registered version takes the source along."""

from __future__ import annotations

import hashlib
import importlib.util
import sysconfig
from pathlib import Path

from feature_audit.models.build import MODELS, find_factory


def own_code(name: str) -> Path | None:
    """The file of a factory's module, or the folder of the package that it lies in; None for a shipped model.

    Args:
        name: a shipped model, or ``package.module:factory``.

    Raises:
        UsageError: no such module or function.
    """
    if name in MODELS:
        return None
    find_factory(name)  # puts the working directory on the path, and says it in one line where there is none
    top = importlib.util.find_spec(name.partition(":")[0].partition(".")[0])
    if top is None:
        return None
    if top.submodule_search_locations:
        return Path(next(iter(top.submodule_search_locations))).resolve()
    return Path(top.origin).resolve() if top.origin and Path(top.origin).is_file() else None


def own_code_digest(name: str) -> str:
    """blake2b of the Python files behind ``own_code``; empty for a shipped model.

    Raises:
        UsageError: no such module or function.
    """
    place = own_code(name)
    if place is None:
        return ""
    digest = hashlib.blake2b(digest_size=16)
    for file in [place] if place.is_file() else sorted(place.rglob("*.py")):
        digest.update(str(file.relative_to(place.parent)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def is_installed(place: Path) -> bool:
    """Does the code lie where packages are installed? Then whoever loads a model installs it, too."""
    return any(place.is_relative_to(Path(sysconfig.get_path(kind)).resolve()) for kind in ("purelib", "platlib"))

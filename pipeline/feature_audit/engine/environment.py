"""Inputs of a result other than data and configuration: the source of both packages and the library versions."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
from pathlib import Path

LIBRARIES = ("torch", "polars", "numpy", "scikit-learn", "scipy", "optuna")


def environment() -> dict[str, str]:
    """``code`` -> digest of the source, ``version.<library>`` -> its version."""
    return {"code": _source_digest(), **{f"version.{name}": version_of(name) for name in LIBRARIES}}


@functools.cache
def version_of(library: str) -> str:
    """Version of an installed library. Each look-up parses its whole metadata, and an audit needs dozens."""
    return importlib.metadata.version(library)


@functools.cache
def _source_digest() -> str:
    """Digest of every module of both packages, so that no list of modules per stage has to be maintained."""
    digest = hashlib.blake2b(digest_size=8)
    for package in ("feature_audit", "concrete_selectors"):
        spec = importlib.util.find_spec(package)  # without importing torch
        assert spec is not None
        assert spec.origin is not None
        folder = Path(spec.origin).parent
        for file in sorted(folder.rglob("*.py")):
            digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()

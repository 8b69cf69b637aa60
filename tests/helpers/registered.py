"""A registered model with some versions, on a real sqlite store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from sqlalchemy import event
from sqlalchemy.engine import Engine

PASSED = {"audit.verdict": "pass", "audit.data_digest": "the same"}


@contextmanager
def registry_in(folder: Path) -> Iterator[str]:
    """Inside, runs and models are kept in a sqlite file in ``folder``, whose writes do not wait for the disk."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    event.listen(Engine, "connect", _without_fsync)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        mlflow.set_tracking_uri(uri)
        yield uri
    mlflow.set_tracking_uri(None)
    event.remove(Engine, "connect", _without_fsync)


def make_model(name: str, versions: Sequence[Mapping[str, str]]) -> MlflowClient:
    """Register a model with one version per mapping of tags; the versions are 1, 2 and so on."""
    client = MlflowClient()
    client.create_registered_model(name)
    for tags in versions:
        client.create_model_version(name, source="/nowhere", tags=dict(tags))
    return client


def alias(name: str, which: str = "production") -> str | None:
    """The version that an alias names."""
    version = MlflowClient().get_registered_model(name).aliases.get(which)
    return None if version is None else str(version)


def _without_fsync(connection: Any, _: object) -> None:
    connection.execute("PRAGMA synchronous = OFF")

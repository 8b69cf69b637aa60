"""A tracking store in a folder: MLflow's tables are made once per test process and copied from then on."""

from __future__ import annotations

import functools
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from sqlalchemy import event
from sqlalchemy.engine import Engine


@contextmanager
def store_in(folder: Path) -> Iterator[str]:
    """Within the context, runs and models are stored in an SQLite file in ``folder``, without waiting for the disk.

    An existing file is kept.
    """
    file = folder / "mlflow.db"
    uri = f"sqlite:///{file}"
    if not file.exists():
        file.write_bytes(_empty_store())
    with _without_fsync(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        mlflow.set_tracking_uri(uri)
        yield uri
    mlflow.set_tracking_uri(None)


@functools.cache
def _empty_store() -> bytes:
    """A store with MLflow's tables but no experiment, made once because its migrations take a second of CPU time.

    MLflow creates the default experiment when it opens the store, with artifacts relative to the folder.
    """
    with tempfile.TemporaryDirectory() as folder, _without_fsync():
        file = Path(folder, "mlflow.db")
        uri = f"sqlite:///{file}"
        MlflowClient(uri, uri).search_experiments(max_results=1)
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("DELETE FROM experiments")
        return file.read_bytes()


@contextmanager
def _without_fsync() -> Iterator[None]:
    def switch_off(connection: Any, _: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", switch_off)
    yield
    event.remove(Engine, "connect", switch_off)

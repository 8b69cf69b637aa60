"""The tracking store: connecting, reporting its errors, and the address of its web pages."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import re
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from feature_audit.errors import AuditError
from feature_audit.importing import large_imports
from feature_audit.locking import held
from feature_audit.masking import MaskingFilter, masked

log = logging.getLogger(__name__)

#: MLflow's settings for a server that does not respond; its defaults would retry for four minutes before an error.
_SOON = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
_MASKING = MaskingFilter()
#: Default stores chosen here, which change with the current folder.
_chosen_here: set[str] = set()
_REMEDY = "start the server, set MLFLOW_TRACKING_URI to the right one, or give valid credentials"


def connect() -> None:
    """Connect MLflow to the configured store, or to ``mlflow.db`` in the current folder (never ./mlruns).

    Database tables are created or migrated by one process per host at a time.

    Raises:
        AuditError: the database cannot be opened.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with large_imports():
        import mlflow

    # Importing MLflow resets these to INFO; a new store would then print a line per migration.
    for chatty in ("alembic", "mlflow"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    for handler in logging.getLogger("mlflow").handlers:  # MLflow has separate handlers
        handler.addFilter(_MASKING)
    if not mlflow.is_tracking_uri_set() or mlflow.get_tracking_uri() in _chosen_here:
        _chosen_here.add(f"sqlite:///{Path.cwd() / 'mlflow.db'}")
        mlflow.set_tracking_uri(f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    for uri in sorted({mlflow.get_tracking_uri(), mlflow.get_registry_uri()}):
        if re.match(r"(sqlite|postgresql|mysql|mssql)\b", uri):
            _open_database(uri)


@functools.cache  # failures are not cached
def _open_database(uri: str) -> None:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        file = make_url(uri).database if uri.startswith("sqlite") else None
        if file == ":memory:":
            return
        if file:
            lock = Path(file).absolute().with_name(f"{Path(file).name}.lock")
        else:
            name = hashlib.blake2b(uri.encode(), digest_size=8).hexdigest()
            lock = Path(tempfile.gettempdir()) / f"feature-audit-{name}.lock"
        _make_tables(uri, lock)
    except (MlflowException, SQLAlchemyError, ImportError, OSError) as error:
        raise AuditError(f"tracking store: {store_problem(error, uri)}; {_REMEDY}") from None


def _make_tables(uri: str, lock: Path) -> None:
    """Create or migrate MLflow's tables; two concurrent migrations would corrupt the schema."""
    with large_imports():
        from mlflow import MlflowClient
        from mlflow.store.db.utils import create_sqlalchemy_engine
        from sqlalchemy import inspect

    with held(lock, f"waiting for another process that is opening {masked(uri)}"):
        inspect(create_sqlalchemy_engine(uri)).engine.dispose()  # MLflow would retry for 100 seconds
        client = MlflowClient(uri, uri)
        client.search_experiments(max_results=1)
        client.search_registered_models(max_results=1)


@contextmanager
def answers_soon(subject: str, *, hint: str = "") -> Iterator[None]:
    """Context in which a store that does not respond fails after seconds, with a one-line error.

    MLflow's settings in the environment take precedence.

    Args:
        subject: beginning of the message, e.g. ``model_name=ranker``.
        hint: additional remedy, appended to the message.

    Raises:
        AuditError: the store refused or did not answer.
    """
    with large_imports():
        from mlflow.exceptions import MlflowException

    before = {name: os.environ.get(name) for name in _SOON}
    os.environ.update({name: value for name, value in _SOON.items() if before[name] is None})
    try:
        connect()
        yield
    except MlflowException as error:
        problem = f"MLflow refused or did not answer: {store_problem(error)}"
        raise AuditError(f"{subject}: {problem}; {_REMEDY}{hint}") from None
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


@contextmanager
def store_may_be_lost(hint: str) -> Iterator[None]:
    """Context in which a store that refuses or, after MLflow's retries, does not respond gives a one-line error.

    The number of retries, with increasing pauses, is MLflow's setting (MLFLOW_HTTP_REQUEST_MAX_RETRIES; about four
    minutes).

    Args:
        hint: how to continue, appended to the remedy.

    Raises:
        AuditError: the store refused or did not answer.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        problem = f"MLflow refused or did not answer: {store_problem(error)}"
        raise AuditError(f"{problem}; {_REMEDY}; {hint}") from error


@contextmanager
def quietly() -> Iterator[None]:
    """Context that suppresses store errors and fails after seconds, while a more important error is reported."""
    try:
        with answers_soon("note"):
            yield
    except Exception as error:  # it must not hide the original error
        log.debug("it could not be recorded: %s", error)


def is_missing(error: Exception) -> bool:
    """Whether the store reports that the resource does not exist (a wrong path on a server has another code)."""
    return getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST"


def store_problem(error: Exception, uri: str | None = None) -> str:
    """The error of MLflow's store or registry on one line, without credentials, and the store's URI."""
    import mlflow

    problem = masked(" ".join(str(getattr(error, "orig", error)).split()))  # for a database, without the SQL
    # urllib3 puts the reason at the end of its message.
    problem = re.sub(r"^API request to (\S+) failed .*?Caused by \w+\([\"']?(.*?)[\"']?\)*$", r"\1: \2", problem)
    short = problem if len(problem) <= 200 else problem[:200].rsplit(" ", 1)[0] + " ..."
    return f"{short.rstrip('.')} (store {masked(uri or mlflow.get_tracking_uri())})"


def address(run_id: str) -> tuple[str, str]:
    """Address of the tracking server's web pages, and the path of a run's report below it.

    Returns:
        The server's address without credentials, or "" for a store without a server (sqlite); and the path
        of the report within MLflow's pages. The page opens as model training, not as GenAI.
    """
    connect()
    import mlflow
    from mlflow import MlflowClient

    uri = mlflow.get_tracking_uri()
    experiment = MlflowClient().get_run(run_id).info.experiment_id
    path = f"#/experiments/{experiment}/runs/{run_id}/artifacts/report/index.html?workflowType=machine_learning"
    server = re.sub(r"(?<=://)[^/]*@", "", uri).rstrip("/") if re.match(r"https?://", uri) else ""
    return server, path


def where_to_look(run_id: str) -> list[str]:
    """Terminal lines: the report's address and, for a file store, the command that serves it."""
    import mlflow

    server, path = address(run_id)
    if server:
        return [f"report: {server}/{path}"]
    command = f"mlflow server --backend-store-uri {shlex.quote(masked(mlflow.get_tracking_uri()))} --port 5000"
    return [f"to read the report: {command}", f"then open http://127.0.0.1:5000/{path}"]

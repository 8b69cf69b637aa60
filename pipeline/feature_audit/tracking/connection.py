"""The tracking store itself: how it is reached, what it says when it refuses, and where a browser finds its pages."""

from __future__ import annotations

import logging
import os
import re
import shlex
from pathlib import Path

from feature_audit.masking import masked


def connect() -> None:
    """Point MLflow at its store: the environment's, else ``mlflow.db`` in the current folder (never ./mlruns)."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    # Importing MLflow resets these to INFO; a new store would then print a line per migration.
    for chatty in ("alembic", "mlflow"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        mlflow.set_tracking_uri(f"sqlite:///{Path.cwd() / 'mlflow.db'}")


def store_problem(error: Exception) -> str:
    """What MLflow's store or registry said, on one line without credentials, and which store it was."""
    import mlflow

    said = masked(" ".join(str(error).split()))
    short = said if len(said) <= 200 else said[:200].rsplit(" ", 1)[0] + " ..."
    return f"{short.rstrip('.')} (store {masked(mlflow.get_tracking_uri())})"


def address(run_id: str) -> tuple[str, str]:
    """Where a browser finds the tracking store, and below it the report of a run.

    Returns:
        The server's address without credentials, or "" for a store that no server answers for (sqlite); and the path
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
    """Lines for a terminal: the address of the report, and for a file store the command that serves it."""
    import mlflow

    server, path = address(run_id)
    if server:
        return [f"report: {server}/{path}"]
    command = f"mlflow server --backend-store-uri {shlex.quote(masked(mlflow.get_tracking_uri()))} --port 5000"
    return [f"to read the report: {command}", f"then open http://127.0.0.1:5000/{path}"]

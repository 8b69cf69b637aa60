"""The command line in this process, on a tracking store of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from feature_audit import cli
from mlflow import MlflowClient
from mlflow.entities import Run
from stores import store_in


@contextmanager
def tracking_in(folder: Path) -> Iterator[Path]:
    """Within the context, runs are stored in ``folder``, which is also the working directory."""
    with store_in(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_EXPERIMENT_ID", "0")  # an audit sets it for its children; it is restored at the end
        patch.delenv("MLFLOW_EXPERIMENT_ID")
        patch.chdir(folder)
        yield folder


def feature_audit(*words: str) -> int:
    """Run ``feature-audit ...``; returns the exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["feature-audit", *words])
        try:
            cli.entry()
        except SystemExit as stop:
            return int(stop.code or 0)
    return 0


def parents() -> list[Run]:
    """Parent runs, newest first."""
    client = MlflowClient()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, order_by=["attributes.start_time DESC"])
    return [run for run in runs if "mlflow.parentRunId" not in run.data.tags]


def newest_run() -> Run:
    """Parent run that was started last, with or without a verdict."""
    return parents()[0]


def newest_audit() -> Run:
    """Parent run of the audit that was started last."""
    return next(run for run in parents() if "audit.verdict" in run.data.tags)


def artifact(run: Run, name: str) -> Path:
    """A local copy of one artifact."""
    return Path(MlflowClient().download_artifacts(run.info.run_id, name))

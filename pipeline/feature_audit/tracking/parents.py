"""The parent run of a new audit, and what is recorded on it and on its experiment at the start."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from feature_audit.errors import UsageError
from feature_audit.tracking.connection import answers_soon, is_missing, store_problem
from feature_audit.tracking.processes import has_ended, this_process
from feature_audit.tracking.runs import DESCRIPTION, PROCESS, Run, error_note

log = logging.getLogger(__name__)

_KIND = "mlflow.experimentKind"  # without it the UI opens the experiment in GenAI mode
_ABOUT = """Audits of feature sets: which of our features can production drop, and what is the evidence?

Every run here is one audit, named after its verdict; its stages are nested runs. Open a run and read the verdict in its
description, or the whole report under Artifacts, `report/index.html`. Recommended models are in the model registry
(switch the page to *Model training* to see it in the side bar).
"""
_KILLED = "the process was killed; the same command continues from the last finished stage"


def open_parent(experiment: str, name: str) -> Run:
    """The audit's parent run: the driver's run under `mlflow run`, else a new one in ``experiment``.

    Raises:
        UsageError: the environment names a run that is not in the tracking store.
        AuditError: the tracking store does not respond, or refuses.
    """
    with answers_soon(f"experiment={experiment}"):
        return _open_parent(experiment, name)


def _open_parent(experiment: str, name: str) -> Run:
    import mlflow
    from mlflow import MlflowClient
    from mlflow.tracking.context.registry import resolve_tags

    client = MlflowClient()
    run_id = os.environ.get("MLFLOW_RUN_ID")
    if run_id:
        found = client.get_experiment(_existing(client, run_id).info.experiment_id)
        if experiment not in (found.name, "feature-audit"):
            log.warning(
                "experiment=%s: `mlflow run` already put this run into experiment %s; "
                "use `mlflow run --experiment-name %s`",
                experiment, found.name, experiment,
            )  # fmt: skip
        parent = Run(run_id)
        parent.rename(name)
    else:
        found = mlflow.set_experiment(experiment)
        parent = Run(client.create_run(found.experiment_id, run_name=name, tags=resolve_tags()).info.run_id)
    parent.tag({PROCESS: this_process()})
    _end_what_was_killed(client, found.experiment_id)
    _describe_experiment(found)
    _record_source(parent)
    return parent


def _end_what_was_killed(client: Any, experiment_id: str) -> None:
    """Mark runs of this host as killed if their process is gone; killed processes cannot do so themselves."""
    for run in client.search_runs([experiment_id], "attributes.status = 'RUNNING'"):
        if has_ended(run.data.tags.get(PROCESS, "")):
            killed = Run(run.info.run_id)
            if "mlflow.parentRunId" not in run.data.tags and not killed.has_verdict:
                killed.tag({"audit.verdict": "error"})
                killed.describe(error_note(_KILLED))
            killed.end("KILLED")


def _existing(client: Any, run_id: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if not is_missing(error):
            raise
        raise UsageError(
            f"MLFLOW_RUN_ID={run_id}: {store_problem(error)}; unset MLFLOW_RUN_ID, or set MLFLOW_TRACKING_URI to the "
            "store that contains this run"
        ) from None


def _describe_experiment(found: Any) -> None:
    """Describe the runs on the experiment's page; an existing description is kept."""
    from mlflow import MlflowClient

    if found.name == "Default":  # where `mlflow run` puts all runs without an experiment
        return
    client = MlflowClient()
    for key, value in ((_KIND, "custom_model_development"), (DESCRIPTION, _ABOUT)):
        if key not in found.tags:
            client.set_experiment_tag(found.experiment_id, key, value)


def _record_source(run: Run) -> None:
    """Tag whether the source tree was dirty; MLflow records only the commit."""
    import subprocess

    here = Path(__file__).parent
    try:
        state = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no", "."],
            cwd=here, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return
    run.tag({"audit.source_dirty": bool(state.stdout.strip())})

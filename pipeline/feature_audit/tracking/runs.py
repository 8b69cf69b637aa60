"""Runs: an audit is one parent run with a nested run per stage and a child run per search trial.

Under ``mlflow run`` the parent is the run that the driver made; otherwise it is made in the configured experiment.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from feature_audit.errors import AuditError

log = logging.getLogger(__name__)

_DESCRIPTION = "mlflow.note.content"
_KIND = "mlflow.experimentKind"  # without it the UI opens the experiment in GenAI mode
_TAG_LIMIT = 7_900


def connect() -> None:
    """Point MLflow at its store: the environment's, else ``mlflow.db`` in the current folder (never ./mlruns)."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    # Importing MLflow resets these to INFO; a new store would then print a line per migration.
    for chatty in ("alembic", "mlflow"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        mlflow.set_tracking_uri(f"sqlite:///{Path.cwd() / 'mlflow.db'}")


def tag_error(message: str) -> None:
    """Tag the run that `mlflow run` made with a mistake found before the audit opened it; a no-op elsewhere."""
    run_id = os.environ.get("MLFLOW_RUN_ID")
    if not run_id:
        return
    connect()
    from mlflow import MlflowClient

    client = MlflowClient()
    client.set_tag(run_id, "audit.verdict", "error")
    client.set_tag(run_id, _DESCRIPTION, f"**error**: {message}"[:_TAG_LIMIT])


class Run:
    """One MLflow run; logs through a client, so that nested runs never depend on a global "active run"."""

    def __init__(self, run_id: str) -> None:
        from mlflow import MlflowClient

        self.id = run_id
        self._client = MlflowClient()

    def tag(self, tags: Mapping[str, Any]) -> None:
        """Set tags; long values are cut at MLflow's limit."""
        for key, value in tags.items():
            self._client.set_tag(self.id, key, str(value)[:_TAG_LIMIT])

    def untag(self, key: str) -> None:
        """Remove a tag."""
        self._client.delete_tag(self.id, key)

    def describe(self, markdown: str) -> None:
        """Set the run's description, rendered by the UI."""
        self._client.set_tag(self.id, _DESCRIPTION, markdown[:_TAG_LIMIT])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log metrics in one batch."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        batch = [Metric(key, float(value), now, step) for key, value in values.items()]
        for start in range(0, len(batch), 1000):
            self._client.log_batch(self.id, metrics=batch[start : start + 1000])

    def history(self, rows: list[dict[str, Any]], prefix: str) -> None:
        """Log one value per epoch of every number in ``rows``; the step is the row's place."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        batch = [
            Metric(f"{prefix}/{key}", float(value), now, step)
            for step, row in enumerate(rows)
            for key, value in row.items()
            if isinstance(value, int | float) and key != "epoch"
        ]
        for start in range(0, len(batch), 1000):
            self._client.log_batch(self.id, metrics=batch[start : start + 1000])

    def params(self, values: Mapping[str, Any]) -> None:
        """Log parameters in one batch; the driver's own names are never touched (use a prefix)."""
        from mlflow.entities import Param

        self._client.log_batch(self.id, params=[Param(key, str(value)[:5_900]) for key, value in values.items()])

    def text(self, content: str, artifact: str) -> None:
        """Store text as an artifact."""
        self._client.log_text(self.id, content, artifact)

    def file(self, path: Path, folder: str) -> None:
        """Store a file under an artifact folder."""
        self._client.log_artifact(self.id, str(path), folder)

    def dataset(self, *, name: str, source: str, digest: str, rows: int, features: int) -> None:
        """Record the lineage of the data (its own digest: MLflow's ignores column names and row order)."""
        from mlflow.data.dataset_source_registry import resolve_dataset_source
        from mlflow.data.meta_dataset import MetaDataset
        from mlflow.entities import DatasetInput, InputTag

        with warnings.catch_warnings():
            # "can be interpreted in multiple ways": two of MLflow's own readers for local paths, either will do
            warnings.simplefilter("ignore", UserWarning)
            dataset = MetaDataset(resolve_dataset_source(source), name=name, digest=digest[:36])
        tags = [
            InputTag("mlflow.data.context", "audit"),
            InputTag("rows", str(rows)),
            InputTag("features", str(features)),
        ]
        self._client.log_inputs(self.id, datasets=[DatasetInput(dataset._to_mlflow_entity(), tags)])

    def read_text(self, artifact: str) -> str:
        """An artifact's text.

        Raises:
            AuditError: the run holds no such artifact.
        """
        import tempfile

        from mlflow.exceptions import MlflowException

        with tempfile.TemporaryDirectory() as folder:
            try:
                path = self._client.download_artifacts(self.id, artifact, folder)
            except (MlflowException, OSError):
                raise AuditError(f"run {self.id} holds no {artifact}; is it the parent run of an audit?") from None
            return Path(path).read_text(encoding="utf-8")

    def tags(self) -> dict[str, str]:
        """All tags of the run."""
        return dict(self._client.get_run(self.id).data.tags)

    def end(self, status: str) -> None:
        """Mark the run FINISHED, FAILED or KILLED."""
        self._client.set_terminated(self.id, status)

    @contextmanager
    def child(self, name: str, tags: Mapping[str, Any] | None = None) -> Iterator[Run]:
        """A nested run that ends FINISHED, or FAILED / KILLED with the exception that passed through."""
        child = self.start_child(name, tags)
        try:
            yield child
        except AuditError as error:
            child.describe(f"**error**: {error}")
            child.end("FAILED")
            raise
        except (KeyboardInterrupt, SystemExit):
            child.end("KILLED")
            raise
        except BaseException:
            child.end("FAILED")
            raise
        child.end("FINISHED")

    def start_child(self, name: str, tags: Mapping[str, Any] | None = None) -> Run:
        """A nested run that the caller ends."""
        experiment = self._client.get_run(self.id).info.experiment_id
        run = self._client.create_run(
            experiment,
            run_name=name,
            tags={"mlflow.parentRunId": self.id, **{k: str(v) for k, v in (tags or {}).items()}},
        )
        return Run(run.info.run_id)


def find_run(run_id: str) -> Run:
    """An existing run.

    Raises:
        AuditError: there is none with this id.
    """
    connect()
    from mlflow.exceptions import MlflowException

    run = Run(run_id)
    try:
        run.tags()
    except MlflowException:
        raise AuditError(
            f"audit={run_id}: no such run in this tracking store; copy the id from the MLflow UI"
        ) from None
    return run


def driver_run() -> Run | None:
    """The run that `mlflow run` made for this command, or None outside of it."""
    run_id = os.environ.get("MLFLOW_RUN_ID")
    return Run(run_id) if run_id else None


def open_parent(experiment: str, name: str) -> Run:
    """The audit's parent run: the driver's under `mlflow run`, else a new one in ``experiment``."""
    connect()
    import mlflow
    from mlflow import MlflowClient

    client = MlflowClient()
    run_id = os.environ.get("MLFLOW_RUN_ID")
    if run_id:
        found = client.get_experiment(client.get_run(run_id).info.experiment_id)
        if experiment not in (found.name, "feature-audit"):
            log.warning(
                "experiment=%s: `mlflow run` already put this run into experiment %s; "
                "use `mlflow run --experiment-name %s`",
                experiment, found.name, experiment,
            )  # fmt: skip
        parent = Run(run_id)
    else:
        found = mlflow.set_experiment(experiment)
        parent = Run(client.create_run(found.experiment_id, run_name=name).info.run_id)
    if _KIND not in found.tags:
        client.set_experiment_tag(found.experiment_id, _KIND, "custom_model_development")
    _record_source(parent)
    return parent


def _record_source(run: Run) -> None:
    """The commit and whether the tree was dirty (MLflow notes the first and not the second)."""
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

"""Runs: an audit is one parent run with a nested run per stage and a child run per search trial.

Under ``mlflow run`` the parent is the run that the driver made; otherwise it is made in the configured experiment.
"""

from __future__ import annotations

import json
import logging
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from feature_audit.errors import AuditError
from feature_audit.masking import masked
from feature_audit.tracking.connection import answers_soon, is_missing, quietly
from feature_audit.tracking.dataset_schema import dataset_schema
from feature_audit.tracking.processes import this_process

log = logging.getLogger(__name__)

DESCRIPTION = "mlflow.note.content"
PROCESS = "audit.process"  # host, process number and start, so that a later audit can tell that it was killed
_TAG_LIMIT = 7_900
_PARAM_LIMIT = 500  # longer values are refused by older servers and unreadable in a column
_SCHEMA_LIMIT = 1_000_000  # MLflow takes 2^20 - 1 characters
_BATCH = 100  # parameters that a server takes at once


def tag_error(message: str) -> None:
    """Tag the run that `mlflow run` made with a mistake found before the audit opened it; a no-op elsewhere."""
    run_id = os.environ.get("MLFLOW_RUN_ID")
    if not run_id:
        return
    try:
        with answers_soon(f"MLFLOW_RUN_ID={run_id}"):
            run = Run(run_id)
            if not run.has_verdict:
                run.tag({"audit.verdict": "error"})
                run.describe(error_note(message))
    except AuditError:  # no such run, or no such server: the line on stderr says what is wrong
        log.debug("the error could not be recorded on run %s", run_id)


def error_note(message: str) -> str:
    """The Markdown of a run that ended with an error: its text and nothing that the text could make of the page."""
    from feature_audit.report import escape

    return f"**error**: {escape(masked(message))}"


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

    def rename(self, name: str) -> None:
        """Set the run's name, also over the one that `mlflow run` drew."""
        self._client.update_run(self.id, name=name[:250])

    def describe(self, markdown: str) -> None:
        """Set the run's description, rendered by the UI."""
        self._client.set_tag(self.id, DESCRIPTION, markdown[:_TAG_LIMIT])

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
        """Log parameters that the run does not have yet: MLflow refuses to change one.

        The driver's own names are never touched (use a prefix); long values are cut.
        """
        from mlflow.entities import Param

        known = self._client.get_run(self.id).data.params
        new = [Param(key, str(value)[:_PARAM_LIMIT]) for key, value in values.items() if key not in known]
        for start in range(0, len(new), _BATCH):
            self._client.log_batch(self.id, params=new[start : start + _BATCH])

    def text(self, content: str, artifact: str) -> None:
        """Store text as an artifact."""
        self._client.log_text(self.id, content, artifact)

    def file(self, path: Path, folder: str) -> None:
        """Store a file under an artifact folder."""
        self._client.log_artifact(self.id, str(path), folder)

    def dataset(
        self,
        *,
        name: str,
        source: str,
        digest: str,
        rows: int,
        features: int,
        columns: Mapping[str, str],
        profile: Mapping[str, Any],
    ) -> None:
        """Record the lineage of the data (its own digest: MLflow's ignores column names and row order).

        Args:
            name, source, digest: of the table; ``rows``, ``features``: how many.
            columns: name -> Polars dtype as text; left out where the table is wider than MLflow takes.
            profile: further figures, plain values.
        """
        from mlflow.data.dataset_source_registry import resolve_dataset_source
        from mlflow.entities import Dataset, DatasetInput, InputTag

        with warnings.catch_warnings():
            # "can be interpreted in multiple ways": two of MLflow's own readers for local paths, either will do
            warnings.simplefilter("ignore", UserWarning)
            origin = resolve_dataset_source(source)
        schema = json.dumps({"mlflow_colspec": dataset_schema(columns).to_dict()})
        dataset = Dataset(
            name=name,
            digest=digest[:36],
            source_type=origin._get_source_type(),
            source=origin.to_json(),
            schema=schema if len(schema) < _SCHEMA_LIMIT else None,
            profile=json.dumps({"num_rows": rows, "num_features": features, **profile}),
        )
        tags = [
            InputTag("mlflow.data.context", "audit"),
            InputTag("rows", str(rows)),
            InputTag("features", str(features)),
        ]
        self._client.log_inputs(self.id, datasets=[DatasetInput(dataset, tags)])

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
                raise AuditError(f"run {self.id} has no {artifact}; is it the parent run of an audit?") from None
            return Path(path).read_text(encoding="utf-8")

    def tags(self) -> dict[str, str]:
        """All tags of the run."""
        return dict(self._client.get_run(self.id).data.tags)

    def beside(self, tag: str, value: str) -> list[dict[str, str]]:
        """Tags of the runs of the same experiment, this one included, that carry a tag with a value, oldest first."""
        experiment = self._client.get_run(self.id).info.experiment_id
        found = self._client.search_runs(
            [experiment], f"tags.`{tag}` = '{value}'", order_by=["attributes.start_time ASC"], max_results=1000
        )
        return [dict(run.data.tags) for run in found]

    @property
    def has_verdict(self) -> bool:
        """Did an audit come to pass, fail or inconclusive on this run?"""
        return self.tags().get("audit.verdict", "error") != "error"

    @property
    def is_running(self) -> bool:
        """Was the run not ended yet?"""
        return bool(self._client.get_run(self.id).info.status == "RUNNING")

    def end(self, status: str) -> None:
        """Mark the run FINISHED, FAILED or KILLED."""
        self._client.set_terminated(self.id, status)

    @contextmanager
    def child(self, name: str, tags: Mapping[str, Any] | None = None) -> Iterator[Run]:
        """A nested run that ends FINISHED, or FAILED / KILLED with the exception that passed through."""
        child = self.start_child(name, tags)
        try:
            yield child
        except BaseException as error:
            with quietly():
                if isinstance(error, AuditError):
                    child.describe(error_note(str(error)))
                child.end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        child.end("FINISHED")

    def start_child(self, name: str, tags: Mapping[str, Any] | None = None) -> Run:
        """A nested run that the caller ends."""
        experiment = self._client.get_run(self.id).info.experiment_id
        run = self._client.create_run(
            experiment,
            run_name=name,
            tags={
                "mlflow.parentRunId": self.id,
                PROCESS: this_process(),
                **{k: str(v) for k, v in (tags or {}).items()},
            },
        )
        return Run(run.info.run_id)


def find_run(run_id: str) -> Run:
    """An existing run.

    Raises:
        AuditError: there is none with this id, or the tracking store does not answer.
    """
    from mlflow.exceptions import MlflowException

    with answers_soon(f"audit={run_id}"):
        run = Run(run_id)
        try:
            run.tags()
        except MlflowException as error:
            if not is_missing(error):
                raise
            raise AuditError(
                f"audit={run_id}: no such run in this tracking store; copy the id from the MLflow UI"
            ) from None
    return run


def driver_run() -> Run | None:
    """The run that `mlflow run` made for this command, or None outside of it."""
    run_id = os.environ.get("MLFLOW_RUN_ID")
    return Run(run_id) if run_id else None

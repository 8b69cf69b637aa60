"""Runs: an audit is one parent run with one nested run per stage and one child run per selection trial.

Under ``mlflow run`` the parent is the driver's run; otherwise it is created in the configured experiment.
"""

from __future__ import annotations

import json
import logging
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from feature_audit.errors import AuditError
from feature_audit.masking import masked
from feature_audit.tracking.connection import answers_soon, is_missing, quietly
from feature_audit.tracking.dataset_schema import dataset_schema
from feature_audit.tracking.processes import this_process

log = logging.getLogger(__name__)

DESCRIPTION = "mlflow.note.content"
PROCESS = "audit.process"  # host, pid and start, so that a later audit can detect that the process was killed
_TAG_LIMIT = 7_900
_PARAM_LIMIT = 500  # longer values are refused by older servers and unreadable in a column
_SCHEMA_LIMIT = 1_000_000  # MLflow's limit is 2^20 - 1 characters
_BATCH = 100  # maximum number of parameters per request


def tag_error(message: str) -> None:
    """Tag the run of `mlflow run` with an error found before the audit opened it; without such a run, do nothing."""
    run_id = os.environ.get("MLFLOW_RUN_ID")
    if not run_id:
        return
    try:
        with answers_soon(f"MLFLOW_RUN_ID={run_id}"):
            run = Run(run_id)
            if not run.has_verdict:
                run.tag({"audit.verdict": "error"})
                run.describe(error_note(message))
    except AuditError:  # no such run or server; stderr has the message
        log.debug("the error could not be recorded on run %s", run_id)


def error_note(message: str) -> str:
    """Markdown description of a run that ended with an error; the message is escaped."""
    from feature_audit.report import escape

    return f"**error**: {escape(masked(message))}"


class Run:
    """One MLflow run; logs through a client, so that nested runs never depend on a global "active run"."""

    def __init__(self, run_id: str) -> None:
        from mlflow import MlflowClient

        self.id = run_id
        self._client = MlflowClient()

    @cached_property
    def _experiment(self) -> str:
        """Id of its experiment, which a run never leaves."""
        return str(self._client.get_run(self.id).info.experiment_id)

    def tag(self, tags: Mapping[str, Any]) -> None:
        """Set tags; long values are cut at MLflow's limit."""
        for key, value in tags.items():
            self._client.set_tag(self.id, key, str(value)[:_TAG_LIMIT])

    def rename(self, name: str) -> None:
        """Set the run's name, replacing the random one of `mlflow run`."""
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
        """Log every number in ``rows`` as one value per epoch; the step is the row's index."""
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
        """Log parameters that the run does not have yet, because MLflow does not allow changing one.

        The driver's names are never touched (use a prefix); long values are cut.
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
        """Record the data's lineage (with our digest, because MLflow's ignores column names and row order).

        Args:
            name, source, digest: of the table; ``rows``, ``features``: their numbers.
            columns: name -> Polars dtype as text; omitted if the table is wider than MLflow supports.
            profile: further figures, plain values.
        """
        from mlflow.data.dataset_source_registry import resolve_dataset_source
        from mlflow.entities import Dataset, DatasetInput, InputTag

        with warnings.catch_warnings():
            # "can be interpreted in multiple ways": MLflow has two readers for local paths; either works
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
        """The text of an artifact.

        Raises:
            AuditError: the run has no such artifact.
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

    def tags_of_siblings(self, tag: str, value: str) -> list[dict[str, str]]:
        """Tags of the runs of the same experiment, including this one, with this tag value, oldest first."""
        found = self._client.search_runs(
            [self._experiment], f"tags.`{tag}` = '{value}'", order_by=["attributes.start_time ASC"], max_results=1000
        )
        return [dict(run.data.tags) for run in found]

    @property
    def has_verdict(self) -> bool:
        """Whether an audit on this run ended with pass, fail or inconclusive."""
        return self.tags().get("audit.verdict", "error") != "error"

    @property
    def is_running(self) -> bool:
        """Whether the run has not ended yet."""
        return bool(self._client.get_run(self.id).info.status == "RUNNING")

    def end(self, status: str) -> None:
        """Mark the run FINISHED, FAILED or KILLED."""
        self._client.set_terminated(self.id, status)

    @contextmanager
    def child(self, name: str, tags: Mapping[str, Any] | None = None) -> Iterator[Run]:
        """A nested run that ends FINISHED, or FAILED / KILLED if an exception is raised."""
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
        run = self._client.create_run(
            self._experiment,
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
        AuditError: no run has this id, or the tracking store does not respond.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    with answers_soon(f"audit={run_id}"):
        run = Run(run_id)
        try:
            run.tags()
        except MlflowException as error:
            if not is_missing(error):
                raise
            raise AuditError(
                f"audit={run_id}: no such run in {masked(mlflow.get_tracking_uri())}; copy the id from the MLflow UI, "
                "or set MLFLOW_TRACKING_URI to the store of that run"
            ) from None
    return run


def driver_run() -> Run | None:
    """The run created by `mlflow run` for this command, or None outside of it."""
    run_id = os.environ.get("MLFLOW_RUN_ID")
    return Run(run_id) if run_id else None

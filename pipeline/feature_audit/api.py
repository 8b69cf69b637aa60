"""Audits and verdicts from Python: ``feature_audit.audit`` and ``feature_audit.parity``.

They do the same as the command line and the MLflow evaluator, on data that is already in memory. No server is needed:
runs go to ``MLFLOW_TRACKING_URI`` or ``mlflow.set_tracking_uri``, otherwise to ``mlflow.db`` in the current folder.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import polars as pl

from feature_audit.config import DEFAULT_METRIC, margin_of_scores
from feature_audit.config.files import load_config
from feature_audit.errors import AuditError, UsageError
from feature_audit.labels import read_label
from feature_audit.results import AuditReport
from feature_audit.schema import Task

if TYPE_CHECKING:
    import pandas as pd

    from feature_audit.noninferiority import ParityResult

    Frame: TypeAlias = pl.DataFrame | pl.LazyFrame | pd.DataFrame


@dataclass(frozen=True)
class Audit:
    """A finished audit, which displays its report in a notebook.

    Attributes:
        verdict: ``pass``, ``fail`` or ``inconclusive``.
        report: the content of the report, as plain data.
        run_id: MLflow run of the audit.
    """

    verdict: str
    report: AuditReport = field(repr=False)
    run_id: str

    @property
    def sentence(self) -> str:
        """The verdict with its numbers, in one sentence."""
        from feature_audit.report import verdict_sentence

        return verdict_sentence(self.report)

    @property
    def k(self) -> int:
        """The smallest proven number of features or, without a pass, the first one tested."""
        return self.report.k

    @property
    def kept(self) -> list[str]:
        """Kept features, most valuable first. Without a pass they were tested but are not recommended."""
        return [row.feature for row in self.report.decisions if row.decision == "keep"]

    @property
    def ranking(self) -> pl.DataFrame:
        """One row per column of the log: feature, rank, score, selection_frequency, decision, reason, ..."""
        return pl.DataFrame([asdict(row) for row in self.report.decisions], infer_schema_length=None)

    @property
    def curve(self) -> pl.DataFrame:
        """Validation quality over K: k, metric, delta to the full model, source, std_error of delta."""
        return pl.DataFrame([asdict(point) for point in self.report.curve], infer_schema_length=None)

    @property
    def html(self) -> str:
        """The report as one self-contained page."""
        from feature_audit.report import render_html

        return render_html(self.report)

    def promote(self, *, force: bool = False, reason: str | None = None) -> str:
        """Move the alias ``production`` to the version that this audit registered.

        Returns:
            A one-line confirmation.

        Raises:
            UsageError: the audit registered no version, because it did not pass.
            AuditError: the registry refuses; see ``feature-audit promote``.
        """
        from feature_audit.orchestration.promotion import promote

        if self.report.recommendation is None:
            raise UsageError(f"verdict={self.verdict}: no version was registered, so there is nothing to promote")
        name, version = self.report.recommendation.removeprefix("models:/").rsplit("/", 1)
        return promote(name, version, force=force, reason=reason)

    def _repr_html_(self) -> str:
        """The report in a frame, which isolates its styles and scripts."""
        from html import escape

        return f'<iframe srcdoc="{escape(self.html)}" style="width: 100%; height: 720px; border: 0"></iframe>'


def audit(
    data: Frame | Path | str,
    target: str | None = None,
    *,
    model: str | Callable[..., Any] | None = None,
    config: str | Path | None = None,
    **keys: Any,
) -> Audit:
    """Audit a log: which of its features can production drop?

    Examples:
        >>> result = audit("log.parquet", target="clicked", time="ts", group="user_id", k=40)  # doctest: +SKIP
        >>> result.verdict, result.k, result.kept[:3]  # doctest: +SKIP
        ('pass', 12, ['price', 'item_id', 'hour'])

    Args:
        data: a Polars or pandas frame, or any value of ``data`` on the command line. A frame is written to
            ``work_dir`` once; the same frame continues the same audit.
        target: label column or expression.
        model: name of a built-in model, ``package.module:factory``, or the factory itself if it can be imported.
        config: YAML file(s), as on the command line.
        keys: every other key of the configuration, see ``feature-audit run --help``.

    Raises:
        UsageError: an unknown key or an invalid value.
        AuditError: any other error that the user can fix; the run then has the verdict ``error``.
    """
    given = {**keys, "target": target, "model": _named(model)}
    files = None if config is None else str(config)
    if isinstance(data, str | Path):
        checked = load_config(files, {**given, "data": str(data)})
    else:
        work_dir = Path(load_config(files, given).work_dir)  # checks the keys before a row is written
        checked = load_config(files, {**given, "data": str(_written(data, work_dir / "frames"))})
    from feature_audit.orchestration.run import run_audit

    end = run_audit(checked)
    if end.problem:
        raise AuditError(end.problem)
    assert end.verdict is not None
    assert end.report is not None
    return Audit(end.verdict, end.report, end.run_id)


def parity(
    y: Any,
    full: Any,
    pruned: Any,
    *,
    unit: Any = None,
    task: Task | None = None,
    positive: Any = None,
    metric: str | None = None,
    margin: float | None = None,
    **settings: Any,
) -> ParityResult:
    """Test whether the pruned model is non-inferior to the full one: the verdict of an audit for given scores.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> y = rng.integers(0, 2, 20_000)
        >>> full = y + rng.normal(size=20_000)
        >>> found = parity(y, full, full + 0.01 * rng.normal(size=20_000), margin=0.005)
        >>> found.verdict
        'pass'

    Args:
        y: (rows,) labels, interpreted as in an audit.
        full: (rows,) scores of the full model, or a list of such arrays, one per training. Probabilities, or any
            scores for ranking metrics (auc, gauc); values for regression; (rows, classes) for multiclass.
        pruned: the same for the pruned model. With one training of each, the verdict is about these two artifacts; with
            at least two of either, it covers retrainings.
        unit: (rows,) resampling unit of each row, e.g. the user; None = every row is a unit.
        task: ``binary``, ``regression`` or ``multiclass``; None = inferred from the labels.
        positive: the positive class, if it cannot be inferred from the labels.
        metric: decision metric; None = auc, r2 or accuracy, depending on the task.
        margin: non-inferiority margin in the units of the metric; None = 0.002 for metrics without a unit.
        settings: ``weight`` (rows,), ``confidence``, ``guards``, ``slices``, ``slice_margin``, ``slice_mode``,
            ``against``, ``draws``, ``seed`` of ``decide``.

    Raises:
        UsageError: an invalid setting.
        AuditError: labels or scores that cannot be compared.
    """
    from feature_audit.noninferiority import decide

    read = read_label(pl.Series("y", np.asarray(y)), shown="y", task=task, positive=positive)
    chosen = metric or DEFAULT_METRIC[read.task]
    cluster = None if unit is None else np.unique(np.asarray(unit).astype(str), return_inverse=True)[1]
    return decide(
        y=np.asarray(y, dtype=np.float64) if read.task == "regression" else read.values,
        baseline=_trainings(full, read.task),
        pruned=_trainings(pruned, read.task),
        cluster=cluster,
        cluster_name="rows" if unit is None else "units",
        task=read.task,
        metric=chosen,
        margin=margin_of_scores(chosen, margin),
        **settings,
    )


def _trainings(scores: Any, task: Task) -> np.ndarray:
    """(trainings, rows[, classes]) from one training's scores or several trainings'."""
    several = isinstance(scores, Sequence) and len(scores) > 0 and np.ndim(scores[0]) > 0
    arrays: np.ndarray = np.asarray([np.asarray(one) for one in scores] if several else scores, dtype=np.float64)
    wanted = 2 if task == "multiclass" else 1
    return arrays[None] if arrays.ndim == wanted else arrays


def _named(model: str | Callable[..., Any] | None) -> str | None:
    """``package.module:factory`` of a factory, so that trainings in other processes and a later load find it.

    Raises:
        UsageError: it is defined in the notebook or inside a function.
    """
    if model is None or isinstance(model, str):
        return model
    module, name = getattr(model, "__module__", "__main__"), getattr(model, "__qualname__", repr(model))
    if module == "__main__" or not name.isidentifier():
        raise UsageError(
            f"model={name}: it must be importable, so that the registered model can be loaded elsewhere; put it in a "
            "module and give the function or package.module:factory"
        )
    return f"{module}:{name}"


def _written(frame: Frame, folder: Path) -> Path:
    """The frame as a Parquet file with a name that depends on its content."""
    if not isinstance(frame, pl.DataFrame | pl.LazyFrame):
        frame = pl.from_pandas(frame)
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder, suffix=".parquet")
    os.close(handle)
    try:
        frame.lazy().sink_parquet(name)
        with Path(name).open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()
        return Path(name).replace(folder / f"{digest}.parquet")
    finally:
        Path(name).unlink(missing_ok=True)

"""MLflow evaluator ``parity``: the audit's verdict for any two models or prediction columns, without the pipeline.

This module imports mlflow at the top because it is an MLflow plugin, found through the entry point group
``mlflow.model_evaluator``.

    mlflow.models.evaluate(
        data=frame, targets="clicked", predictions="pruned", model_type="classifier",
        evaluators="parity", evaluator_config={"baseline": "full", "unit": "user_id", "margin": 0.002},
    )

``baseline`` is a column of the data or a model URI; a list names several trainings. ``retrainings`` are further
trainings of the evaluated model. With at least two trainings of either model, the verdict covers seed noise; with one
each, it applies to these two artifacts only and says so. Labels are read as in the pipeline; ``positive`` names the
positive class if the values do not show which one it is.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any, cast

import mlflow
import numpy as np
import pandas as pd
import polars as pl
from mlflow.models.evaluation import EvaluationResult, ModelEvaluator
from mlflow.models.evaluation.artifacts import JsonEvaluationArtifact

from feature_audit.config import DEFAULT_METRIC, margin_of_scores
from feature_audit.errors import AuditError, UsageError
from feature_audit.labels import Target, read_label
from feature_audit.noninferiority.chance import against_chance
from feature_audit.schema import Task
from feature_audit.tracking.parity_metrics import legal_name, parity_metrics

log = logging.getLogger(__name__)

SETTINGS = ("metric", "margin", "confidence", "guards", "slice_margin", "slice_mode", "draws", "seed")
COLUMNS = ("baseline", "retrainings", "unit", "weight", "slices")
KEYS = (*COLUMNS, "task", "positive", *SETTINGS)
MODEL_TYPES = ("classifier", "regressor")
ARTIFACT = "parity.json"


class ParityEvaluator(ModelEvaluator):
    """Compares the evaluated model (or predictions) with a baseline on the same rows.

    ``evaluator_config``: ``baseline`` (required), ``retrainings``, ``unit``, ``weight`` (column of row weights),
    ``slices``, ``task``, ``positive`` (value of the positive class), and the keyword arguments
    ``metric``, ``margin``, ``confidence``, ``guards``, ``slice_margin``, ``slice_mode``, ``draws``, ``seed`` of
    ``feature_audit.noninferiority.decide``. Logs the tags
    ``audit.verdict``, ``audit.sentence`` and ``audit.positive``, the metrics ``parity/<metric>.delta``, ``.ci_low``,
    ``.ci_high``, ``.baseline``, ``.pruned`` (for slices the first three: ``parity/<metric>_at_<slice>``) and
    ``parity/passed`` (1 or 0, for ``mlflow.validate_evaluation_results``), and the artifact ``parity.json``.
    """

    @classmethod
    def can_evaluate(cls, *, model_type: str, evaluator_config: Mapping[str, Any], **kwargs: Any) -> bool:
        """Only if the configuration requests it, so that installing this package does not affect other evaluations."""
        return model_type in MODEL_TYPES and any(key in (evaluator_config or {}) for key in COLUMNS)

    def evaluate(  # type: ignore[no-untyped-def]
        self, *, model_type: str, dataset, run_id: str, evaluator_config, model=None, predictions=None, **kwargs
    ) -> EvaluationResult:
        """Compute the verdict and log it to the run.

        Raises:
            UsageError: a key, column or baseline is missing or unknown.
            AuditError: labels or scores are not comparable, or both models rank the positive class below chance.
        """
        from feature_audit.noninferiority import decide

        config = dict(evaluator_config)
        _check_keys(config)
        frame = _frame(dataset)
        target = _labels(dataset, model_type, config)
        reader = _Scores(frame, target, config, (predictions, dataset.targets_name))
        own = reader.array(dataset.predictions_data) if model is None else reader.predict(model)
        pruned = np.stack([own, *(reader.read(name) for name in _listed(config.get("retrainings")))])
        baseline = np.stack([reader.read(name) for name in _listed(config["baseline"])])
        cluster = _column(frame, config["unit"], "unit") if config.get("unit") else None
        weight = _column(frame, config["weight"], "weight") if config.get("weight") else None
        metric = str(config.get("metric") or DEFAULT_METRIC[target.task])
        result = decide(
            y=target.values,
            baseline=baseline,
            pruned=pruned,
            cluster=None if cluster is None else np.unique(cluster.astype(str), return_inverse=True)[1],
            weight=weight,
            slices={name: _column(frame, name, "slices") for name in _listed(config.get("slices"))},
            cluster_name=f"{config['unit']} values" if cluster is not None else "rows",
            **{
                **{key: config[key] for key in SETTINGS if key in config},
                "task": target.task,
                "metric": metric,
                "margin": margin_of_scores(metric, config.get("margin")),
            },
        )
        _check_direction(target, (baseline, pruned), config, weight)
        return _log(run_id, result, target)


class _Scores:
    """Reads the score arrays of one target from columns of the data, models and model URIs."""

    def __init__(
        self, frame: pd.DataFrame, target: Target, config: Mapping[str, Any], outputs: Iterable[str | None]
    ) -> None:
        self.frame, self.target, self.outputs = frame, target, tuple(outputs)
        named = [name for key in ("baseline", "retrainings") for name in _listed(config.get(key))]
        named += _listed(config.get("weight"))
        # Columns of scores and weights are not features of the model under evaluation.
        self.features = frame.drop(columns=[name for name in named if name in frame.columns])

    def read(self, name: str) -> np.ndarray:
        """(rows,) or (rows, classes) scores of a column or a model URI."""
        if name in self.frame.columns:
            return self.array(self.frame[name].to_numpy())
        if ":/" in name:
            return self.predict(mlflow.pyfunc.load_model(name))
        near = ", ".join(map(str, self.frame.columns[:12]))
        raise UsageError(
            f"baseline or retrainings={name!r}: neither a column of the data ({near}, ...) nor a model URI"
        )

    def predict(self, model: Any) -> np.ndarray:
        """Scores of a pyfunc model; with several output columns, the one named by ``predictions`` or like the label."""
        found = model.predict(self.features)
        if isinstance(found, pd.DataFrame):
            found = next((found[name] for name in self.outputs if name in found.columns), found)
        return self.array(found.to_numpy() if isinstance(found, (pd.DataFrame, pd.Series)) else np.asarray(found))

    def array(self, found: np.ndarray) -> np.ndarray:
        """Scores in the shape that ``decide`` takes, from arrays, columns of lists or two-class probabilities."""
        if found is None:
            raise UsageError("predictions: name the column with the evaluated scores, or give a model")
        scores = np.stack([np.asarray(cell, dtype=np.float64) for cell in found]) if found.dtype == object else found
        scores = np.asarray(scores, dtype=np.float64)
        if scores.ndim == 2 and scores.shape[1] == 1:
            scores = scores[:, 0]
        task, classes = self.target.task, self.target.classes
        if task == "binary" and scores.ndim == 2 and scores.shape[1] == 2:
            scores = scores[:, self.target.place_of_positive]
        wanted = 2 if task == "multiclass" else 1
        if scores.ndim != wanted:
            shape = f"(rows, {len(classes)})" if wanted == 2 else "(rows,)"
            raise UsageError(
                f"scores have shape {scores.shape}; task={task} needs {shape}: log the model with "
                "`pyfunc_predict_fn='predict_proba'`, or choose one output with `predictions`"
            )
        return scores


def _check_keys(config: Mapping[str, Any]) -> None:
    unknown = [key for key in config if key not in KEYS]
    if unknown:
        raise UsageError(f"evaluator_config: unknown key {unknown[0]}; choose from {', '.join(KEYS)}")
    if not _listed(config.get("baseline")):
        raise UsageError("evaluator_config: `baseline` is missing; name a column of the data or a model URI")


def _frame(dataset: Any) -> pd.DataFrame:
    data = dataset.features_data
    return data if isinstance(data, pd.DataFrame) else pd.DataFrame(data, columns=dataset.feature_names)


def _labels(dataset: Any, model_type: str, config: Mapping[str, Any]) -> Target:
    """The labels as the pipeline reads them; for a classifier they are classes even if numbers could be quantities."""
    task = config.get("task")
    if task not in (None, *DEFAULT_METRIC):
        raise UsageError(f"task={task}: choose {', '.join(DEFAULT_METRIC)}")
    shown = str(dataset.targets_name or "targets")
    try:
        label = cast(pl.Series, pl.from_pandas(pd.Series(np.asarray(dataset.labels_data).reshape(-1))))
    except (TypeError, ValueError) as error:  # pyarrow's errors for a column of mixed types
        raise AuditError(f"target={shown}: its values have different types ({' '.join(str(error).split())})") from None
    if task is None:
        task = "regression" if model_type == "regressor" else "binary" if label.n_unique() <= 2 else "multiclass"
    target = read_label(label, shown=shown, task=cast(Task, task), positive=config.get("positive"))
    if task == "regression":
        target = replace(target, values=label.cast(pl.Float64).to_numpy())  # not the store's float32
    if target.note:
        log.warning("parity: %s", target.note)
    return target


def _check_direction(
    target: Target, arms: Iterable[np.ndarray], config: Mapping[str, Any], weight: np.ndarray | None
) -> None:
    """Refuse two models that are both below chance, because the positive class is most likely wrong.

    Raises:
        AuditError: both arms' AUC is below 0.5, one of them beyond noise, and ``positive`` is not given.
    """
    if target.task != "binary" or config.get("positive") is not None:
        return
    found = [against_chance(target.values, arm, task="binary", metric="auc", weight=weight) for arm in arms]
    if all(one.value < 0.5 for one in found) and any(one.worse for one in found):
        negative, positive = target.classes
        raise AuditError(
            f"positive: both models rank the positive class {positive!r} below chance (AUC {found[0].value:.3f} and "
            f"{found[1].value:.3f}): is that the right class? give positive={negative}, or positive={positive} to "
            "confirm"
        )


def _listed(value: str | Iterable[str] | None) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


def _column(frame: pd.DataFrame, name: str, key: str) -> np.ndarray:
    if name not in frame.columns:
        raise UsageError(
            f"{key}={name}: the data have no such column; they have {', '.join(map(str, frame.columns[:12]))}"
        )
    return frame[name].to_numpy()


def _log(run_id: str, result: Any, target: Target) -> EvaluationResult:
    """Log the verdict as tag, metrics and artifact of the run."""
    metrics = {"parity/passed": float(result.verdict == "pass"), **parity_metrics(result.deltas)}
    for row in result.deltas:
        if row.slice == "all":
            name = f"parity/{legal_name(row.metric)}"
            metrics |= {f"{name}.baseline": row.baseline, f"{name}.pruned": row.pruned}
    content = json.loads(json.dumps(asdict(result)))
    client = mlflow.MlflowClient()
    for key, value in metrics.items():
        client.log_metric(run_id, key, value)
    client.set_tag(run_id, "audit.verdict", result.verdict)
    client.set_tag(run_id, "audit.sentence", result.sentence)
    if target.task == "binary":
        client.set_tag(run_id, "audit.positive", target.classes[1])
    client.log_dict(run_id, content, ARTIFACT)
    uri = f"{client.get_run(run_id).info.artifact_uri}/{ARTIFACT}"
    return EvaluationResult(metrics=metrics, artifacts={ARTIFACT: JsonEvaluationArtifact(uri, content)}, run_id=run_id)

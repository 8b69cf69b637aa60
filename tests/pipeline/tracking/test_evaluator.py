"""The MLflow evaluator: verdicts through ``mlflow.models.evaluate``, from columns and from models."""

from __future__ import annotations

import tomllib
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from feature_audit.errors import AuditError, UsageError
from feature_audit.noninferiority import decide
from feature_audit.tracking.evaluator import ParityEvaluator
from mlflow.models import MetricThreshold, infer_signature
from mlflow.models.evaluation.evaluator_registry import ModelEvaluatorRegistry, _model_evaluation_registry
from mlflow.models.evaluation.validation import ModelValidationFailedException
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import roc_auc_score
from stores import store_in

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module", autouse=True)
def tracking(tmp_path_factory):
    """A separate store, and the plugin, registered as by the installed entry point."""
    folder = tmp_path_factory.mktemp("mlflow")
    with store_in(folder):
        mlflow.create_experiment("parity", artifact_location=str(folder / "artifacts"))
        mlflow.set_experiment("parity")
        _model_evaluation_registry.register("parity", ParityEvaluator)
        yield


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(2000, 4)), columns=list("abcd"))
    table["user"] = [f"u{i}" for i in rng.integers(0, 300, 2000)]
    logit = 1.5 * table.a + table.b
    table["clicked"] = (rng.random(2000) < 1 / (1 + np.exp(-logit))).astype(int)
    for name in ("full", "pruned", "pruned_1", "pruned_2"):
        table[name] = 1 / (1 + np.exp(-logit - 0.1 * rng.normal(size=2000)))
    table["broken"] = 1 / (1 + np.exp(-table.b))
    return table


def evaluate(frame: pd.DataFrame, *, predictions: str | None = "pruned", **config: object):
    return mlflow.models.evaluate(
        data=frame,
        targets="clicked",
        predictions=predictions,
        model_type="classifier",
        evaluators="parity",
        evaluator_config=config,
    )


def test_guards_have_modes_and_slices_are_metrics_of_the_run(frame):
    frame["country"] = np.where(np.arange(2000) % 2 == 0, "N/L", "DE")
    guard = {"logloss": {"margin": 1e-9, "mode": "not_worse"}}
    with mlflow.start_run() as run:
        found = evaluate(frame, baseline="full", margin=0.05, guards=guard, slices=["country"])
    assert found.metrics["parity/passed"] == 0
    metrics = mlflow.MlflowClient().get_run(run.info.run_id).data.metrics
    assert {"parity/auc.delta", "parity/auc_at_country:N_L.ci_low", "parity/auc_at_country:DE.ci_high"} <= set(metrics)


def test_two_score_columns_give_the_verdict_of_decide(frame):
    with mlflow.start_run() as run:
        found = evaluate(frame, baseline="full", unit="user", margin=0.02, guards={"logloss": 0.02})
    own = decide(
        y=frame.clicked.to_numpy(),
        baseline=frame.full.to_numpy(),
        pruned=frame.pruned.to_numpy(),
        cluster=np.unique(frame.user, return_inverse=True)[1],
        task="binary",
        metric="auc",
        margin=0.02,
        guards={"logloss": 0.02},
    )
    assert own.verdict == "pass"
    assert found.metrics["parity/auc.delta"] == own.decision.delta
    assert found.metrics["parity/auc.ci_low"] == own.decision.ci_low
    assert found.metrics["parity/logloss.ci_high"] == own.deltas[1].ci_high
    stored = mlflow.get_run(run.info.run_id)
    assert stored.data.tags["audit.verdict"] == "pass"
    assert stored.data.metrics["parity/auc.ci_low"] == own.decision.ci_low
    assert "without seed variance" in stored.data.tags["audit.sentence"]
    content = mlflow.artifacts.load_dict(f"runs:/{run.info.run_id}/parity.json")
    assert content["decision"]["units"] == 300
    assert found.artifacts["parity.json"].content["verdict"] == "pass"


def test_retrainings_bring_seed_noise_into_the_interval(frame):
    alone = evaluate(frame, baseline="full", margin=0.02)
    several = evaluate(frame, baseline="full", margin=0.02, retrainings=["pruned_1", "pruned_2"])
    assert alone.artifacts["parity.json"].content["diagnostics"]["seeds"] == {"pruned": 1, "baseline": 1}
    content = several.artifacts["parity.json"].content
    assert content["diagnostics"]["seeds"] == {"pruned": 3, "baseline": 1}
    assert "3 retrainings" in content["sentence"]


def test_the_verdict_can_gate_mlflows_own_validation(frame):
    threshold = {"parity/passed": MetricThreshold(threshold=1.0, greater_is_better=True)}
    good, bad = (evaluate(frame, predictions=name, baseline="full", margin=0.02) for name in ("pruned", "broken"))
    mlflow.validate_evaluation_results(validation_thresholds=threshold, candidate_result=good)
    assert bad.artifacts["parity.json"].content["verdict"] == "fail"
    with pytest.raises(ModelValidationFailedException):
        mlflow.validate_evaluation_results(validation_thresholds=threshold, candidate_result=bad)


def test_a_model_is_compared_with_a_logged_one_on_the_features_of_each(frame):
    full = LogisticRegression().fit(frame[["a", "b", "c", "d"]], frame.clicked)
    uri = mlflow.sklearn.log_model(
        full,
        name="full",
        pyfunc_predict_fn="predict_proba",
        signature=infer_signature(frame[["a", "b", "c", "d"]]),
        pip_requirements=[],  # else MLflow spends seconds on inferring them
    ).model_uri
    verdicts = {}
    for columns in (["a", "b"], ["c"]):
        small = LogisticRegression().fit(frame[columns], frame.clicked)
        found = mlflow.models.evaluate(
            lambda data, small=small: small.predict_proba(data[small.feature_names_in_]),
            frame[["a", "b", "c", "d", "user", "clicked"]],
            targets="clicked",
            model_type="classifier",
            evaluators="parity",
            evaluator_config={"baseline": uri, "unit": "user", "margin": 0.01},
        )
        verdicts["".join(columns)] = found.artifacts["parity.json"].content["verdict"]
    assert verdicts == {"ab": "pass", "c": "fail"}


def test_regressors_and_many_classes(frame):
    rng = np.random.default_rng(1)
    frame["rating"] = frame.a + rng.normal(size=2000)
    fitted = LinearRegression().fit(frame[["a"]], frame.rating)
    frame["r_full"], frame["r_pruned"] = fitted.predict(frame[["a"]]), fitted.predict(frame[["a"]]) + 0.001
    result = mlflow.models.evaluate(
        data=frame,
        targets="rating",
        predictions="r_pruned",
        model_type="regressor",
        evaluators="parity",
        evaluator_config={"baseline": "r_full", "metric": "rmse", "margin": 0.01},
    )
    assert result.metrics["parity/passed"] == 1.0
    frame["kind"] = rng.choice(["x", "y", "z"], 2000)
    frame["kinds"] = list(rng.dirichlet(np.ones(3), 2000))
    frame["same_kinds"] = frame.kinds
    result = mlflow.models.evaluate(
        data=frame,
        targets="kind",
        predictions="kinds",
        model_type="classifier",
        evaluators="parity",
        evaluator_config={"baseline": "same_kinds", "metric": "logloss", "margin": 0.01},
    )
    assert result.metrics["parity/logloss.delta"] == 0.0


@pytest.mark.parametrize("metric", ["rmse", "mae", "RMSE"])
def test_a_metric_in_units_of_the_target_needs_a_margin(frame, metric):
    with pytest.raises(UsageError, match=f"margin: {metric} is in the units of the target; give the largest"):
        mlflow.models.evaluate(
            data=frame,
            targets="a",
            predictions="full",
            model_type="regressor",
            evaluators="parity",
            evaluator_config={"baseline": "pruned", "metric": metric},
        )


def test_being_installed_changes_no_other_evaluation(frame):
    assert not ParityEvaluator.can_evaluate(model_type="classifier", evaluator_config={})
    assert not ParityEvaluator.can_evaluate(model_type="text", evaluator_config={"baseline": "full"})
    assert ParityEvaluator.can_evaluate(model_type="regressor", evaluator_config={"baseline": "full"})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"baseline": "ful"}, "'ful': neither a column of the data"),
        ({"baseline": "full", "unit": "usr"}, "unit=usr: the data have no such column"),
        ({"baseline": "full", "margn": 1}, "unknown key margn; choose from baseline"),
        ({"unit": "user"}, "`baseline` is missing"),
        ({"baseline": "full", "metric": "gini"}, "metric=gini does not fit task=binary"),
    ],
)
def test_a_mistake_is_one_line(frame, config, message):
    with pytest.raises(UsageError, match=message):
        evaluate(frame, **config)


def test_mlflow_finds_the_evaluator_by_pyprojects_entry_point(tmp_path, monkeypatch):
    """As after `pip install`: an installed distribution's entry point, and a registry of MLflow that looks for it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    points = project["entry-points"]["mlflow.model_evaluator"]
    metadata = tmp_path / "mlflow_feature_audit-0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mlflow-feature-audit\nVersion: 0\n")
    lines = [f"{name} = {target}" for name, target in points.items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[mlflow.model_evaluator]", *lines]) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = ModelEvaluatorRegistry()
    registry.register_entrypoints()
    assert type(registry.get_evaluator("parity")) is ParityEvaluator


def test_rows_with_weights_are_weighed_in_the_verdict(frame):
    frame["w"] = np.random.default_rng(1).integers(1, 9, 2000)
    with mlflow.start_run():
        found = evaluate(frame, baseline="full", weight="w", margin=0.02)
    own = decide(
        y=frame.clicked.to_numpy(), baseline=frame.full.to_numpy(), pruned=frame.pruned.to_numpy(),
        weight=frame.w.to_numpy(), task="binary", metric="auc", margin=0.02,
    )  # fmt: skip
    assert found.metrics["parity/auc.ci_low"] == own.decision.ci_low
    assert found.metrics["parity/auc.baseline"] == pytest.approx(
        roc_auc_score(frame.clicked, frame.full, sample_weight=frame.w), rel=1e-12
    )


def test_a_model_that_is_evaluated_sees_no_weight(frame):
    model = LogisticRegression().fit(frame[list("abcd")], frame.clicked)
    frame["w"] = 2.0
    data = frame[[*"abcd", "full", "w", "clicked"]]
    with mlflow.start_run():
        logged = mlflow.sklearn.log_model(model, name="own", pyfunc_predict_fn="predict_proba", pip_requirements=[])
        found = mlflow.models.evaluate(
            logged.model_uri, data, targets="clicked", model_type="classifier", evaluators="parity",
            evaluator_config={"baseline": "full", "weight": "w", "margin": 0.05},
        )  # fmt: skip
    assert found.metrics["parity/auc.pruned"] > 0.8


@pytest.mark.parametrize(("value", "message"), [("W", "weight=W: the data have no"), (None, "4 values that")])
def test_a_weight_that_is_none_is_one_line(frame, value, message):
    frame["w"] = np.where(np.arange(2000) < 4, 0.0, 1.0)
    with mlflow.start_run(), pytest.raises((UsageError, AuditError), match=message):
        evaluate(frame, baseline="full", weight=value or "w")

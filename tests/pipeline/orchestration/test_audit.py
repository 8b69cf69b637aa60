"""The results of a whole audit of a small log, by the command line, on a real tracking store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import mlflow
import polars as pl
import pytest
import yaml
from click_log import SIGNALS, make_log
from command_line import artifact, feature_audit, parents, tracking_in
from mlflow import MlflowClient
from mlflow.entities import Run

BASE = ["--target", "clicked", "--row_id", "impression", "--time", "ts", "--group", "user_id", "--margin", "0.01"]
QUICK = ["--trials", "1", "--seeds", "3", "--model", "mlp", "--profile", "quick", "--threads", "1"]
EXCLUDED = {"country", "taste_again", "dwell_after_click"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with its own tracking store and a log."""
    with tracking_in(tmp_path_factory.mktemp("audit")) as folder:
        make_log().write_parquet(folder / "log.parquet")
        yield folder


@pytest.fixture(scope="module")
def passed(home: Path) -> Run:
    """The parent run of an audit that passes."""
    assert feature_audit("run", "--data", str(home / "log.parquet"), *BASE, *QUICK, "--k", "12") == 0
    return parents()[0]


def test_a_pass_leaves_every_tag_metric_and_artifact_of_the_contract(passed: Run) -> None:
    tags, metrics = passed.data.tags, passed.data.metrics
    assert passed.info.status == "FINISHED"
    assert tags["audit.verdict"] == "pass"
    assert int(tags["audit.k"]) <= 12
    assert tags["audit.metric"] == "auc"
    assert float(tags["audit.margin"]) == 0.01
    assert tags["audit.recommendation"].startswith("models:/feature-audit/")
    assert "pass" in tags["mlflow.note.content"].splitlines()[0].lower()
    for name in (
        "baseline/test/auc", "pruned/test/auc", "parity/auc.delta", "parity/auc.ci_low", "parity/auc.ci_high",
        "cost/full_trainings", "cost/seconds", "pruned/test/logloss", "pruned/test/gauc",
        "audit/k", "audit/features_dropped", "audit/passed",
    ):  # fmt: skip
        assert name in metrics
    assert metrics["parity/auc.ci_low"] > -0.01
    assert metrics["parity/auc.ci_low"] <= metrics["parity/auc.delta"] <= metrics["parity/auc.ci_high"]
    assert metrics["parity/auc.delta"] == pytest.approx(metrics["pruned/test/auc"] - metrics["baseline/test/auc"])
    for name in (
        "report/index.html", "report/report.md", "report/report.json", "recommendation/prune_recommendation.json",
        "recommendation/kept_features.txt", "recommendation/dropped_features.txt", "selection/ranking.parquet",
        "selection/ranking.csv", "selection/k_curve.parquet", "parity/predictions.parquet", "data/validation.json",
        "config/resolved.yaml",
    ):  # fmt: skip
        assert artifact(passed, name).stat().st_size > 0


def test_the_run_says_what_it_is_without_a_click(passed: Run) -> None:
    tags, metrics, params = passed.data.tags, passed.data.metrics, passed.data.params
    k, n_features = int(tags["audit.k"]), int(tags["audit.n_features"])
    assert passed.info.run_name == f"pass: {k} of {n_features}, log"
    assert (metrics["audit/k"], metrics["audit/passed"]) == (k, 1.0)
    assert metrics["audit/features_dropped"] == n_features - k
    names = list(metrics)
    assert names.index("parity/auc.delta") < names.index("parity/logloss.delta") < names.index("cost/full_trainings")
    assert tags["mlflow.user"]
    assert tags["mlflow.source.type"] == "LOCAL"
    assert tags["mlflow.source.name"]
    resolved = yaml.safe_load(artifact(passed, "config/resolved.yaml").read_text())
    assert params["cfg.k"] == "12"
    assert (params["cfg.metric"], params["cfg.task"], params["cfg.seeds"]) == ("auc", "binary", "3")
    assert params["cfg.training.max_epochs"] == str(resolved["training"]["max_epochs"])
    assert "" not in params.values()
    experiment = MlflowClient().get_experiment(passed.info.experiment_id)
    assert "which of our features" in experiment.tags["mlflow.note.content"]
    link = f"#/experiments/{experiment.experiment_id}/runs/{passed.info.run_id}/artifacts/report/index.html"
    assert f"({link}?workflowType=machine_learning)" in tags["mlflow.note.content"]
    ranking = pl.read_csv(artifact(passed, "selection/ranking.csv"))
    assert (
        ranking["feature"].to_list()
        == pl.read_parquet(artifact(passed, "selection/ranking.parquet"))["feature"].to_list()
    )


def test_an_excluded_leak_is_a_warning_of_the_first_screen(passed: Run) -> None:
    page = artifact(passed, "report/index.html").read_text()
    warnings = page[page.index('<aside class="warnings"') :]
    assert "dwell_after_click" in warnings[: warnings.index("</aside>")]
    assert page.index("</header>") < page.index('<aside class="warnings"') < page.index('<section id="next"')


def test_the_plan_is_shown_with_what_it_came_to(passed: Run) -> None:
    report = json.loads(artifact(passed, "report/report.json").read_text())
    plan, came_to = report["plan"], passed.data.metrics["cost/full_trainings"]
    assert plan["trainings_low"] <= plan["trainings_high"]
    assert 0.6 * plan["trainings_low"] <= came_to <= 1.6 * plan["trainings_high"]
    assert "selection run" in plan["text"]
    for name in ("report/index.html", "report/report.md"):
        text = artifact(passed, name).read_text()
        assert plan["text"] in text
        assert "if pruned models take as many epochs as the full model. Actual" in text
        assert f"Actual cost: {came_to:.1f}," in text


def test_the_report_counts_every_column_once(passed: Run) -> None:
    report = json.loads(artifact(passed, "report/report.json").read_text())
    first = artifact(passed, "report/report.md").read_text()
    dropped = sum(row["decision"] == "drop" and row["rank"] <= report["n_features"] for row in report["decisions"])
    assert f"can drop {dropped} of {report['n_features']} features" in first
    assert f"drop {dropped}" in first
    assert f"no feature {len(EXCLUDED)}" in first


def test_the_selection_finds_the_signals_and_explains_every_column(passed: Run) -> None:
    kept = artifact(passed, "recommendation/kept_features.txt").read_text().split()
    dropped = artifact(passed, "recommendation/dropped_features.txt").read_text().split()
    assert len(kept) == int(passed.data.tags["audit.k"])
    assert set(SIGNALS) <= set(kept)
    assert set(dropped) >= EXCLUDED
    table = pl.read_parquet(artifact(passed, "selection/ranking.parquet"))
    assert set(table["feature"]) == set(kept) | set(dropped)
    assert table["feature"].n_unique() == len(table)
    reasons = dict(zip(table["feature"], table["reason"], strict=True))
    assert "constant" in reasons["country"]
    assert "leak" in reasons["dwell_after_click"]
    assert "taste" in reasons["taste_again"]
    assert not {"impression", "user_id", "ts", "clicked"} & set(table["feature"])


def test_predictions_are_paired_rows_of_the_last_days(passed: Run, home: Path) -> None:
    predictions = pl.read_parquet(artifact(passed, "parity/predictions.parquet"))
    assert predictions.columns == ["row_id", "group", "y", "baseline", "baseline_1", "pruned_0", "pruned_1", "pruned_2"]
    log = pl.read_parquet(home / "log.parquet")
    test = log.filter(pl.col("impression").is_in(predictions["row_id"].to_list()))
    assert test["ts"].min() > log.filter(~pl.col("impression").is_in(predictions["row_id"].to_list()))["ts"].max()  # type: ignore[operator]
    joined = predictions.join(log, left_on="row_id", right_on="impression", how="left", maintain_order="left")
    assert (joined["y"].cast(pl.Int64) == joined["clicked"]).all()
    assert (joined["group"] == joined["user_id"]).all()


def lowest_validation_loss(audit: Run) -> int:
    """The retraining with the lowest loss, from the histories in MLflow."""
    client = MlflowClient()
    [trained, *_] = client.search_runs(
        [audit.info.experiment_id],
        f"tags.mlflow.parentRunId = '{audit.info.run_id}' and tags.audit.stage = 'retrain'",
    )
    names = [f"retrain_{audit.data.tags['audit.k']}_{n}/validation_loss" for n in range(3)]
    histories = [client.get_metric_history(trained.info.run_id, name) for name in names]
    lowest = [min(row.value for row in history) for history in histories]
    return lowest.index(min(lowest))


def test_the_registered_model_scores_raw_rows_with_only_the_kept_columns(passed: Run, home: Path) -> None:
    kept = artifact(passed, "recommendation/kept_features.txt").read_text().split()
    model = mlflow.pyfunc.load_model(passed.data.tags["audit.recommendation"])
    assert set(model.metadata.signature.inputs.input_names()) == set(kept)
    predictions = pl.read_parquet(artifact(passed, "parity/predictions.parquet"))
    rows = pl.read_parquet(home / "log.parquet").filter(pl.col("impression").is_in(predictions["row_id"].to_list()))
    scores = model.predict(rows.select(kept).to_pandas())
    best = lowest_validation_loss(passed)
    assert abs(scores - predictions[f"pruned_{best}"].to_numpy()).max() < 1e-5
    assert all(abs(scores - predictions[f"pruned_{n}"].to_numpy()).max() > 1e-3 for n in range(3) if n != best)
    polars_scores = model.unwrap_python_model().predict(None, rows.select(kept))
    assert abs(polars_scores - scores).max() < 1e-6
    one_row = model.predict(rows.select(kept).head(1).to_pandas())
    assert one_row[0] == pytest.approx(scores[0], abs=1e-6)


def test_a_request_without_a_column_names_the_missing_column(passed: Run, home: Path) -> None:
    """The signature requires every kept column and accepts missing cells; unchecked frames are checked by the model."""
    address = passed.data.tags["audit.recommendation"]
    model = mlflow.pyfunc.load_model(address)
    inputs = model.metadata.signature.inputs
    assert inputs.required_input_names() == inputs.input_names()
    example = model.input_example
    assert list(example.columns) == inputs.input_names()
    assert len(model.predict(example)) == len(example)
    empty = example.astype(object).where(example.isna(), None)
    assert len(model.predict(empty)) == len(example)
    for call in (
        lambda: model.predict(example.drop(columns=["taste"])),
        lambda: model.unwrap_python_model().predict(None, pl.from_pandas(example.drop(columns=["taste"]))),
    ):
        with pytest.raises(mlflow.exceptions.MlflowException, match=r"missing inputs \['taste'\]"):
            call()


def test_alias_tags_and_description_of_the_version(passed: Run) -> None:
    client = MlflowClient()
    version = client.get_model_version_by_alias("feature-audit", "prune-candidate")
    assert version.tags["audit.verdict"] == "pass"
    assert version.tags["audit.run_id"] == passed.info.run_id
    assert f"feature-audit promote --model_name feature-audit --version {version.version}" in version.description
    for description in (version.description, client.get_registered_model("feature-audit").description):
        assert "Promote model" in description, "MLflow's button is not `feature-audit promote`"

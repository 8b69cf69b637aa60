"""Whole audits of a small log through the command line, on a real tracking store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import polars as pl
import pytest
import yaml
from click_log import SIGNALS, make_log
from command_line import artifact, feature_audit, parents, tracking_in
from feature_audit.cli import STAGES
from feature_audit.selection import Selection
from feature_audit.stages.select import select
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

BASE = ["--target", "clicked", "--row_id", "impression", "--time", "ts", "--group", "user_id", "--margin", "0.01"]
QUICK = ["--trials", "1", "--seeds", "3", "--model", "mlp", "--profile", "quick", "--threads", "1"]
EXCLUDED = {"country", "taste_again", "dwell_after_click"}

CommandLine = Callable[..., int]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with its own tracking store and a log."""
    folder = tmp_path_factory.mktemp("audit")
    make_log().write_parquet(folder / "log.parquet")
    with tracking_in(folder):
        yield folder


@pytest.fixture(scope="module")
def command(home: Path) -> CommandLine:
    """Run ``feature-audit ...`` in this process; returns the exit code."""
    return feature_audit


@pytest.fixture(scope="module")
def passed(command: CommandLine, home: Path) -> Run:
    """The parent run of an audit that passes."""
    assert command("run", "--data", str(home / "log.parquet"), *BASE, *QUICK, "--k", "12") == 0
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
    """Which retraining reached it, by the histories that MLflow shows."""
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


def test_a_request_without_a_column_is_told_which(passed: Run, home: Path) -> None:
    """The signature requires every kept column and takes missing cells; frames that it does not check are checked."""
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


def test_a_registry_that_refuses_at_the_end_leaves_verdict_and_report(
    command: CommandLine, passed: Run, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = MlflowClient()
    words = ("run", "--data", str(home / "log.parquet"), *BASE, *QUICK, "--k", "12", "--model_name", "it's ours")

    def refuse(*_: object, **__: object) -> None:
        run = client.get_run(parents()[0].info.run_id)
        assert (run.info.status, run.data.tags["audit.verdict"]) == ("RUNNING", "pass"), "not finished, but decided"
        assert artifact(run, "report/index.html").exists()
        raise mlflow.exceptions.MlflowException("Permission denied", error_code=PERMISSION_DENIED)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlflow.register_model", refuse)
        assert command(*words) == 1
    out, err = capsys.readouterr()
    run = client.get_run(parents()[0].info.run_id)
    assert run.data.tags["audit.verdict"] == "pass"
    assert "audit.recommendation" not in run.data.tags
    assert run.info.status == "FAILED"
    assert out.startswith("pass: The pruned model's")
    [line] = [line for line in err.splitlines() if "error:" in line]
    remedy = f"feature-audit parity --audit {run.info.run_id}"
    assert "Permission denied" in line
    assert line.endswith(remedy)
    note = run.data.tags["mlflow.note.content"]
    assert note.startswith("**Pass:**")
    assert remedy in note
    for name in ("report/report.json", "recommendation/kept_features.txt", "selection/ranking.csv"):
        assert artifact(run, name).exists()

    assert command(*remedy.split()[1:]) == 0
    run = client.get_run(run.info.run_id)
    assert run.data.tags["audit.recommendation"] == "models:/it's ours/1"
    assert run.info.status == "FINISHED"
    assert "models:/it's ours/1" in artifact(run, "report/report.json").read_text()
    assert remedy not in run.data.tags["mlflow.note.content"]
    assert command(*remedy.split()[1:]) == 0
    assert len(client.search_model_versions('name = "it\'s ours"')) == 1, "registered once"
    assert str(client.get_model_version_by_alias("it's ours", "prune-candidate").version) == "1"


def test_a_registry_that_refuses_at_the_start_costs_nothing_and_keeps_an_earlier_verdict(
    command: CommandLine, passed: Run, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise mlflow.exceptions.MlflowException("Permission denied", error_code=PERMISSION_DENIED)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.get_registered_model", refuse)
        assert command("run", "--data", str(home / "log.parquet"), *BASE, *QUICK, "--k", "11") == 1
        run = parents()[0]
        assert command("parity", "--audit", passed.info.run_id, "--margin", "0.02") == 1
        assert command("parity", "--audit", passed.info.run_id) == 0, "an answer needs no registry"
    first, second = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert first == second
    for word in ("model_name=feature-audit", "Permission denied", "another model_name"):
        assert word in first
    assert run.info.run_name == "error: log"
    children = MlflowClient().search_runs([run.info.experiment_id], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    assert children == []
    kept = MlflowClient().get_run(passed.info.run_id)
    assert (kept.info.status, kept.data.tags["audit.verdict"]) == ("FINISHED", "pass")


def test_of_several_k_the_smallest_proven_one_is_recommended_everywhere(
    command: CommandLine, passed: Run, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twelve features pass on this log and one fails, which a selection is made to propose."""

    def several(*arguments: object, **named: object) -> Selection:
        return replace(select(*arguments, **named), k=1, rungs=(12, 1))  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("feature_audit.orchestration.run.select.select", several)
        words = ("run", "--data", str(home / "log.parquet"), *BASE, *QUICK, "--k", "12", "--model_name", "ladder")
        assert command(*words) == 0
    out = capsys.readouterr().out
    run = parents()[0]
    tags, metrics = run.data.tags, run.data.metrics
    assert (tags["audit.verdict"], tags["audit.k"], metrics["audit/k"]) == ("pass", "12", 12)
    kept = artifact(run, "recommendation/kept_features.txt").read_text().split()
    ranking = pl.read_parquet(artifact(run, "selection/ranking.parquet"))
    assert len(kept) == 12
    assert set(ranking.filter(pl.col("decision") == "keep")["feature"]) == set(kept)
    model = mlflow.pyfunc.load_model(tags["audit.recommendation"])
    assert set(model.metadata.signature.inputs.input_names()) == set(kept)
    predictions = pl.read_parquet(artifact(run, "parity/predictions.parquet"))
    rows = pl.read_parquet(home / "log.parquet").filter(pl.col("impression").is_in(predictions["row_id"].to_list()))
    scores = model.predict(rows.select(kept).to_pandas())
    assert min(abs(scores - predictions[f"pruned_{n}"].to_numpy()).max() for n in range(3)) < 1e-5

    report = json.loads(artifact(run, "report/report.json").read_text())
    ladder = report["ladder"]
    assert [(rung["k"], rung["verdict"], rung["tested_as"]) for rung in ladder] == [
        (12, "pass", 1), (1, "fail", 2)
    ]  # fmt: skip
    assert report["k"] == 12
    assert ladder[0]["delta"] == report["deltas"][0]["delta"] == metrics["parity/auc.delta"]
    assert ladder[0]["share_dropped"] == pytest.approx(metrics["audit/share_dropped"])
    history = MlflowClient().get_metric_history(run.info.run_id, "ladder/delta")
    assert {row.step: row.value for row in history} == {rung["k"]: rung["delta"] for rung in ladder}
    assert "K = 12 is recommended. K = 1 was tested next and failed." in out
    assert report["costs"][3]["detail"] == "3 pruned (K = 12), 3 pruned (K = 1), 1 full"


def test_promote_and_rollback_from_the_command_line(
    command: CommandLine, passed: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    driver = MlflowClient().create_run("0").info.run_id
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_RUN_ID", driver)
        assert command("promote", "--model_name", "feature-audit") == 0
    assert MlflowClient().get_run(driver).info.run_name == "promote v1: feature-audit"
    assert "production" in MlflowClient().get_registered_model("feature-audit").aliases
    assert command("rollback", "--model_name", "feature-audit") == 0
    assert "production" not in MlflowClient().get_registered_model("feature-audit").aliases
    assert command("rollback", "--model_name", "feature-audit") == 1
    assert "no promotion to roll back" in capsys.readouterr().err


def test_another_confidence_reuses_the_full_training(command: CommandLine, passed: Run, home: Path) -> None:
    def cached(run: Run) -> list[tuple[str, str]]:
        children = MlflowClient().search_runs(
            [run.info.experiment_id],
            f"tags.mlflow.parentRunId = '{run.info.run_id}'",
            order_by=["attributes.start_time ASC"],
        )
        tags = [child.data.tags for child in children]
        return [(tag["audit.stage"], tag["audit.cached"]) for tag in tags if "audit.cached" in tag]

    assert command("parity", "--audit", passed.info.run_id, "--confidence", "0.9") == 0
    assert cached(passed) == [(stage, "False") for stage in STAGES]
    again = dict(cached(parents()[0]))
    assert (again["load"], again["baseline"], again["parity"]) == ("True", "True", "False")
    resolved = yaml.safe_load(artifact(parents()[0], "config/resolved.yaml").read_text())
    assert resolved["confidence"] == 0.9


def test_another_rule_or_slice_costs_no_full_training(command: CommandLine, passed: Run, home: Path) -> None:
    """`load` judges the columns again; the full model, and with slices alone the selection, are those of before."""
    (home / "slices.yaml").write_text("slices: [device]\ngroups: {junk: ['noise_0*']}\n")
    words = ["run", "--data", str(home / "log.parquet"), *BASE, *QUICK, "--k", "12"]
    for given, reused in (
        (["--config", str(home / "slices.yaml")], {"baseline"}),
        (["--never_drop", "noise_00"], {"baseline"}),
    ):
        assert command(*words, *given) == 0
        parent = parents()[0]
        children = MlflowClient().search_runs(
            [parent.info.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'"
        )
        state = {run.data.tags["audit.stage"]: run.data.tags.get("audit.cached") for run in children}
        assert {stage for stage in ("load", "baseline") if state[stage] == "True"} == reused
        assert state["load"] == "False"
    report = json.loads(artifact(parents()[0], "report/report.json").read_text())
    assert report["provenance"]["test_looks"] > 1, "other features were looked at on the same test rows"


def test_rules_groups_and_costs_are_honoured_together(command: CommandLine, passed: Run, home: Path) -> None:
    rules = {
        "groups": {"prices": ["price_gap", "price_gap_copy"], "clock": ["hour_score*"], "junk": ["noise_0*"]},
        "whole_groups": ["*"],
        "never_drop": ["noise_cat_1"],
        "always_drop": ["device", "noise_1*"],
        "cost": str(home / "costs.csv"),
    }
    (home / "costs.csv").write_text(
        "Feature;Table;Cost\nnoise_0*;;100\nprice_gap;;7\ndevice;;20\n;junk;5000\n;clock;1\n"
    )
    (home / "rules.yaml").write_text(yaml.safe_dump(rules))
    words = ["--config", str(home / "rules.yaml"), "--k", "9"]
    assert command("run", "--data", str(home / "log.parquet"), *BASE, *QUICK, *words) == 0
    run = parents()[0]
    kept = set(artifact(run, "recommendation/kept_features.txt").read_text().split())
    assert len(kept) == int(run.data.tags["audit.k"]) <= 9
    assert "noise_cat_1" in kept
    assert {"price_gap", "price_gap_copy"} <= kept
    assert len({"hour_score", "hour_score_copy"} & kept) in (0, 2)
    assert not [name for name in kept if name.startswith(("noise_0", "noise_1"))]
    assert "device" not in kept, "a strong signal goes, because the user said so"
    assert int(run.data.tags["audit.n_features"]) == 20, "the full model still has what always_drop names"
    reasons = {
        row["feature"]: row for row in pl.read_parquet(artifact(run, "selection/ranking.parquet")).iter_rows(named=True)
    }
    assert reasons["device"]["reason"] == "dropped by rule: on the always_drop list"
    assert reasons["device"]["selection_frequency"] == 0
    assert reasons["noise_cat_1"]["reason"] == "protected: on the never_drop list"
    report = json.loads(artifact(run, "report/report.json").read_text())
    assert sum(row["cost"] for row in report["decisions"] if row["decision"] == "drop") == 10 * 100 + 20
    recommendation = json.loads(artifact(run, "recommendation/prune_recommendation.json").read_text())
    assert recommendation["retiring_tables"]["junk"] == 6_000
    clock = 0 if "hour_score" in kept else 1
    assert recommendation["saved_cost"] == 6_020 + clock
    would = "could be retired" if recommendation["verdict"] != "pass" else "can be retired"
    assert would in recommendation["savings"]
    assert "junk" in recommendation["savings"]


def test_far_too_few_features_fail_and_register_nothing(command: CommandLine, passed: Run, home: Path) -> None:
    before = len(MlflowClient().search_model_versions("name='feature-audit'"))
    pl.read_parquet(home / "log.parquet").head(-1).write_parquet(home / "first_look.parquet")
    words = ("run", "--data", str(home / "first_look.parquet"), *BASE, *QUICK, "--k", "1", "--gate", "true")
    assert command(*words) == 3
    run = parents()[0]
    assert run.data.tags["audit.verdict"] == "fail"
    assert "audit.recommendation" not in run.data.tags
    assert artifact(run, "report/index.html").exists()
    recommendation = json.loads(artifact(run, "recommendation/prune_recommendation.json").read_text())
    assert recommendation["recommended"] is False
    assert len(MlflowClient().search_model_versions("name='feature-audit'")) == before


def test_too_few_rows_are_inconclusive_and_say_what_would_decide(
    command: CommandLine, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And a budget above the number of columns, as in the README's first command, is no limit."""
    # Without noise columns the pruned model has nothing to win by dropping them, so 200 test rows cannot decide.
    signals_only = make_log(1_000, users=150, seed=3).select(pl.exclude("^noise_.*$"))
    signals_only.write_parquet(home / "small.parquet")
    words = (
        "run",
        "--data",
        str(home / "small.parquet"),
        *BASE,
        *QUICK,
        "--k",
        "200",
        "--margin",
        "0.0005",
        "--gate",
        "true",
    )
    assert command(*words) == 4
    run = parents()[0]
    assert run.data.tags["audit.verdict"] == "inconclusive"
    report = json.loads(artifact(run, "report/report.json").read_text())
    assert report["needed"]
    note = "k = 200 has no effect: only 6 features are usable (3 of 9 columns are constant"
    [line] = [line for line in capsys.readouterr().err.splitlines() if note in line]
    assert line.startswith("load: ")
    assert note in report["k_reason"]
    assert int(run.data.tags["audit.k"]) <= 6

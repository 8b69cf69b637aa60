"""After an audit: a registry that refuses, a promotion, the same log with other rules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import mlflow
import polars as pl
import pytest
import yaml
from click_log import make_log
from command_line import artifact, feature_audit, parents, tracking_in
from feature_audit.cli import STAGES
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

BASE = ["--target", "clicked", "--row_id", "impression", "--time", "ts", "--group", "user_id", "--margin", "0.05"]
QUICK = ["--trials", "1", "--seeds", "3", "--model", "mlp", "--profile", "quick", "--threads", "1"]
QUICK += ["--training", "{max_epochs: 1}"]
#: A fixed K needs no search; full trainings and a search are in `test_audit.py`.
TWELVE = ["--k", "12", "--k_min", "12"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with its own tracking store and a log."""
    with tracking_in(tmp_path_factory.mktemp("audit")) as folder:
        make_log(3_000).write_parquet(folder / "log.parquet")
        yield folder


@pytest.fixture(scope="module")
def passed(home: Path) -> Run:
    """The parent run of an audit that passes."""
    assert feature_audit("run", "--data", str(home / "log.parquet"), *BASE, *QUICK, *TWELVE) == 0
    return parents()[0]


def test_a_registry_that_refuses_at_the_end_leaves_verdict_and_report(
    passed: Run, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = MlflowClient()
    words = ("run", "--data", str(home / "log.parquet"), *BASE, *QUICK, *TWELVE, "--model_name", "it's ours")

    def refuse(*_: object, **__: object) -> None:
        run = client.get_run(parents()[0].info.run_id)
        assert (run.info.status, run.data.tags["audit.verdict"]) == ("RUNNING", "pass"), "not finished, but decided"
        assert artifact(run, "report/index.html").exists()
        raise mlflow.exceptions.MlflowException("Permission denied", error_code=PERMISSION_DENIED)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlflow.register_model", refuse)
        assert feature_audit(*words) == 1
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

    assert feature_audit(*remedy.split()[1:]) == 0
    run = client.get_run(run.info.run_id)
    assert run.data.tags["audit.recommendation"] == "models:/it's ours/1"
    assert run.info.status == "FINISHED"
    assert "models:/it's ours/1" in artifact(run, "report/report.json").read_text()
    assert remedy not in run.data.tags["mlflow.note.content"]
    assert feature_audit(*remedy.split()[1:]) == 0
    assert len(client.search_model_versions('name = "it\'s ours"')) == 1, "registered once"
    assert str(client.get_model_version_by_alias("it's ours", "prune-candidate").version) == "1"


def test_a_registry_that_refuses_at_the_start_costs_nothing_and_keeps_an_earlier_verdict(
    passed: Run, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise mlflow.exceptions.MlflowException("Permission denied", error_code=PERMISSION_DENIED)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.get_registered_model", refuse)
        assert feature_audit("run", "--data", str(home / "log.parquet"), *BASE, *QUICK, "--k", "11") == 1
        run = parents()[0]
        assert feature_audit("parity", "--audit", passed.info.run_id, "--margin", "0.02") == 1
        assert feature_audit("parity", "--audit", passed.info.run_id) == 0, "an answer needs no registry"
    first, second = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert first == second
    for word in ("model_name=feature-audit", "Permission denied", "another model_name"):
        assert word in first
    assert run.info.run_name == "error: log"
    children = MlflowClient().search_runs([run.info.experiment_id], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    assert children == []
    kept = MlflowClient().get_run(passed.info.run_id)
    assert (kept.info.status, kept.data.tags["audit.verdict"]) == ("FINISHED", "pass")


def test_promote_and_rollback_from_the_command_line(passed: Run, capsys: pytest.CaptureFixture[str]) -> None:
    driver = MlflowClient().create_run("0").info.run_id
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_RUN_ID", driver)
        assert feature_audit("promote", "--model_name", "feature-audit") == 0
    assert MlflowClient().get_run(driver).info.run_name == "promote v1: feature-audit"
    assert "production" in MlflowClient().get_registered_model("feature-audit").aliases
    assert feature_audit("rollback", "--model_name", "feature-audit") == 0
    assert "production" not in MlflowClient().get_registered_model("feature-audit").aliases
    assert feature_audit("rollback", "--model_name", "feature-audit") == 1
    assert "no promotion to roll back" in capsys.readouterr().err


def test_another_confidence_or_margin_reuses_the_full_training_and_the_trials(
    passed: Run, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def cached(run: Run) -> list[tuple[str, str]]:
        children = MlflowClient().search_runs(
            [run.info.experiment_id],
            f"tags.mlflow.parentRunId = '{run.info.run_id}'",
            order_by=["attributes.start_time ASC"],
        )
        tags = [child.data.tags for child in children]
        return [(tag["audit.stage"], tag["audit.cached"]) for tag in tags if "audit.cached" in tag]

    before = {file: file.read_bytes() for file in home.glob(".audit/select/*/trial_0.json")}
    assert feature_audit("parity", "--audit", passed.info.run_id, "--confidence", "0.9", "--margin", "0.06") == 0
    assert "select: 1 trial reused from " in capsys.readouterr().err
    [copy] = set(home.glob(".audit/select/*/trial_0.json")) - before.keys()
    assert copy.read_bytes() in before.values(), "the seconds, too: it was not run again"
    assert cached(passed) == [(stage, "False") for stage in STAGES]
    again = dict(cached(parents()[0]))
    assert (again["load"], again["baseline"], again["parity"]) == ("True", "True", "False")
    resolved = yaml.safe_load(artifact(parents()[0], "config/resolved.yaml").read_text())
    assert resolved["confidence"] == 0.9


@pytest.mark.slow
def test_another_rule_or_slice_costs_no_full_training(passed: Run, home: Path) -> None:
    """`load` examines the columns again; the full model, and for slices also the selection, are reused."""
    (home / "slices.yaml").write_text("slices: [device]\ngroups: {junk: ['noise_0*']}\n")
    words = ["run", "--data", str(home / "log.parquet"), *BASE, *QUICK, *TWELVE]
    for given, reused in (
        (["--config", str(home / "slices.yaml")], {"baseline"}),
        (["--never_drop", "noise_00"], {"baseline"}),
    ):
        assert feature_audit(*words, *given) == 0
        parent = parents()[0]
        children = MlflowClient().search_runs(
            [parent.info.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'"
        )
        state = {run.data.tags["audit.stage"]: run.data.tags.get("audit.cached") for run in children}
        assert {stage for stage in ("load", "baseline") if state[stage] == "True"} == reused
        assert state["load"] == "False"
    report = json.loads(artifact(parents()[0], "report/report.json").read_text())
    assert report["provenance"]["test_looks"] > 1, "other features were looked at on the same test rows"


@pytest.mark.slow
def test_rules_groups_and_costs_are_honoured_together(home: Path) -> None:
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
    assert feature_audit("run", "--data", str(home / "log.parquet"), *BASE, *QUICK, *words) == 0
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

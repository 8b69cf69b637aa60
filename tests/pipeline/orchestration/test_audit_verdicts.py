"""Audits of a small log that fail, are inconclusive, or test several K."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import polars as pl
import pytest
from click_log import make_log
from command_line import artifact, feature_audit, parents, tracking_in
from feature_audit.selection import Selection
from feature_audit.stages.select import select
from mlflow import MlflowClient

BASE = ["--target", "clicked", "--row_id", "impression", "--time", "ts", "--group", "user_id", "--margin", "0.05"]
QUICK = ["--trials", "1", "--seeds", "3", "--model", "mlp", "--profile", "quick", "--threads", "1"]
BRIEF = ["--training", "{max_epochs: 1}"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with its own tracking store and a log."""
    with tracking_in(tmp_path_factory.mktemp("audit")) as folder:
        make_log(3_000).write_parquet(folder / "log.parquet")
        yield folder


def test_the_smallest_proven_k_is_recommended_everywhere(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On this log twelve features pass and one fails; the selection is forced to propose it."""

    def several(*arguments: object, **named: object) -> Selection:
        return replace(select(*arguments, **named), k=1, rungs=(12, 1))  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("feature_audit.orchestration.run.select.select", several)
        words = ("run", "--data", str(home / "log.parquet"), *BASE, *QUICK, *BRIEF, "--k", "12", "--k_min", "12")
        assert feature_audit(*words, "--model_name", "ladder") == 0
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


def test_far_too_few_features_fail_and_register_nothing(home: Path) -> None:
    before = len(MlflowClient().search_model_versions("name='feature-audit'"))
    pl.read_parquet(home / "log.parquet").head(-1).write_parquet(home / "first_look.parquet")
    words = ("run", "--data", str(home / "first_look.parquet"), *BASE, *QUICK, *BRIEF, "--k", "1", "--gate", "true")
    assert feature_audit(*words) == 3
    run = parents()[0]
    assert run.data.tags["audit.verdict"] == "fail"
    assert "audit.recommendation" not in run.data.tags
    assert artifact(run, "report/index.html").exists()
    recommendation = json.loads(artifact(run, "recommendation/prune_recommendation.json").read_text())
    assert recommendation["recommended"] is False
    assert len(MlflowClient().search_model_versions("name='feature-audit'")) == before


def test_too_few_rows_are_inconclusive_and_say_what_would_decide(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also with a budget above the number of columns, as in the README's first command, which does not limit K."""
    # Without noise columns the pruned model cannot gain by dropping them, so 200 test rows cannot decide.
    signals_only = make_log(1_000, users=150, seed=3).select(pl.exclude("^noise_.*$"))
    signals_only.write_parquet(home / "small.parquet")
    given = ("--k", "200", "--margin", "0.0005", "--gate", "true")
    assert feature_audit("run", "--data", str(home / "small.parquet"), *BASE, *QUICK, *BRIEF, *given) == 4
    run = parents()[0]
    assert run.data.tags["audit.verdict"] == "inconclusive"
    assert "audit.recommendation" not in run.data.tags
    report = json.loads(artifact(run, "report/report.json").read_text())
    assert report["needed"]
    note = "k = 200 has no effect: only 6 features are usable (3 of 9 columns are constant"
    [line] = [line for line in capsys.readouterr().err.splitlines() if note in line]
    assert line.startswith("load: ")
    assert note in report["k_reason"]
    assert int(run.data.tags["audit.k"]) <= 6

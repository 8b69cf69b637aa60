"""Mistakes on the command line: one line each, and no incomplete results."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click_log import make_log
from command_line import feature_audit, tracking_in
from mlflow import MlflowClient

BASE = ["--target", "clicked", "--row_id", "impression", "--time", "ts", "--group", "user_id", "--margin", "0.01"]
QUICK = ["--trials", "1", "--seeds", "3", "--model", "mlp", "--profile", "quick", "--threads", "1"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with its own tracking store and a log."""
    folder = tmp_path_factory.mktemp("mistakes")
    make_log().write_parquet(folder / "log.parquet")
    with tracking_in(folder):
        yield folder


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--data", "nowhere.parquet"], 1, ["nowhere.parquet"]),
        (["--target", "klicked"], 1, ["klicked", "clicked"]),
        (["--time", "when"], 1, ["when"]),
        (["--k_min", "500"], 1, ["k_min=500", "20 features are usable"]),
        (["--k", "500", "--k_min", "500"], 1, ["k=k_min=500", "20 features are usable", "between 1 and 20"]),
        (["--k", "abc"], 2, ["k=", "abc"]),
        (["--k", "0"], 2, ["k=", "0"]),
        (["--margin", "-0.1"], 2, ["margin=", "-0.1"]),
        (["--metric", "rmse"], 1, ["metric=rmse", "binary"]),  # only the data show that the task is binary
        (["--metric", "rmse", "--task", "binary"], 2, ["metric=rmse", "task=binary"]),
        (["--metric", "acu"], 2, ["metric=acu", "did you mean auc?"]),
        (["--metric", "auc@5"], 2, ["metric=auc@5", "only ndcg takes a cut-off"]),
        (["--metric", "gauc", "--group", ""], 2, ["metric=gauc", "name the user column"]),
        (["--split", "time", "--time", ""], 2, ["split=time", "needs a time column"]),
        (["--split", "tme"], 1, ["split=tme", "did you mean time?"]),  # it could be a column
        (["--model", "no.such:factory"], 2, ["model=no.such:factory", "cannot import"]),
        (["--model", "os:getcwd"], 2, ["model=os:getcwd: must accept the schema", "yours does not take arguments"]),
        (
            ["--model", "shutil:copy"],
            2,
            ["missing a required argument: 'dst'", "other arguments come from model_params"],
        ),
        (["--model", "my/model.py:build"], 2, ["cannot import", "without .py and with dots for folders"]),
        (["--group", "clicked"], 2, ["group=clicked: this is the target itself; name another column"]),
        (["--model_params", "{depth: 3}"], 2, ["model=mlp: model_params do not fit", "'depth'"]),
        (["--colour", "red"], 2, ["--colour"]),
        (["--model_name", "ads/ctr"], 2, ["model_name='ads/ctr'", "does not allow '/'", "ads-ctr"]),
        (["--model_name", "a:b?c"], 2, ["model_name='a:b?c'", "does not allow ':' '?'", "a-b-c"]),
        (["--model_name", ".."], 2, ["model_name='..'"]),
        (["--margin", "2 %o"], 2, ["margin=", "2 %o"]),
        (["--kinds", "{*_id: categorical}"], 2, ["kinds='{*_id: categorical}'", "YAML"]),
        (["--selector", "ip_ca"], 2, ["selector=ip_ca", "did you mean ip_cae?"]),
        (["--margin", "inf"], 2, ["margin=", "inf"]),
        (["--device", "tpu"], 2, ["device=", "tpu"]),
        (["--model", "transformer"], 2, ["model=transformer", "dcn_v2"]),
        (["--config", "missing.yaml"], 2, ["missing.yaml"]),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    says: list[str],
) -> None:
    driver = MlflowClient().create_run("0")  # what `mlflow run` does before it starts the command
    capsys.readouterr()
    given = ["run", "--data", str(home / "log.parquet"), *BASE, *QUICK, *words]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "MLFLOW_RUN_ID", driver.info.run_id)
        assert feature_audit(*given) == code
    lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(lines) == 1
    for word in says:
        assert word in lines[0]
    assert "Traceback" not in "".join(lines)
    run = MlflowClient().get_run(driver.info.run_id)
    assert run.data.tags["audit.verdict"] == "error"
    assert not MlflowClient().search_model_versions()


@pytest.mark.parametrize("stage", ["load", "baseline", "select", "retrain"])
def test_a_gate_on_a_stage_without_a_verdict_is_refused(capsys: pytest.CaptureFixture[str], stage: str) -> None:
    assert feature_audit(stage, "--data", "nowhere.parquet", "--target", "clicked", "--gate") == 2
    assert f"gate=true: {stage} ends before the verdict" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["load", "data=clicks.csv", "target=clicked"], "such as --data clicks.csv --target clicked"),
        (["run", "clicks.csv"], "such as --data clicks.csv --target clicked"),
        (["audit", "--data", "clicks.csv"], "`feature-audit --help` lists the commands"),
    ],
)
def test_options_of_other_command_lines_get_a_remedy(
    capsys: pytest.CaptureFixture[str], words: list[str], remedy: str
) -> None:
    assert feature_audit(*words) == 2
    assert remedy in capsys.readouterr().err

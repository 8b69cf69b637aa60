"""Two labels through the command line: both decide, both are named, both are scored; mistakes are one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import polars as pl
import pytest
from command_line import artifact, feature_audit, newest_audit, tracking_in
from feature_audit.report.as_json import read_json
from two_labels import CLICK, CONVERT, two_labels

BASE = ["--data", "log.parquet", "--row_id", "row", "--threads", "1"]
AUDIT = [
    *BASE, "--model", "mlp", "--profile", "quick", "--margin", "0.04", "--baseline_seeds", "1", "--exclude", "all,user",
]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with tracking_in(tmp_path_factory.mktemp("targets")) as folder:
        log = two_labels(8_000).with_columns(user=pl.col("row") % 500, stars=pl.col("row") % 5)
        log.write_parquet("log.parquet")
        yield folder


MISTAKES = [
    (["--targets", "[]"], 2, "targets=[]: give label columns such as [click, convert], the decision"),
    (["--targets", "click,click"], 2, "targets=click: the target is named twice"),
    (["--targets", "click,convert", "--target", "all"], 2, "target=all: contradicts targets=click,convert"),
    (
        ["--targets", "{click: auc, convert: auc}", "--metric", "logloss"],
        2,
        "metric=logloss: contradicts targets.click.metric=auc",
    ),
    (["--targets", "{click: auc, convert: log_loss}"], 2, "targets.convert=log_loss: unknown; did you mean logloss?"),
    (["--targets", "{click: auc, convert: {mode: soft}}"], 2, "targets.convert.mode='soft': choose not_shown_worse"),
    (
        ["--targets", "{click: auc, convert: {margin: -1}}"],
        2,
        "targets.convert.margin=-1: give a finite number of 0 or more",
    ),
    (
        ["--targets", "{click: auc, convert: {weight: 2}}"],
        2,
        "targets.convert.weight: unknown key; a target has metric",
    ),
    (["--targets", "click,convert", "--group", "convert"], 2, "group=convert: this is the target itself"),
    (["--targets", "click,convert", "--time", "convert"], 2, "time=convert: this is the target itself"),
    (["--targets", "click,convert", "--weight", "convert"], 1, "weight=convert: the column has another role"),
    (["--targets", "click,convert", "--never_drop", "convert"], 1, "never_drop=convert: the column is not a feature"),
    (["--targets", "{click: auc, convert: gauc}"], 2, "targets.convert=gauc: is computed within users"),
    (
        ["--targets", "click,convert", "--command", "python t.py {task}"],
        2,
        "supports a single target; give only target=click",
    ),
    (["--targets", "click,convert", "--selector", "f_test"], 2, "selector=f_test supports a single target"),
    (
        ["--targets", "click,convert", "--task", "multiclass"],
        2,
        "task=multiclass is not supported with several targets",
    ),
    (["--targets", "{click: auc, convert: rmse}"], 0, ""),
    (["--targets", "click,stars"], 1, "targets=stars: 5 different values"),
    (["--targets", "{click: auc, stars: auc}"], 1, "targets=stars: 5 values (0, 1, 2, 3, 4), but task=binary"),
]


@pytest.mark.parametrize(("words", "code", "line"), MISTAKES)
def test_mistakes_are_one_line(
    home: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, line: str
) -> None:
    assert feature_audit("load", *BASE, *words) == code
    errors = [output for output in capsys.readouterr().err.splitlines() if "error: " in output]
    assert len(errors) == (code > 0)
    assert line in "".join(errors)


@pytest.mark.slow
def test_a_second_label_decides_keeps_its_features_and_is_scored(home: Path) -> None:
    assert feature_audit("run", *AUDIT, "--targets", "click,convert") == 0
    run = newest_audit()
    report = read_json(artifact(run, "report/report.json").read_text())
    kept = {row.feature for row in report.decisions if row.decision == "keep"}
    assert {*CLICK, *CONVERT} <= kept
    assert run.data.tags["audit.verdict"] == "pass"
    assert run.data.tags["audit.targets"] == "click, convert"
    click, convert = report.deltas[:2]
    assert (convert.target, convert.margin, convert.verdict) == ("convert", 0.04, "pass")
    assert run.data.metrics["parity/convert.auc.delta"] == pytest.approx(convert.delta)
    assert run.data.metrics["parity/auc.delta"] == pytest.approx(click.delta)
    for page in ("report/index.html", "report/report.md"):
        text = artifact(run, page).read_text()
        assert "AUC of click" in text
        assert "AUC of convert" in text
    rows = two_labels(8_000).to_pandas()
    model = mlflow.pyfunc.load_model(run.data.tags["audit.recommendation"])
    scores = model.predict(rows[sorted(kept)])
    assert list(scores.columns) == ["click", "convert"]
    audited = pl.read_parquet(artifact(run, "parity/predictions.parquet"))
    mine = scores.to_numpy()[audited["row_id"].to_numpy()]
    shipped = [audited[f"pruned_{seed}", f"pruned_{seed} (convert)"].to_numpy() for seed in range(3)]
    assert min(np.abs(mine - one).max() for one in shipped) < 1e-5
    _is_evaluated_by_its_own_column(run.data.tags["audit.recommendation"], rows, sorted(kept))

    assert feature_audit("run", *AUDIT[:-1], "all,user,convert", "--target", "click") == 0
    alone = json.loads(artifact(newest_audit(), "recommendation/prune_recommendation.json").read_text())
    assert set(alone["kept"]) >= set(CLICK)
    assert not set(alone["kept"]) & set(CONVERT)


def _is_evaluated_by_its_own_column(model: str, rows: pd.DataFrame, features: list[str]) -> None:
    """Uses the column with the label's name, never the second of two columns as if they were classes."""
    scores = mlflow.pyfunc.load_model(model).predict(rows[features])["click"]
    data = rows[[*features, "click"]].assign(full=scores)
    with mlflow.start_run():
        found = mlflow.models.evaluate(
            model, data, targets="click", model_type="classifier", evaluators="parity",
            evaluator_config={"baseline": "full", "margin": 0.01},
        )  # fmt: skip
    assert found.metrics["parity/auc.delta"] == pytest.approx(0.0, abs=1e-9)

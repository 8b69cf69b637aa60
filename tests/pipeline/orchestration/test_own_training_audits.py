"""Whole audits of models that a team trains: a function, a command, a checkpoint, and the shipped examples."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import polars as pl
import pytest
from click_log import make_log
from command_line import artifact, feature_audit, newest_audit, tracking_in
from mlflow.exceptions import MlflowException

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
WORDS = (
    "--data", "log.parquet", "--target", "clicked", "--row_id", "impression", "--time", "ts", "--group", "user_id",
    "--k", "6", "--k_min", "4", "--margin", "0.2", "--trials", "1", "--seeds", "2", "--baseline_seeds", "1",
    "--profile", "quick", "--threads", "1",
)  # fmt: skip
#: Gradient boosting of scikit-learn; it records every task, and saves its model if the audit is to register one.
TRAINER = """
import json
import mlflow
import pandas as pd
from feature_audit.trainer import Predictions
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder


def train(task):
    files = {split: pd.read_parquet(getattr(task, split)) for split in ("train", "validation", "test")}
    with open("tasks.jsonl", "a") as notes:
        columns = {split: list(frame.columns) for split, frame in files.items()}
        notes.write(json.dumps({"seed": task.seed, "features": task.features, "columns": columns}) + "\\n")
    features = list(task.features)
    words = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    model = make_pipeline(
        make_column_transformer((words, make_column_selector(dtype_exclude="number")), remainder="passthrough"),
        HistGradientBoostingClassifier(max_iter=30, max_features=0.5, random_state=task.seed),
    ).fit(files["train"][features], files["train"][task.label])
    mlflow.sklearn.save_model(
        model, task.output / "model", pyfunc_predict_fn="predict_proba", serialization_format="cloudpickle",
        pip_requirements=["scikit-learn"],
    )
    return Predictions(*(model.predict_proba(files[split][features])[:, 1] for split in ("validation", "test")))
"""
COMMAND = f"{sys.executable} program.py --task {{task}}"
#: Logistic regression, which is deterministic.
PROGRAM = """
import json, sys
import polars as pl
from sklearn.linear_model import LogisticRegression
task = json.load(open(sys.argv[sys.argv.index("--task") + 1]))
types = pl.read_parquet_schema(task["train"])
numbers = [name for name in task["features"] if types[name].is_numeric()] or [task["row"]]
def inputs(split):
    return pl.read_parquet(task[split]).select(pl.col(numbers).fill_nan(0).fill_null(0)).to_numpy()
model = LogisticRegression(max_iter=500).fit(inputs("train"), pl.read_parquet(task["train"])[task["label"]])
scored = [
    pl.read_parquet(task[split]).select(row=task["row"]).with_columns(score=model.predict_proba(inputs(split))[:, 1])
    for split in ("test", "validation")
]
pl.concat(scored).write_parquet(task["output"] + "/predictions.parquet")
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with tracking_in(tmp_path) as folder:
        make_log(2_500, users=400).write_parquet(folder / "log.parquet")
        (folder / "trainer_of_a_team.py").write_text(TRAINER, encoding="utf-8")
        (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
        yield folder
    sys.modules.pop("trainer_of_a_team", None)


def report_of_newest() -> dict[str, Any]:
    return dict(json.loads(artifact(newest_audit(), "report/report.json").read_text()))


def test_a_function_trains_every_model_and_its_own_model_is_registered(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = ("--trainer", "trainer_of_a_team:train")
    assert feature_audit("run", *WORDS, *job) == 0, capsys.readouterr().err
    audit, report = newest_audit(), report_of_newest()
    tasks = [json.loads(line) for line in (home / "tasks.jsonl").read_text().splitlines()]
    assert len({task["seed"] for task in tasks}) == len(tasks), "every training has a seed of its own"
    assert len(tasks) == 1 + sum(p["source"] == "retrained" for p in report["curve"]) + 2 * len(report["ladder"])
    full = tasks[0]["features"]
    for task in tasks:
        assert set(task["features"]) <= set(full)
        for split, columns in task["columns"].items():
            label = [] if split == "test" else ["label"]
            assert sorted(columns) == sorted([*task["features"], "ts", "user_id", "row", *label])
    kept = artifact(audit, "recommendation/kept_features.txt").read_text().split()
    assert set(kept) in [set(task["features"]) for task in tasks[1:]]
    cost = {row["stage"]: row["full_trainings"] for row in report["costs"]}
    assert cost["baseline"] == 1
    assert cost["select"] > 0
    assert "1 reference model" in report["plan"]["text"]

    assert audit.data.tags["audit.verdict"] == "pass", report["sentence"]
    model = mlflow.pyfunc.load_model(audit.data.tags["audit.recommendation"])
    assert sorted(column.name for column in model.metadata.signature.inputs) == sorted(kept)
    predictions = pl.read_parquet(artifact(audit, "parity/predictions.parquet")).head(50)
    rows = pl.read_parquet("log.parquet").join(predictions, left_on="impression", right_on="row_id")
    served = model.predict(rows.select(kept).to_pandas())
    assert any(np.allclose(served, rows[f"pruned_{number}"], atol=1e-5) for number in range(2))

    before = len(tasks)
    assert feature_audit("run", *WORDS, *job, "--slices", "device") == 0
    assert len((home / "tasks.jsonl").read_text().splitlines()) == before, "nothing is trained again"
    (home / "trainer_of_a_team.py").write_text(TRAINER.replace("max_iter=30", "max_iter=31"), encoding="utf-8")
    sys.modules.pop("trainer_of_a_team")
    assert feature_audit("baseline", *WORDS, *job) == 0
    assert len((home / "tasks.jsonl").read_text().splitlines()) == before + 1, "an edited job is"
    capsys.readouterr()
    assert feature_audit("parity", "--audit", audit.info.run_id, "--margin", "0.3") == 2
    assert "runs your code: trainer=trainer_of_a_team:train" in capsys.readouterr().err


def test_another_model_than_the_audited_one_is_not_registered(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """predict_proba was audited, but the saved model returns classes."""
    wrong = TRAINER.replace('pyfunc_predict_fn="predict_proba", ', "")
    (home / "trainer_of_a_team.py").write_text(wrong, encoding="utf-8")
    assert feature_audit("run", *WORDS, "--trainer", "trainer_of_a_team:train") == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert "the verdict is pass and the report is complete" in line
    assert re.search(r"its scores differ by up to 0\.\d+ from those of the job", line)
    assert "audit.recommendation" not in newest_audit().data.tags


def test_a_command_without_a_model_registers_what_it_recommends(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert feature_audit("run", *WORDS, "--command", COMMAND) == 0, capsys.readouterr().err
    audit, report = newest_audit(), report_of_newest()
    assert any("different seeds gave identical scores" in warning for warning in report["warnings"])
    assert audit.data.tags["audit.verdict"] == "pass", report["sentence"]
    model = mlflow.pyfunc.load_model(audit.data.tags["audit.recommendation"])
    kept = artifact(audit, "recommendation/kept_features.txt").read_text().split()
    assert sorted(column.name for column in model.metadata.signature.inputs) == sorted(kept)
    rows = pl.read_parquet("log.parquet").head(3).select(kept).to_pandas()
    with pytest.raises(MlflowException, match="were trained by your own training job; run that job on these"):
        model.predict(rows)


def test_a_checkpoint_costs_no_training_and_is_what_is_compared_with(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (*WORDS, "--model", "mlp")
    assert feature_audit("run", *words) == 0
    first, first_report = pl.read_parquet(artifact(newest_audit(), "parity/predictions.parquet")), report_of_newest()
    [weights] = home.glob(".audit/baseline/*/full.pt")
    assert feature_audit("run", *words, "--checkpoint", str(weights), "--work_dir", "other") == 0
    audit, report = newest_audit(), report_of_newest()
    assert "not checked" not in capsys.readouterr().err, "the encoders that lie beside the weights are compared"
    again = pl.read_parquet(artifact(audit, "parity/predictions.parquet"))
    np.testing.assert_allclose(again["baseline"], first["baseline"], atol=1e-6)
    assert [column for column in again.columns if column.startswith("baseline")] == ["baseline"]
    assert report["provenance"]["config"]["against"] == "deployed"
    before = {row["stage"]: row["full_trainings"] for row in first_report["costs"]}
    cost = {row["stage"]: row["full_trainings"] for row in report["costs"]}
    assert (before["baseline"], cost["baseline"]) == (1, 0)
    assert before["retrain"] / 3 < cost["retrain"] < before["retrain"] * 3, "in units of about a full training"
    assert "the full model is not trained" in report["plan"]["text"]
    assert audit.data.metrics["cost/full_trainings"] == pytest.approx(sum(cost.values()))


@pytest.mark.parametrize(("example", "needs"), [("torch", "torch"), ("lightning", "lightning"), ("fuxictr", "fuxictr")])
def test_an_example_audits_2000_rows(example: str, needs: str, tmp_path: Path) -> None:
    pytest.importorskip(needs, reason=f"optional: pip install {needs}", exc_type=ImportError)
    make_log(2_000, users=300).write_parquet(tmp_path / "log.parquet")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("pipeline", "selectors", ".")),
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    words = [word.replace("log.parquet", str(tmp_path / "log.parquet")) for word in WORDS]
    words += ["--config", f"examples/own_trainer/{example}.yaml", "--work_dir", str(tmp_path / "work")]
    done = subprocess.run(
        [sys.executable, "-m", "feature_audit", "run", *words],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.match(r"(pass|fail|inconclusive): ", done.stdout.splitlines()[0])
    quality = re.search(r"full model: validation auc (0\.\d+)", done.stderr)
    assert quality is not None
    assert float(quality[1]) > 0.75, "the example's loop learns"

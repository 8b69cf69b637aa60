"""A whole audit on a GPU; its registered model can be served on a machine without one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import torch
from click_log import SIGNALS, make_log
from command_line import artifact, feature_audit, newest_audit, tracking_in
from mlflow.entities import Run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]

WORDS = (
    "--target clicked --row_id impression --time ts --group user_id --margin 0.01 --profile quick --model mlp "
    "--seeds 3 --k 12 --threads 1"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with tracking_in(tmp_path_factory.mktemp("cuda")) as folder:
        make_log().write_parquet(folder / "log.parquet")
        yield folder


def audit(*words: str) -> Run:
    assert feature_audit("run", "--data", "log.parquet", *WORDS.split(), *words) == 0
    return newest_audit()


@pytest.fixture(scope="module")
def passed(home: Path) -> Run:
    return audit("--work_dir", "first")


def kept(run: Run) -> list[str]:
    return artifact(run, "recommendation/kept_features.txt").read_text().split()


def test_auto_takes_the_card_and_keeps_the_signals(passed: Run) -> None:
    assert passed.data.tags["audit.verdict"] == "pass"
    assert set(SIGNALS) <= set(kept(passed))


def test_the_same_command_gives_the_same_audit(passed: Run) -> None:
    again = audit("--work_dir", "second", "--device", "cuda:0")
    assert kept(again) == kept(passed)
    for name in ("baseline/test/auc", "pruned/test/auc", "parity/auc.ci_low"):
        assert again.data.metrics[name] == passed.data.metrics[name]


def test_trials_run_in_processes(home: Path) -> None:
    run = audit("--work_dir", "parallel", "--workers", "2", "--trials", "2")
    assert set(SIGNALS) <= set(kept(run))


def test_the_registered_model_serves_without_a_card(passed: Run, home: Path) -> None:
    """In a process without a visible GPU, as on a serving machine."""
    code = (
        "import sys, mlflow, polars as pl, torch; assert not torch.cuda.is_available()\n"
        "scores = mlflow.pyfunc.load_model(sys.argv[1]).predict(pl.read_parquet(sys.argv[2]).to_pandas())\n"
        "pl.DataFrame({'score': scores}).write_parquet(sys.argv[3])"
    )
    predictions = pl.read_parquet(artifact(passed, "parity/predictions.parquet"))
    log = pl.read_parquet(home / "log.parquet")
    rows = predictions.select("row_id").join(
        log, left_on="row_id", right_on="impression", how="left", maintain_order="left"
    )
    rows.select(kept(passed)).write_parquet(home / "rows.parquet")
    words = [sys.executable, "-c", code, passed.data.tags["audit.recommendation"], "rows.parquet", "scores.parquet"]
    subprocess.run(words, cwd=home, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}, check=True)
    served = pl.read_parquet(home / "scores.parquet")["score"]
    seeds = [predictions[f"pruned_{number}"] for number in range(3)]
    assert min((served - seed).abs().max() for seed in seeds) < 1e-4

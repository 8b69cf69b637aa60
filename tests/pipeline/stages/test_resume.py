"""Killed at any moment, the same command continues: no finished trial is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click_log import make_log
from mlflow import MlflowClient

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.slow


def test_sigkill_in_the_middle_of_a_trial(tmp_path: Path) -> None:
    make_log().write_parquet(tmp_path / "log.parquet")
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
        "PYTHONPATH": f"{ROOT / 'pipeline'}{os.pathsep}{ROOT / 'selectors'}",
    }
    words = "--target clicked --time ts --group user_id --row_id impression --margin 0.01 --model mlp --k 10 --trials 3"
    command = [
        sys.executable, "-m", "feature_audit", "run", "--data", str(tmp_path / "log.parquet"),
        "--work_dir", str(tmp_path / "work"), "--threads", "1", *words.split(),
    ]  # fmt: skip
    first = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not (finished := list((tmp_path / "work" / "select").glob("*/trial_0.json"))):
        assert first.poll() is None, first.communicate()[1][-2000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)  # into the second trial
    first.send_signal(signal.SIGKILL)
    first.communicate()
    written = finished[0].stat().st_mtime_ns

    again = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr[-2000:]
    assert "select: continuing what was interrupted" in again.stderr
    assert finished[0].stat().st_mtime_ns == written, "the finished trial was not run again"
    client = MlflowClient(environment["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("feature-audit")
    assert experiment is not None
    run = client.search_runs([experiment.experiment_id], "tags.audit.k LIKE '%'")[0]
    assert run.data.tags["audit.verdict"] in ("pass", "fail", "inconclusive")
    report = json.loads(Path(client.download_artifacts(run.info.run_id, "report/report.json")).read_text())
    assert [row["state"] for row in report["trials"]].count("complete") == 3

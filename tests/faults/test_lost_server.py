"""A tracking server that goes away in the middle of an audit: one line, and the same command publishes later."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click_log import make_log
from mlflow import MlflowClient
from processes import free_port, wait_for_server, wait_until

ROOT = Path(__file__).parents[2]
WORDS = "--target clicked --row_id impression --profile quick --threads 1 --k 3 --k_min 3 --margin 0.1"
COLUMNS = ("impression", "price_gap", "taste", "device", "noise_00", "clicked")
pytestmark = pytest.mark.slow


def serve(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """An MLflow server on loopback over sqlite, ready to answer."""
    command = [
        str(Path(sys.executable).with_name("mlflow")), "server", "--workers", "1", "--backend-store-uri",
        f"sqlite:///{folder / 'mlflow.db'}", "--artifacts-destination", str(folder / "artifacts"),
        "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    process = subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for_server(f"http://127.0.0.1:{port}/health", process)
    return process


def stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    server.wait(30)


def test_a_server_that_is_lost_after_load(tmp_path: Path) -> None:
    make_log(900).select(COLUMNS).write_parquet(tmp_path / "log.parquet")
    port, hold = free_port(), tmp_path / "hold"
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("pipeline", "selectors", "tests/helpers")),
    }
    model = ("--model", "held_model:build")
    command = [sys.executable, "-m", "feature_audit", "run", "--data", "log.parquet", *model, *WORDS.split()]
    server = serve(tmp_path, port)
    try:
        hold.write_text(".audit/load/*/DONE.json")
        first = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        wait_until((tmp_path / f"held_{first.pid}").exists, process=first)  # in the baseline stage
        stop(server)
        hold.unlink()
        lost = time.monotonic()
        written = first.communicate(timeout=300)[1]
        assert first.returncode == 1
        assert time.monotonic() - lost < 60
        [line] = [line for line in written.splitlines() if "error" in line]
        assert "MLflow refused or did not answer" in line
        assert "the same command then continues from the last finished stage without repeating any training" in line
        assert "Traceback" not in written

        server = serve(tmp_path, port)
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        assert "load: reused from the cache" in done.stderr
        assert "baseline: reused from the cache" in done.stderr, "what was trained when the server was lost is kept"
        client = MlflowClient(f"http://127.0.0.1:{port}")
        experiment = client.get_experiment_by_name("feature-audit")
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])
        parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
        assert [run.info.status for run in parents] == ["KILLED", "FINISHED"]
    finally:
        stop(server)

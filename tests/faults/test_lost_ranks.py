"""Ranks that fail or are lost: one line with the reason, and no process is left running."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from click_log import make_log
from command_line import feature_audit, tracking_in

ROOT = Path(__file__).parents[2]
WORDS = (
    "baseline", "--data", "log.parquet", "--target", "clicked", "--row_id", "impression", "--margin", "0.01",
    "--threads", "1", "--ranks", "2",
)  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with tracking_in(tmp_path_factory.mktemp("ranks")) as folder:
        make_log(2_500).write_parquet(folder / "log.parquet")
        yield folder


def workers_of(pid: int) -> list[psutil.Process]:
    """Workers and ranks below a process."""
    return [one for one in psutil.Process(pid).children(recursive=True) if "spawn_main" in " ".join(one.cmdline())]


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("raises", r"ValueError: a row that I cannot read, in a part of \d+ \(.*rank_jobs.py:\d+, in embed"),
        pytest.param(
            "killed",
            r"the baseline stage: memory ran out \(a worker process was killed \(rank 0 of baseline, rank 1 ",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_rank_that_is_lost_ends_the_training_in_one_line(
    home: Path, how: str, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    model = ("--model", "rank_jobs:failing", "--model_params", json.dumps({"how": how}))
    assert feature_audit(*WORDS, *model) == 1
    output = capfd.readouterr().err
    assert re.search(f"feature-audit: error: {says}", output), output
    assert "Traceback" not in output
    assert not workers_of(os.getpid())
    assert not list(home.glob(".audit/baseline/*/*.pt"))


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "workers"), [(signal.SIGINT, "1"), (signal.SIGINT, "2"), (signal.SIGKILL, "2")])
def test_ranks_end_with_their_audit(home: Path, sent: signal.Signals, workers: str) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'pipeline'}{os.pathsep}{ROOT / 'selectors'}"}
    work = ("--work_dir", f"work_{sent}_{workers}", "--workers", workers)
    long = ("--training", "{max_epochs: 1000, patience: 1000}")
    command = [sys.executable, "-m", "feature_audit", *WORDS, *work, *long]
    process = subprocess.Popen(command, cwd=home, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while len(workers_of(process.pid)) < 2 + (workers == "2"):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(6)  # until they train
    family = workers_of(process.pid)
    process.send_signal(sent)
    output = process.communicate(timeout=60)[1]
    _, alive = psutil.wait_procs(family, timeout=20)
    for one in alive:
        one.kill()
    assert not alive, "a rank outlived its audit"
    if sent == signal.SIGINT:
        assert process.returncode == 130, output
        assert output.strip().endswith(
            "interrupted; run the same command again to continue from the last finished stage"
        )

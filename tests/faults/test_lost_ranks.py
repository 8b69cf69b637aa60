"""Ranks that fail or are lost: one line with the reason, and no process is left running."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click_log import make_log
from command_line import feature_audit, tracking_in
from processes import runs, wait_until, workers_of

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
    path = os.pathsep.join(str(ROOT / part) for part in ("pipeline", "selectors", "tests/helpers"))
    work = ("--work_dir", f"work_{sent}_{workers}", "--workers", workers)
    long = ("--training", "{max_epochs: 1000, patience: 1000}", "--model", "rank_jobs:noted")
    command = [sys.executable, "-m", "feature_audit", *WORDS, *work, *long]
    for rank in (0, 1):
        (home / f"trains_{rank}").unlink(missing_ok=True)
    process = subprocess.Popen(
        command, cwd=home, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: all((home / f"trains_{rank}").exists() for rank in (0, 1)), process=process)
    family = workers_of(process.pid)
    assert len(family) == 2 + (workers == "2")
    process.send_signal(sent)
    output = process.communicate(timeout=300)[1]
    wait_until(lambda: not any(map(runs, family)))
    if sent == signal.SIGINT:
        assert process.returncode == 130, output
        assert output.strip().endswith(
            "interrupted; run the same command again to continue from the last finished stage"
        )

"""Trials in worker processes: they end with their parent, however that ends, and at once where it is asked to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys, time
from pathlib import Path
from feature_audit.selection.study import SearchSpace, TrialResult, run_study

def objective(settings, draw, should_stop):
    (Path(sys.argv[1]) / f"started_{draw}").touch()
    time.sleep(float(sys.argv[2]))
    return TrialResult(float(draw))

if __name__ == "__main__":
    import signal
    from feature_audit.errors import Terminated
    def end(*_):
        raise Terminated
    signal.signal(signal.SIGTERM, end)
    space = SearchSpace((2, 8), (1.0, 2.0), (0.1, 0.2), (0.5, 1.0))
    journal = Path(sys.argv[1]) / "study.journal"
    study = run_study(objective, space=space, trials=3, seed=2**32 - 1, journal=journal, workers=2)
    print(len(study.finished))
"""


def start(folder: Path, seconds: str) -> subprocess.Popen[str]:
    (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'pipeline'}{os.pathsep}{ROOT / 'selectors'}"}
    command = [sys.executable, "script.py", str(folder), seconds]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_workers_end_with_their_parent(tmp_path: Path, sent: signal.Signals) -> None:
    process = start(tmp_path, "120")
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("started_*"))) < 2:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 2
    process.send_signal(sent)
    gone, alive = psutil.wait_procs([*family, psutil.Process(process.pid)], timeout=20)
    for one in alive:
        one.kill()
    process.communicate()
    assert not [one for one in alive if one.pid != process.pid], "a worker outlived its parent"
    assert not alive, "the parent waits for trials that nobody asks for"
    assert len(gone) >= 3


def test_workers_that_are_left_alone_finish_every_trial_once(tmp_path: Path) -> None:
    process = start(tmp_path, "0")
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    assert out.strip() == "3"

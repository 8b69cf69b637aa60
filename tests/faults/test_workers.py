"""Jobs in worker processes end with their parent, however that ends, and at once if it is told to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import runs, started_by, wait_until

ROOT = Path(__file__).parents[2]
SCRIPT = """
import subprocess, sys, time
from pathlib import Path
from feature_audit.engine import Job, LocalEngine

def wait(folder, number, watch=None):
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])  # as a team's own training
    (folder / f"started_{number}").touch()
    program.wait()

if __name__ == "__main__":
    import signal
    from feature_audit.errors import Terminated
    def end(*_):
        raise Terminated
    signal.signal(signal.SIGTERM, end)
    folder = Path(sys.argv[1])
    with LocalEngine(workers=2) as engine:
        engine.run([Job(wait, (folder, number), folder / str(number), "waiting") for number in range(3)])
"""


def start(folder: Path) -> subprocess.Popen[str]:
    (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'pipeline'}{os.pathsep}{ROOT / 'selectors'}"}
    command = [sys.executable, "script.py", str(folder)]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    "sent", [signal.SIGKILL, *(pytest.param(one, marks=pytest.mark.slow) for one in (signal.SIGTERM, signal.SIGINT))]
)
def test_workers_and_what_they_started_end_with_their_parent(tmp_path: Path, sent: signal.Signals) -> None:
    process = start(tmp_path)
    wait_until(lambda: len(list(tmp_path.glob("started_*"))) == 2, process=process)
    family = started_by(process.pid)
    programs = started_by(process.pid, "time.sleep(600)")
    assert len(programs) == 2
    assert len(family) >= 4
    process.send_signal(sent)
    try:
        process.communicate(timeout=60)  # it does not wait for jobs that nobody asks for any more
        wait_until(lambda: not any(map(runs, family)), seconds=60)  # neither a worker nor its program outlives it
    finally:
        process.kill()

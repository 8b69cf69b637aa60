"""Jobs in worker processes end with their parent, however that ends, and at once if it is told to stop."""

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
import subprocess, sys, time
from pathlib import Path
from feature_audit.engine import Job, LocalEngine

def wait(folder, number, watch=None):
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])  # as a team's own training
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
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("started_*"))) < 2:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    family = psutil.Process(process.pid).children(recursive=True)
    assert len([one for one in family if "time.sleep(120)" in " ".join(one.cmdline())]) == 2
    process.send_signal(sent)
    gone, alive = psutil.wait_procs([*family, psutil.Process(process.pid)], timeout=20)
    for one in alive:
        one.kill()
    process.communicate()
    assert not [one for one in alive if one.pid != process.pid], "a worker, or its program, outlived its parent"
    assert not alive, "the parent waits for jobs that nobody asks for any more"
    assert len(gone) >= 5

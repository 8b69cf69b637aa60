"""Out of memory: one line, no incomplete file is taken for a complete one, and the same command continues."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click_log import make_log
from command_line import feature_audit, newest_run, tracking_in
from feature_audit.memory import OutOfMemoryError, WorkerKilledError, memory_for

ROOT = Path(__file__).parents[2]
COLUMNS = ("impression", "price_gap", "taste", "device", "noise_00", "noise_01", "clicked")
WORDS = (
    "select", "--data", "log.parquet", "--target", "clicked", "--row_id", "impression", "--model", "mlp", "--profile",
    "quick", "--threads", "1", "--k", "3", "--margin", "0.1", "--training", "{embedding_dim: 96, max_epochs: 1}",
)  # fmt: skip
#: The command with a memory limit from one stage on, slightly above the memory held by then: enough for Python and its
#: libraries, whose errors would differ, and too little for one layer of a large model.
LIMITED = """
import os, resource
import psutil
from feature_audit import cli
from feature_audit.orchestration import run, stage_run
from feature_audit.fitting.cache import own_folder

def limited(work_dir, key):
    if key.stage == os.environ["LIMITED_STAGE"]:
        most = psutil.Process().memory_info().vms + (200 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    return own_folder(work_dir, key)

if __name__ == "__main__":
    stage_run.own_folder = limited
    run.tune_process = lambda threads: None  # which keeps what was freed
    cli.entry()
"""

#: A model whose workers are killed as many times as is asked for.
KILLED = """
import multiprocessing, os, signal
from pathlib import Path
from feature_audit.models import build_model

def build(schema, times):
    killed = Path(f"killed_{times}_times")
    if multiprocessing.parent_process() is not None and len(list(Path().glob(f"{killed}_*"))) < times:
        Path(f"{killed}_{os.getpid()}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return build_model("mlp", schema, embedding_dim=8, params={"hidden": [16]})
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a log."""
    with tracking_in(tmp_path_factory.mktemp("memory")) as folder:
        make_log(900).select(COLUMNS).write_parquet(folder / "log.parquet")
        yield folder


def start(home: Path, *words: str, stage: str = "") -> subprocess.Popen[str]:
    (home / "limited.py").write_text(LIMITED, encoding="utf-8")
    path = os.pathsep.join([str(ROOT / "pipeline"), str(ROOT / "selectors")])
    environment = {**os.environ, "PYTHONPATH": path, "LIMITED_STAGE": stage, "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "limited.py", *WORDS, *words]
    return subprocess.Popen(command, cwd=home, env=environment, stderr=subprocess.PIPE, text=True)


def one_line(process: subprocess.Popen[str]) -> str:
    written = process.communicate(timeout=600)[1]
    assert process.returncode == 1, written
    assert "Traceback" not in written
    [line] = [line for line in written.splitlines() if "error:" in line]
    return line


@pytest.mark.parametrize(
    ("fails", "says"),
    [
        (lambda: torch.empty(2**46), "asked for 281.5 TB"),
        (lambda: np.empty(2**47), "asked for 1.00 PiB"),
        (lambda: [None] * 2**60, "an allocation was refused"),
        (lambda: bytearray(2**60), "an allocation was refused"),
        (
            lambda: raised(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")),
            "asked for 2.00 GiB",
        ),
        (lambda: raised(RuntimeError("std::bad_alloc")), "an allocation was refused"),
        (lambda: raised(ImportError("x.so: failed to map segment from shared object")), "an allocation was refused"),
        (
            lambda: raised(WorkerKilledError("a worker process was killed twice")),
            "a worker process was killed twice, which usually means that memory ran out",
        ),
    ],
)
def test_every_out_of_memory_error_becomes_one_line(fails: Callable[[], object], says: str) -> None:
    with pytest.raises(OutOfMemoryError, match="the audit: memory ran out") as caught, memory_for("the audit"):
        fails()
    line = str(caught.value)
    assert says in line
    assert "B are in use by this process); give it more memory, or use a smaller training.batch_size" in line


def raised(error: Exception) -> None:
    raise error


def test_other_exceptions_pass() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_for("x"):
        raised(RuntimeError("shapes do not fit"))


@pytest.mark.slow
def test_a_stage_without_memory(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    large = ("--model_params", "{hidden: [8192, 8192]}")
    line = one_line(start(home, "--work_dir", "limited", *large, stage="baseline"))
    assert "the baseline stage: memory ran out (asked for 268.4 MB; " in line
    assert "the same command then continues from the finished work" in line
    assert newest_run().info.status == "FAILED"
    assert not list((home / "limited" / "baseline").rglob("DONE.json"))
    assert feature_audit(*WORDS, "--work_dir", "limited") == 0
    assert "load: reused from the cache" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_a_worker_that_the_system_kills(home: Path, times: int) -> None:
    (home / "killed_model.py").write_text(KILLED, encoding="utf-8")
    model = ("--model", "killed_model:build", "--model_params", f"{{times: {times}}}")
    process = start(home, "--work_dir", f"killed_{times}", "--trials", "2", "--workers", "2", *model, stage="none")
    if times == 1:
        said = process.communicate(timeout=600)[1]
        assert said.count("a worker process was killed; running it again") == 1
        assert process.returncode == 0
    else:
        line = one_line(process)
        assert (
            "the baseline stage: memory ran out (a worker process was killed twice (baseline), which usually "
            "means that memory ran out" in line
        )

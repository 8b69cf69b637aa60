"""After a kill at any time, the same command continues: no finished trial is lost, and the study equals a whole run's.

All commands are separate processes with one thread, so that their results are equal to the last digit.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click_log import make_log
from mlflow import MlflowClient

ROOT = Path(__file__).parents[3]
TRIALS = 3
WORDS = (
    f"--target clicked --time ts --group user_id --row_id impression --margin 0.01 --model mlp --k 10 --trials {TRIALS}"
)
pytestmark = pytest.mark.slow
#: The command line, killed when its second trial is half done.
KILLED = """
import os, signal
from feature_audit import cli
from feature_audit.fitting.progress import SelectionProgress

finished, trial_done, trial_step = [], SelectionProgress.trial_done, SelectionProgress.trial_step

def done(progress):
    finished.append(trial_done(progress))

def step(progress, state):
    trial_step(progress, state)
    if len(finished) == 1 and state["phase"] == "eliminate":
        os.kill(os.getpid(), signal.SIGKILL)

SelectionProgress.trial_done, SelectionProgress.trial_step = done, step
cli.entry()
"""


class Home:
    """A folder with a log and a tracking store, and the command that audits the log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        make_log(4_000).write_parquet(folder / "log.parquet")
        self.environment = {
            **os.environ,
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
            "PYTHONPATH": f"{ROOT / 'pipeline'}{os.pathsep}{ROOT / 'selectors'}",
        }

    def run(self, stage: str, work: str, *, program: Sequence[str] = ("-m", "feature_audit"), code: int = 0) -> str:
        """``feature-audit <stage>`` with the folder ``work`` for stores and caches; its standard error."""
        command = [
            sys.executable, *program, stage, "--data", str(self.folder / "log.parquet"),
            "--work_dir", str(self.folder / work), "--threads", "1", *WORDS.split(),
        ]  # fmt: skip
        done = subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr[-2000:]
        return done.stderr

    def trials(self, work: str) -> dict[str, dict[str, Any]]:
        """The files of the finished trials, by name."""
        files = sorted((self.folder / work).glob("select/*/trial_*.json"))
        return {file.name: json.loads(file.read_text()) for file in files}


def computed(trials: dict[str, dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Settings and results of the trials, in order."""
    return [(name, one["draw"], one["result"]["value"], one["result"]["notes"]) for name, one in trials.items()]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("resume"))


@dataclass(frozen=True)
class Interrupted:
    """An audit that was killed in the middle of its second trial, and then run again by the same command.

    Attributes:
        before: the trials after the first process was killed.
        written: standard error of the second process.
    """

    before: dict[str, dict[str, Any]]
    written: str


@pytest.fixture(scope="module")
def interrupted(home: Home) -> Interrupted:
    home.run("run", "killed", program=("-c", KILLED), code=-signal.SIGKILL)
    return Interrupted(home.trials("killed"), home.run("run", "killed"))


def test_sigkill_in_the_middle_of_a_trial_loses_no_finished_trial(home: Home, interrupted: Interrupted) -> None:
    before, after = interrupted.before, home.trials("killed")
    assert list(before) == ["trial_0.json"], "killed in the middle of a trial"
    assert list(after) == [f"trial_{number}.json" for number in range(TRIALS)]
    assert after["trial_0.json"] == before["trial_0.json"], "the seconds, too: it was not run again"
    for line in ("select: continuing after an interruption", f"select: trial {TRIALS} of {TRIALS}"):
        assert line in interrupted.written
    assert f"select: trial 1 of {TRIALS}" not in interrupted.written


def test_the_same_command_gives_a_verdict_and_reports_the_whole_study(home: Home, interrupted: Interrupted) -> None:
    client = MlflowClient(home.environment["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("feature-audit")
    assert experiment is not None
    run = client.search_runs([experiment.experiment_id], "tags.audit.k LIKE '%'")[0]
    assert run.data.tags["audit.verdict"] in ("pass", "fail", "inconclusive")
    report = json.loads(Path(client.download_artifacts(run.info.run_id, "report/report.json")).read_text())
    assert [row["state"] for row in report["trials"]] == ["complete"] * TRIALS
    assert [row["value"] for row in report["trials"]] == [
        trial["result"]["value"] for trial in home.trials("killed").values()
    ]


def test_the_same_seed_gives_the_same_study_interrupted_or_not(home: Home, interrupted: Interrupted) -> None:
    home.run("select", "whole")
    whole = home.trials("whole")
    assert len(whole) == TRIALS
    assert computed(home.trials("killed")) == computed(whole)

"""After a kill at any time, the same command continues: no finished trial is lost, and the study equals a whole run's.

All commands are separate processes with one thread, so that their results are equal to the last digit.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
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

    def start(self, stage: str, work: str, *words: str) -> subprocess.Popen[str]:
        """``feature-audit <stage>`` with the folder ``work`` for stores and caches."""
        command = [
            sys.executable, "-m", "feature_audit", stage, "--data", str(self.folder / "log.parquet"),
            "--work_dir", str(self.folder / work), "--threads", "1", *WORDS.split(), *words,
        ]  # fmt: skip
        return subprocess.Popen(command, env=self.environment, cwd=self.folder, stderr=subprocess.PIPE, text=True)

    def finish(self, stage: str, work: str, *words: str) -> str:
        """Run the stage to the end; its standard error."""
        process = self.start(stage, work, *words)
        written = process.communicate()[1]
        assert process.returncode == 0, written[-2000:]
        return written

    def select_folder(self, work: str) -> Path:
        """The only folder of the select stage, next to its lock."""
        [folder] = (path for path in (self.folder / work / "select").iterdir() if path.is_dir())
        return folder

    def trials(self, work: str) -> dict[str, dict[str, Any]]:
        """The files of the finished trials, by name."""
        files = sorted((self.folder / work).glob("select/*/trial_*.json"))
        return {file.name: json.loads(file.read_text()) for file in files}


def wait_for_trials(process: subprocess.Popen[str], home: Home, work: str, number: int) -> None:
    """Until so many trials are finished."""
    deadline = time.monotonic() + 300
    while len(home.trials(work)) < number:
        assert process.poll() is None, process.communicate()[1][-2000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)


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
    first = home.start("run", "killed")
    wait_for_trials(first, home, "killed", 1)
    time.sleep(0.3)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert first.returncode == -signal.SIGKILL
    return Interrupted(home.trials("killed"), home.finish("run", "killed"))


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
    home.finish("select", "whole")
    whole = home.trials("whole")
    assert len(whole) == TRIALS
    assert computed(home.trials("killed")) == computed(whole)

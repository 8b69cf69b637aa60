"""Runs that outlive their process, and how a process is identified."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from feature_audit.tracking import open_parent, parents, runs
from feature_audit.tracking.processes import has_ended, this_process
from mlflow import MlflowClient
from stores import store_in


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    with store_in(tmp_path) as uri, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_EXPERIMENT_ID", "0")
        patch.delenv("MLFLOW_EXPERIMENT_ID")
        patch.delenv("MLFLOW_RUN_ID", raising=False)
        yield uri


def killed_audit(verdict: str) -> None:
    """The run of an audit whose process was killed."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    me = json.loads(this_process())
    process = json.dumps(me | {"pid": ended.pid, "started": psutil.Process(ended.pid).create_time()})
    with pytest.MonkeyPatch.context() as patch:
        for module in (parents, runs):
            patch.setattr(module, "this_process", lambda: process)
        parent = open_parent("feature-audit", "an audit")
        parent.start_child("select")
    if verdict:
        parent.tag({"audit.verdict": verdict})
    ended.wait()


@pytest.mark.parametrize("verdict", ["", "pass"])
def test_the_next_audit_ends_the_runs_of_a_killed_one(store: str, verdict: str) -> None:
    living = open_parent("feature-audit", "a living audit")
    killed_audit(verdict)
    client = MlflowClient()
    elsewhere = client.create_run(client.get_run(living.id).info.experiment_id, tags={"audit.process": ELSEWHERE})
    stranger = client.create_run(client.get_run(living.id).info.experiment_id)
    started = open_parent("feature-audit", "the next audit")
    found = client.search_runs([client.get_run(living.id).info.experiment_id])
    left = {run.info.run_id: run for run in found}
    for run_id in (living.id, started.id, elsewhere.info.run_id, stranger.info.run_id):
        assert left.pop(run_id).info.status == "RUNNING"
    assert {run.info.run_name: run.info.status for run in left.values()} == {"an audit": "KILLED", "select": "KILLED"}
    parent = next(run for run in left.values() if run.info.run_name == "an audit")
    assert parent.data.tags["audit.verdict"] == (verdict or "error")
    assert ("the process was killed" in parent.data.tags.get("mlflow.note.content", "")) == (not verdict)


ELSEWHERE = json.dumps({"host": "another", "pid": 2**22 + 1, "started": 0.0})


def test_a_process_is_known_by_its_host_number_and_start() -> None:
    me = json.loads(this_process())
    assert me["pid"] == os.getpid()
    assert not has_ended(json.dumps(me))
    assert has_ended(json.dumps(me | {"started": me["started"] - 60})), "its number was given to another process"
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    other = json.dumps(me | {"pid": child.pid, "started": psutil.Process(child.pid).create_time()})
    assert not has_ended(other)
    child.communicate(b"\n")
    assert has_ended(other)
    assert not has_ended(json.dumps(json.loads(other) | {"host": "another"})), "nobody here can know"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"host": 1}', '{"host": "a", "pid": "x", "started": 0}'])
def test_what_names_no_process_has_not_ended(text: str) -> None:
    assert not has_ended(text)

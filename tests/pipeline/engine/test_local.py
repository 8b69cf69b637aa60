"""Jobs in one and in several processes: ordered results, complete errors, lost jobs that run again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jobs
import psutil
import pytest
import torch
from command_line import feature_audit
from feature_audit.config import AuditConfig
from feature_audit.engine import Job, LocalEngine, check_engine, job_threads, opened, opened_ranks
from feature_audit.errors import AuditError, UsageError
from feature_audit.memory import WorkerKilledError


def job(function: Any, folder: Path, number: int, *more: Any, watch: Any = None) -> Job:
    return Job(function, (folder, number, *more), folder / f"{number}.json", f"job {number}", watch)


def test_one_worker_is_this_process_and_its_steps_are_reported(tmp_path: Path) -> None:
    steps: list[dict[str, Any]] = []
    with LocalEngine() as engine:
        assert engine.watches
        found = engine.run([job(jobs.square, tmp_path, number, watch=steps.append) for number in range(3)])
    assert [one["square"] for one in found] == [0, 1, 4]
    assert {one["process"] for one in found} == {os.getpid()}
    assert steps == [{"step": number} for number in range(3)]


def test_results_are_in_order_and_reported_as_they_arrive(tmp_path: Path) -> None:
    reported: list[tuple[int, int]] = []

    def tell(place: int, result: dict[str, Any]) -> None:
        reported.append((place, result["square"]))
        (tmp_path / f"told_{place}").touch()

    with LocalEngine(2, threads=1, cards=("4", "7")) as engine:
        assert not engine.watches
        wanted = [job(jobs.square_after_the_next, tmp_path, number, watch=print) for number in range(6)]
        found = engine.run(wanted, tell)
        more = engine.run([job(jobs.square, tmp_path, 9)])
    assert [one["square"] for one in found] == [number**2 for number in range(6)]
    assert sorted(reported) == [(number, number**2) for number in range(6)]
    assert reported.index((0, 0)) > reported.index((1, 1))
    processes = {one["process"] for one in found}
    assert os.getpid() not in processes
    assert len(processes) == 2
    assert more[0]["process"] in processes, "workers stay until the engine is closed"
    assert {one["threads"] for one in found} == {1}
    assert {(one["process"], one["card"]) for one in found} == set(
        zip(sorted(processes, key=lambda pid: next(o["card"] for o in found if o["process"] == pid)), "47", strict=True)
    ), "each worker has a card of its own"
    assert not [pid for pid in processes if psutil.pid_exists(pid)], "they end with the engine"


def test_what_a_job_raises_comes_through(tmp_path: Path) -> None:
    """Also an exception that cannot be unpickled, which would break a pool of processes."""
    with LocalEngine(2) as engine, pytest.raises(AuditError, match=r"^OddError: went wrong 1 \(.*jobs.py:\d+, in fail"):
        engine.run([job(jobs.fail, tmp_path, 1), job(jobs.waits, tmp_path, 2)])


def test_a_killed_worker_is_replaced_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with LocalEngine(2) as engine:
        assert engine.run([job(jobs.killed, tmp_path, 1, 1), job(jobs.killed, tmp_path, 2, 0)]) == [1, 2]
        assert "job 1" in caplog.text
        assert "a worker process was killed; running it again" in caplog.text
        with pytest.raises(WorkerKilledError, match=r"a worker process was killed twice \(job 3\)"):
            engine.run([job(jobs.killed, tmp_path, 3, 2)])
        assert engine.run([job(jobs.killed, tmp_path, 4, 0)]) == [4], "the next stage has workers again"


@pytest.mark.parametrize(
    ("asked", "workers", "cores", "threads"),
    [(0, 1, 8, 2), (0, 1, 1, 1), (3, 1, 2, 3), (0, 2, 2, 1), (4, 2, 2, 1), (4, 2, 16, 4), (0, 8, 16, 2), (0, 64, 8, 1)],
)
def test_workers_share_the_cores(
    asked: int, workers: int, cores: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: cores)
    assert job_threads(asked, workers) == threads


def test_an_engine_that_cannot_be_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setitem(__import__("sys").modules, "ray", None)  # as where it is not installed
    for words, says in (
        (["--engine", "ray"], "engine=ray: the package ray is not installed; pip install 'ray>=2.60,<3', or give"),
        (
            ["--engine", "ray", "--workers", "2"],
            "workers=2: with engine=ray the cluster decides how many jobs run; leave out workers",
        ),
        (["--engine", "ray", "--device", "cuda:1"], "device=cuda:1: with engine=ray each job has its own GPU"),
        (["--engine", "spark"], "engine='spark'"),
        (["--ranks", "2", "--trainer", "jobs:square"], "ranks=2: jobs:square trains, in as many processes as it wants"),
        (["--ranks", "2", "--device", "cuda:1"], "device=cuda:1: with ranks=2 each rank uses a separate card; give"),
    ):
        assert feature_audit("run", "--data", "nowhere.parquet", "--target", "y", *words) == 2
        assert says in capsys.readouterr().err
    assert torch.get_num_threads() >= 1


def test_each_rank_needs_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    config = AuditConfig(ranks=2, workers=2)
    check_engine(config)
    with opened(config) as engine:
        assert engine._cards == ("0,1", "2,3"), "a worker hands its cards on to its ranks"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    with opened_ranks(config) as engine:
        assert engine._cards == ("2", "3")
    check_engine(AuditConfig(ranks=5, device="cpu"))
    with pytest.raises(UsageError, match=r"^ranks=3 and workers=2: need 6 cards, one for each rank, and torch sees 4"):
        check_engine(AuditConfig(ranks=3, workers=2))

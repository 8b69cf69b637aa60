"""Jobs on a Ray cluster of two nodes on this machine: lost workers and nodes, refused nodes, lost drivers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jobs
import pytest
from feature_audit.engine import Job, ray_cluster
from feature_audit.errors import AuditError
from processes import runs, wait_until
from ray_nodes import two_nodes

ray = pytest.importorskip("ray", reason="ray comes with the extra ray")
pytestmark = [pytest.mark.ray, pytest.mark.slow]
ROOT = Path(__file__).parents[3]
DRIVER = """
import sys
from pathlib import Path
import jobs
from feature_audit.engine import Job
from feature_audit.engine.ray_cluster import RayEngine

folder = Path(sys.argv[1])
with RayEngine(1, cards=False) as engine:
    engine.run([Job(jobs.waits, (folder, 0), folder / "0.json", "job 0")])
"""


def job(function: Any, folder: Path, number: int, *more: Any) -> Job:
    return Job(function, (folder, number, *more), folder / f"{number}.json", f"job {number}")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with two_nodes() as found:
        yield found


@pytest.fixture(scope="module")
def engine(cluster: Any) -> Iterator[ray_cluster.RayEngine]:
    with ray_cluster.RayEngine(4, cards=True) as opened:
        yield opened


def test_results_come_in_order_from_both_nodes(engine: ray_cluster.RayEngine, tmp_path: Path) -> None:
    reported: list[int] = []

    def tell(place: int, result: object) -> None:
        reported.append(place)
        (tmp_path / f"told_{place}").touch()

    found = engine.run([job(jobs.square_after_the_next, tmp_path, number) for number in range(6)], tell)
    assert [one["square"] for one in found] == [number**2 for number in range(6)]
    assert sorted(reported) == list(range(6))
    assert reported.index(0) > reported.index(1), "each is reported as it arrives, not in the order of the jobs"
    assert len({one["process"] for one in found}) >= 2
    assert os.getpid() not in {one["process"] for one in found}


def test_what_a_job_raises_comes_through(engine: ray_cluster.RayEngine, tmp_path: Path) -> None:
    with pytest.raises(AuditError, match=r"^OddError: went wrong 1 \(.*jobs.py:\d+, in fail"):
        engine.run([job(jobs.fail, tmp_path, 1)])


def test_a_lost_worker_costs_its_job_and_a_job_that_kills_its_workers_ends_in_one_line(
    engine: ray_cluster.RayEngine, tmp_path: Path
) -> None:
    assert engine.run([job(jobs.killed, tmp_path, 1, 1), job(jobs.killed, tmp_path, 2, 0)]) == [1, 2]
    with pytest.raises(AuditError, match=r"^job 3: its worker was lost 4 times .* finished work is kept$"):
        engine.run([job(jobs.killed, tmp_path, 3, 9)])


def test_a_node_that_is_not_fit_is_refused(
    engine: ray_cluster.RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AuditError, match=r"^engine=ray: node .* cannot access .*; put work_dir on a file system that"):
        engine.run([job(jobs.square, tmp_path / "elsewhere", 1)])
    theirs = ray_cluster.environment()
    for name, says in (("code", "has other code"), ("version.torch", "has another version of torch")):
        with monkeypatch.context() as patch:
            patch.setattr(ray_cluster, "environment", lambda name=name: {**theirs, name: "0"})
            with pytest.raises(AuditError, match=rf"^engine=ray: node .* {says} .* than the driver \(0\)"):
                engine.run([job(jobs.square, tmp_path, 1)])
    assert not list(tmp_path.iterdir()), "nothing was run"


def test_the_jobs_of_a_killed_driver_end_with_it(cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "driver.py").write_text(DRIVER, encoding="utf-8")
    path = os.pathsep.join(str(ROOT / one) for one in ("pipeline", "selectors", "tests/helpers"))
    process = subprocess.Popen(
        [sys.executable, "driver.py", str(tmp_path)], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}
    )
    wait_until(lambda: list(tmp_path.glob("waits_*")), process=process)
    [left] = tmp_path.glob("waits_*")
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: not runs(int(left.name.split("_")[-1])))


def test_a_lost_node_costs_its_jobs(cluster: Any, engine: ray_cluster.RayEngine, tmp_path: Path) -> None:
    """Last, because the cluster has one node less afterwards."""
    from threading import Thread

    def started() -> list[Path]:
        return list(tmp_path.glob("waits_*"))

    def alive() -> list[int]:
        return [pid for one in started() if runs(pid := int(one.name.split("_")[-1]))]

    def lose_one() -> None:
        wait_until(lambda: len(started()) == 2)
        cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
        # The worker of a killed node outlives it by a moment, in which it could still end its job.
        wait_until(lambda: len(alive()) < len(started()))
        (tmp_path / "go").touch()

    loses = Thread(target=lose_one)
    loses.start()
    assert engine.run([job(jobs.waits, tmp_path, number) for number in range(3)]) == [0, 1, 2]
    loses.join()
    assert len(started()) == 4, "the lost job started twice, the others once"
    # The cluster learns of a lost node some time after its jobs are run again.
    wait_until(lambda: len([node for node in ray.nodes() if node["Alive"]]) == 2)


def test_a_cluster_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    if ray.is_initialized():
        ray.shutdown()
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with (
        pytest.raises(AuditError, match=r"^engine=ray: RAY_ADDRESS=127.0.0.1:9: no Ray cluster answers \("),
        ray_cluster.RayEngine(1, cards=False),
    ):
        pass

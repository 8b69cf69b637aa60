"""Parallel trials and trainings: the audit equals that of one process to the last digit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click_log import make_log
from command_line import artifact, feature_audit, newest_audit, tracking_in
from held_model import HOLD
from processes import runs, wait_until
from ray_nodes import two_nodes

pytestmark = pytest.mark.slow
WORDS = (
    "--data", "log.parquet", "--target", "clicked", "--time", "ts", "--group", "user_id", "--row_id", "impression",
    "--margin", "0.01", "--model", "held_model:build", "--k", "8", "--trials", "3", "--seeds", "2",
    "--baseline_seeds", "2", "--threads", "1", "--seed", "4",
)  # fmt: skip
#: Parts of a report about the machine and the command rather than the log.
OF_THE_MACHINE = {
    "seconds", "seconds_low", "seconds_high", "rows_per_second", "latency_ms", "run_id", "work_dir", "workers", "engine"
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with tracking_in(tmp_path_factory.mktemp("workers")) as folder:
        make_log(2_500).write_parquet(folder / "log.parquet")
        yield folder


def audited(work: str, *words: str) -> dict[str, Any]:
    """The report of an audit with a work folder of its own."""
    assert feature_audit("run", *WORDS, "--work_dir", work, *words) == 0
    return json.loads(artifact(newest_audit(), "report/report.json").read_text(encoding="utf-8"))


def numbers(found: Any, path: str = "") -> dict[str, Any]:
    """Every value of a report by its path, except those about the machine."""
    if not isinstance(found, dict | list):
        return {path: found}
    parts = found.items() if isinstance(found, dict) else enumerate(found)
    kept = [(key, value) for key, value in parts if key not in OF_THE_MACHINE]
    return {place: one for key, value in kept for place, one in numbers(value, f"{path}.{key}").items()}


@pytest.fixture(scope="module")
def alone(home: Path) -> dict[str, Any]:
    """The audit by one process."""
    return audited("alone")


def test_two_workers_give_the_same_audit_to_the_last_digit(home: Path, alone: dict[str, Any]) -> None:
    two = audited("two", "--workers", "2")
    assert numbers(two) == numbers(alone)
    assert len(numbers(alone)) > 500


@pytest.mark.ray
def test_a_cluster_that_loses_a_node_gives_the_same_audit_to_the_last_digit(home: Path, alone: dict[str, Any]) -> None:
    pytest.importorskip("ray", reason="ray comes with the extra ray")
    with two_nodes() as cluster:

        def lose_one() -> None:
            """While the first two trials run."""
            try:
                wait_until(lambda: len(held()) == 2)
                cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
                # The worker of a killed node outlives it by a moment, in which it could still end its trial.
                wait_until(lambda: sum(map(runs, held())) == 1)
                finished.append(len(list((home / "ray").glob("select/*/trial_*.json"))))
            finally:
                HOLD.unlink()

        def held() -> list[int]:
            return [int(path.name.removeprefix("held_")) for path in home.glob("held_*")]

        HOLD.write_text("ray/select/*/train.npy")
        finished: list[int] = []
        loses = Thread(target=lose_one, daemon=True)
        loses.start()
        found = audited("ray", "--engine", "ray")
        assert finished == [0], "a node was lost before a trial was done"
    assert numbers(found) == numbers(alone)

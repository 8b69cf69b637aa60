"""Jobs as tasks of a Ray cluster. Their inputs and outputs are in the work folder, which all nodes share.

No code is uploaded: every task checks that its node has the same installation as the driver, and refuses to run
otherwise. A task whose worker or node is lost is run again; if the driver ends, its tasks end too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from feature_audit.engine import ray_worker
from feature_audit.engine.environment import environment
from feature_audit.engine.jobs import Job, returned, sealed
from feature_audit.errors import AuditError

log = logging.getLogger(__name__)

#: How often a task is retried after its worker or node was lost; preemptible machines are common.
RETRIES = 3
#: Seconds until a file written by another node must be visible here: network file systems cache missing entries.
_SEEN_WITHIN = 60.0
#: Seconds until a cluster must respond.
_ANSWERED_WITHIN = 10.0
#: Timeout in seconds of one wait for results.
_POLL = 1.0
#: Object store size in bytes of a cluster started here: jobs and their results are small.
_STORE_BYTES = 100 << 20


class RayEngine:
    """A Ray cluster: the one named by ``RAY_ADDRESS``, otherwise a local one that ends with the audit.

    The number of parallel jobs depends on the cluster's cores, and on its GPUs if there are any.

    Args:
        threads: threads per job; as many cores are reserved.
        cards: True if jobs may use a GPU; each then gets a separate one, if the cluster has any.

    Raises:
        AuditError: the cluster does not respond.
    """

    def __init__(self, threads: int, *, cards: bool) -> None:
        self._threads, self._cards = threads, cards
        self._connected = False

    def __enter__(self) -> Self:
        import ray

        if not ray.is_initialized():
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            address = os.environ.get("RAY_ADDRESS")
            settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
            if not address:
                settings |= {"address": "local", "include_dashboard": False, "object_store_memory": _STORE_BYTES}
            ends = signal.getsignal(signal.SIGTERM)
            try:
                _require_answer(address)
                ray.init(**settings)
                with contextlib.suppress(ValueError):  # not the main thread, where Ray sets no handler either
                    signal.signal(signal.SIGTERM, ends)  # Ray's handler would end the process without a message
            except Exception as error:  # of Ray and of other libraries
                reason = " ".join(str(error).split())[:200]
                where = f"RAY_ADDRESS={address}: no Ray cluster answers" if address else "no Ray cluster can be started"
                raise AuditError(f"engine=ray: {where} ({reason}); see `ray status`, or give engine=local") from error
            self._connected = True
        ray.cloudpickle.register_pickle_by_value(ray_worker)
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        if self._connected:
            ray.shutdown()

    @property
    def watches(self) -> bool:
        """Whether jobs run in this process, where their steps can be followed."""
        return False

    def run(self, jobs: Sequence[Job], on_result: Callable[[int, Any], None] | None = None) -> list[Any]:
        """Run jobs; see ``Engine``."""
        import ray

        task = ray.remote(ray_worker.work)
        waiting = {
            task.options(**self._needs(job.processes)).remote(self._sent(job)): place for place, job in enumerate(jobs)
        }
        results: dict[int, Any] = {}
        try:
            while waiting:
                found, _ = ray.wait(list(waiting), timeout=_POLL)  # the timeout lets signals through
                if not found:
                    continue
                [ready] = found
                place = waiting.pop(ready)
                results[place] = self._result(ready, jobs[place])
                if on_result is not None:
                    on_result(place, results[place])
        except BaseException:
            for left in waiting:
                with contextlib.suppress(Exception):  # the cluster may be what failed
                    ray.cancel(left, force=True)
            raise
        return [results[place] for place in range(len(jobs))]

    def _needs(self, processes: int) -> dict[str, Any]:
        """Resources of a task, with cores limited to what a node has, because Ray would wait for more forever.

        Raises:
            AuditError: the task needs more GPUs than any node has.
        """
        import ray

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        cores = max((int(node.get("CPU", 0)) for node in nodes), default=0)
        most = max((int(node.get("GPU", 0)) for node in nodes), default=0) if self._cards else 0
        if 0 < most < processes:
            raise AuditError(f"ranks={processes}: no node of the Ray cluster has more than {most} cards; give fewer")
        threads = self._threads * processes
        needs = {"num_cpus": min(threads, cores or threads), "num_gpus": processes if most else 0}
        return {**needs, "max_retries": RETRIES}

    def _sent(self, job: Job) -> dict[str, Any]:
        return {
            "paths": [os.path.abspath(path) for path in sys.path],
            "folder": os.getcwd(),
            "environment": environment(),
            "threads": self._threads,
            "leaves": str(job.marker.parent),
            "label": job.label,
            "job": sealed(job),
        }

    def _result(self, ready: Any, job: Job) -> Any:
        """The return value of a task's job.

        Raises:
            AuditError: the task was lost or refused; the job's exceptions are re-raised.
        """
        import ray

        try:
            state, found = ray.get(ready)
        except ray.exceptions.RayTaskError:  # raised by `work` itself
            raise
        except ray.exceptions.RayError as error:
            reason = " ".join(str(error).split())[:200]
            raise AuditError(
                f"{job.label}: its worker was lost {RETRIES + 1} times ({reason}); make sure that the nodes stay up "
                "and have enough memory, then run the same command again: finished work is kept"
            ) from error
        if state == "refused":
            raise AuditError(f"engine=ray: {found}")
        result = returned(found, job.label)
        _wait_for(job.marker)
        return result


def _require_answer(address: str | None) -> None:
    """Test the connection, because Ray itself would retry for minutes.

    Raises:
        OSError: the address does not respond.
    """
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWERED_WITHIN).close()


def _wait_for(marker: Path) -> None:
    """Wait until a file written by another node is visible here.

    Raises:
        AuditError: it does not appear.
    """
    deadline = time.monotonic() + _SEEN_WITHIN
    while not marker.is_file():
        if time.monotonic() > deadline:
            raise AuditError(
                f"engine=ray: {marker} was written by a worker but is not visible here; put work_dir on a file system "
                "that all nodes share"
            )
        time.sleep(0.2)
        os.listdir(marker.parent)  # makes network file systems refresh

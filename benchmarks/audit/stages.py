"""Stage times and peak memory of whole audits.

    python benchmarks/audit/stages.py                                   # the demo with default settings
    python benchmarks/audit/stages.py --audit demo:200 --audit conf/santander.yaml:200 --threads 1 --threads 2
    python benchmarks/audit/stages.py --device cpu --device cuda        # what a graphics card is worth

Every audit runs as a user would start it, in a process of its own with an empty cache and tracking store. Memory is the
resident set of that process and its children, sampled ten times a second.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audit", action="append", help="`demo:K` or `config.yaml:K`; default demo:200")
    parser.add_argument(
        "--threads", action="append", type=int, help="torch threads to try; default: the audit's own choice"
    )
    parser.add_argument("--device", action="append", help="cpu, cuda or cuda:N; default: the audit's own choice")
    chosen = parser.parse_args()
    print(
        "| audit | device | threads | verdict | K | load | baseline | select | retrain | parity | total s "
        "| full trainings | peak MiB |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    for audit in chosen.audit or ["demo:200"]:
        for device in chosen.device or ["auto"]:
            for threads in chosen.threads or [0]:
                print(row(audit, device, threads), flush=True)


def row(audit: str, device: str, threads: int) -> str:
    source, _, k = audit.rpartition(":")
    named = f"| {audit} | {device} | {threads or 'default'} |"
    words = ["--data", "demo"] if source == "demo" else ["--config", source]
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
            "PYTHONPATH": os.pathsep.join(
                [f"{ROOT / 'pipeline'}", f"{ROOT / 'selectors'}", os.environ.get("PYTHONPATH", "")]
            ),
        }
        words += ["--threads", str(threads), "--device", device]
        command = [sys.executable, "-m", "feature_audit", "run", *words, "--k", k, "--work_dir", f"{folder}/work"]
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
        peak = PeakMemory(process.pid)
        _, messages = process.communicate()
        total = time.perf_counter() - started
        if process.returncode:
            return f"{named} failed: {messages.strip().splitlines()[-1]} |"
        report = finished_report(environment["MLFLOW_TRACKING_URI"])
    seconds = {cost["stage"]: cost["seconds"] for cost in report["costs"]}
    stages = " | ".join(f"{seconds[stage]:.0f}" for stage in ("load", "baseline", "select", "retrain", "parity"))
    trainings = sum(cost["full_trainings"] for cost in report["costs"])
    return (
        f"{named} {report['verdict']} | {report['k']} of {report['n_features']} "
        f"| {stages} | {total:.0f} | {trainings:.1f} | {peak.mebibytes():.0f} |"
    )


def finished_report(uri: str) -> dict[str, Any]:
    """``report/report.json`` of the only audit in a tracking store."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    run = client.search_runs(experiments, "tags.audit.k LIKE '%'")[0]
    return dict(json.loads(Path(client.download_artifacts(run.info.run_id, "report/report.json")).read_text()))


class PeakMemory:
    """Highest resident set of a process tree, sampled in a thread."""

    def __init__(self, pid: int) -> None:
        self.highest = 0
        self.process = psutil.Process(pid)
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while self.process.is_running():
            try:
                tree = [self.process, *self.process.children(recursive=True)]
                self.highest = max(self.highest, sum(one.memory_info().rss for one in tree))
            except psutil.NoSuchProcess:
                return
            time.sleep(0.1)

    def mebibytes(self) -> float:
        return self.highest / 2**20


if __name__ == "__main__":
    main()

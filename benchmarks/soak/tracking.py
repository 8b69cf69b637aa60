"""Does concurrent logging by many searches lose data? Every run, parameter and metric is counted afterwards.

usage: python benchmarks/soak/tracking.py [URI] [--trials 200] [--seeds 8]

One process per seed logs the runs of one audit: a parent run, a nested run for the select stage, and a child run per
trial with its settings and values. ``URI`` is a tracking store; the default is a new SQLite file. For PostgreSQL:
``postgresql+psycopg://user:password@127.0.0.1/database`` (needs psycopg).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

EXPERIMENT = "soak"
EPOCHS = 12


def log_audit(uri: str, seed: int, trials: int) -> None:
    """Log the runs of one audit through the layer that audits use."""
    os.environ["MLFLOW_TRACKING_URI"] = uri
    from feature_audit.orchestration import publish
    from feature_audit.selection.study import TrialRow
    from feature_audit.tracking import open_parent

    parent = open_parent(EXPERIMENT, f"audit {seed}")
    with parent.child("select") as stage:
        for number in range(trials):
            row = TrialRow(
                number=number,
                state="complete",
                settings={"slots": number, "temperature_start": 10.0, "temperature_end": 0.1, "anneal_share": 0.75},
                value=seed + number / trials,
                seconds=1.0,
                notes={},
            )
            publish.trial(stage, row)
        stage.history([{"loss": 1 / (epoch + 1), "metric": 0.5} for epoch in range(EPOCHS)], "select")
    parent.end("FINISHED")


def count(uri: str, seeds: int, trials: int) -> dict[str, tuple[int, int]]:
    """Kind of record -> (found, logged)."""
    import mlflow
    from mlflow import MlflowClient

    mlflow.set_tracking_uri(uri)
    client = MlflowClient()
    found = client.get_experiment_by_name(EXPERIMENT)
    assert found is not None
    runs: list[Any] = []
    token: str | None = None
    while token is None or token:
        page = client.search_runs([found.experiment_id], max_results=1000, page_token=token)
        runs += page
        token = page.token or ""
    ours = [run for run in runs if run.data.tags.get("audit.stage") == "trial"]
    parents = {run.info.run_id for run in runs if run.info.run_name == "select"}
    values = sorted(run.data.metrics.get("trial/value", float("nan")) for run in ours)
    wanted = sorted(seed + number / trials for seed in range(seeds) for number in range(trials))
    history = sum(len(client.get_metric_history(run, "select/loss")) for run in parents)
    return {
        "runs": (len(runs), seeds * (trials + 2)),
        "runs that ended": (sum(run.info.status == "FINISHED" for run in runs), seeds * (trials + 2)),
        "trials under their stage": (
            sum(run.data.tags["mlflow.parentRunId"] in parents for run in ours),
            seeds * trials,
        ),
        "parameters": (sum(len(run.data.params) for run in ours), 4 * seeds * trials),
        "metrics": (sum(len(run.data.metrics) for run in ours), 2 * seeds * trials),
        "values as logged": (sum(a == b for a, b in zip(values, wanted, strict=False)), seeds * trials),
        "steps of a history": (history, EPOCHS * seeds),
    }


def main() -> int:
    """Log, count, print a table; returns 1 if anything is missing."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("uri", nargs="?")
    options.add_argument("--trials", type=int, default=200)
    options.add_argument("--seeds", type=int, default=8)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        uri = given.uri or f"sqlite:///{Path(folder) / 'mlflow.db'}"
        began = time.perf_counter()
        server = multiprocessing.get_context("forkserver")
        server.set_forkserver_preload(["feature_audit.orchestration.publish"])  # imported once, not by every process
        jobs = [server.Process(target=log_audit, args=(uri, seed, given.trials)) for seed in range(given.seeds)]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
        seconds = time.perf_counter() - began
        print(f"{uri.split(':', 1)[0]}: {given.seeds} processes x {given.trials} trials, {seconds:.0f} s")
        failed = sum(job.exitcode != 0 for job in jobs)
        counted = count(uri, given.seeds, given.trials)
    print(f"  processes that failed: {failed}")
    for what, (there, logged) in counted.items():
        print(f"  {what}: {there:,} of {logged:,}")
    return int(failed > 0 or any(there != logged for there, logged in counted.values()))


if __name__ == "__main__":
    sys.exit(main())

"""Throughput of workers: trials and retrainings per hour with one worker and with several, one thread each.

    export OMP_NUM_THREADS=1                                    # NumPy's as well
    python benchmarks/scale/workers.py                          # a generated log, 1 and 2 workers
    python benchmarks/scale/workers.py --rows 400000 --workers 1 2 4 --repeats 3
    python benchmarks/scale/workers.py --ray --csv FILE         # in addition, the same jobs on a Ray cluster

The full model is trained once. Then every engine runs the same jobs as an audit does: ``--jobs`` trials of the
selection, and as many trainings on half of the features. The start of processes is included; the reported times of a
trial and a training show its share. The results of all engines are compared bit by bit.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from feature_audit.config.files import load_config
from feature_audit.engine import Engine, LocalEngine, tune_process
from feature_audit.fitting.cache import StageFolder, open_folder, stage_key
from feature_audit.fitting.trained import open_store
from feature_audit.fitting.trainings import Trainings, Wanted
from feature_audit.selection import Draw
from feature_audit.stages import baseline, load
from feature_audit.stages.select import constraints_of, plan_of
from feature_audit.stages.trials import Trials

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=150_000)
    parser.add_argument("--features", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=4, help="trials, and trainings")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--ray", action="store_true", help="the same on a Ray cluster")
    csv_option(parser)
    given = parser.parse_args()
    tune_process(1)
    engines: list[tuple[str, AbstractContextManager[Engine]]]
    with tempfile.TemporaryDirectory() as folder:
        case = Case(Path(folder), given.rows, given.features)
        print(f"{given.rows:,} rows x {given.features} features, {given.jobs} trials and {given.jobs} trainings\n")
        head = "engine", "trials: s", "s of one", "throughput", "trainings: s", "s of one", "throughput"
        shown = Table(head, given.csv)
        first: tuple[float, float] | None = None
        results: list[Any] = []
        for number in range(given.repeats):
            engines = [(f"{workers} local", LocalEngine(workers, 1)) for workers in given.workers]
            if given.ray:
                from feature_audit.engine.ray_cluster import RayEngine

                engines.append(("ray", RayEngine(1, cards=False)))
            for name, opened in engines:
                with opened as engine:
                    seconds, mean, found = case.run(engine, f"{name} {number}", given.jobs)
                first = first or seconds
                results.append(found)
                cells: list[str] = []
                for one, each, before in zip(seconds, mean, first, strict=True):
                    cells += [f"{one:.0f}", f"{each:.0f}", f"x {before / one:.2f}"]
                about = {"rows": given.rows, "features": given.features, "engine": name, "round": number}
                shown.add(
                    [name, *cells],
                    *(
                        {**about, "jobs": f"{given.jobs} {kind}", "seconds": one, "seconds_of_one": each}
                        for kind, one, each in zip(("trials", "trainings"), seconds, mean, strict=True)
                    ),
                )
        print(f"\nall the same to the last digit: {all(found == results[0] for found in results)}")


class Case:
    """A log, its full model, and the jobs."""

    def __init__(self, folder: Path, rows: int, features: int) -> None:
        self.folder = folder
        log_of(rows, features).write_parquet(folder / "log.parquet")
        given = {"data": str(folder / "log.parquet"), "target": "y", "work_dir": str(folder), "margin": 0.002}
        self.config = load.complete(load_config(None, given | {"metric": "auc", "device": "cpu"}))
        self.prepared = load.load(self.config, self.stage("load"))
        self.config = self.config.model_copy(update={"task": "binary"})
        self.full = baseline.baseline(self.config, self.prepared, self.stage("baseline"))
        self.constraints = constraints_of(self.config, self.prepared)
        self.plan = plan_of(self.config, open_store(self.config, self.prepared), self.constraints)

    def stage(self, name: str) -> StageFolder:
        return open_folder(self.folder, stage_key(name, config={}, inputs={}))

    def run(self, engine: Engine, name: str, jobs: int) -> tuple[tuple[float, float], tuple[float, float], Any]:
        """Seconds of all trials and all trainings, the mean of one, and their results."""
        folder = self.stage(f"jobs {name}")
        trials = Trials.of(self.config, self.prepared, self.full.gated, self.constraints, self.plan, folder.path)
        draws = [Draw(number, self.plan.space.point(number, 0), None) for number in range(jobs)]
        names = self.prepared.schema.names
        half = self.prepared.schema.keep(names[: len(names) // 2])
        trainings = Trainings(self.config, self.prepared, folder, engine=engine)
        wanted = [Wanted(half, f"pruned_{number}", number, f"training {number}") for number in range(jobs)]
        started = time.perf_counter()
        ranked = trials.run(draws, engine, on_result=lambda *_: None, watch=lambda _: None)
        between = time.perf_counter()
        trained = trainings.fit_all(wanted)
        ended = time.perf_counter()
        found = [(one.value, one.notes["order"]) for one in ranked], [(one.metric, one.epochs) for one in trained]
        each = mean([one.seconds or math.nan for one in ranked]), mean([one.seconds for one in trained])
        return (between - started, ended - between), each, found


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def log_of(rows: int, features: int) -> pl.DataFrame:
    """A log of normal columns with decreasing effects."""
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, features)).astype(np.float32)
    logit = x @ (0.8 / np.sqrt(1 + np.arange(features)))
    frame = pl.DataFrame({f"x{place}": x[:, place] for place in range(features)})
    return frame.with_columns(y=pl.Series((random.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int8)))


if __name__ == "__main__":
    main()

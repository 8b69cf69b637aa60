"""The load stage's two passes that read and encode, without its checks, compared with the speed of Polars."""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
from feature_audit.config import AuditConfig
from feature_audit.data.checks.identity import settle
from feature_audit.data.columns.kinds import infer_columns
from feature_audit.data.columns.roles import assign_roles
from feature_audit.data.encoding.fit import fit_encoders
from feature_audit.data.reading.source import open_source
from feature_audit.data.store.writer import write_store
from feature_audit.data.table.dataset import peek, read_log
from feature_audit.data.table.statistics import gather
from feature_audit.schema import ModelSchema


def fitted(config: AuditConfig, work: Path) -> Callable[[Path], None]:
    """Read, count and fit the encoders; returns a function that encodes the table into a folder."""
    source = open_source(config, config.data, work, lambda message: None)
    dtypes = source.frame.collect_schema()
    table = read_log(config, source, assign_roles(config, dtypes.names()))
    shown = peek(source, table.roles.candidates, table.rows)
    columns, _, _ = infer_columns(config, table.roles, dtypes, shown, source.origin)
    columns, _ = settle(config, table, columns, shown)
    statistics = gather(
        source, columns, shown, table.split.of_row, seed=config.seed, max_values=config.encoding.max_categories
    )
    encoders = fit_encoders(columns, statistics, config.encoding)
    schema = ModelSchema(encoders.fields, table.target.task, table.target.n_classes)
    return lambda folder: write_store(folder, table, encoders, schema, {}, progress=lambda message: None)


def encode_only(config: AuditConfig, work: Path) -> None:
    """Read, count, fit and encode."""
    fitted(config, work)(work)


def scan_and_aggregate(path: Path) -> None:
    """Polars only: the mean of every number and the distinct values of every text column, streaming."""
    frame = pl.scan_parquet(path)
    schema = frame.collect_schema()
    wanted = [pl.col(name).mean() if kind.is_numeric() else pl.col(name).n_unique() for name, kind in schema.items()]
    frame.select(wanted).collect(engine="streaming")


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", type=Path)
    parser.add_argument("--repeats", type=int, default=9)
    given = parser.parse_args()
    config = AuditConfig(data=str(given.log), target="clicked", time="time", group="user")
    with tempfile.TemporaryDirectory(dir=given.log.parent) as name:
        encode = fitted(config, Path(name))
        runs: dict[str, list[tuple[float, float]]] = {"encode": [], "aggregate": []}
        for number in range(given.repeats):  # alternating, so that other work on the machine affects both
            runs["aggregate"].append(timed(lambda: scan_and_aggregate(given.log)))
            runs["encode"].append(timed(lambda folder=Path(name) / f"store_{number}": encode(folder)))
    wall, cpu = ({key: statistics.median(run[place] for run in took) for key, took in runs.items()} for place in (0, 1))
    print(json.dumps({"wall": wall, "cpu": cpu}))


if __name__ == "__main__":
    main()

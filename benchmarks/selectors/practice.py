"""The concrete selector compared with rankings that teams use, on real tables, split by time if there is a time.

    PYTHONPATH=pipeline:selectors python benchmarks/search/small.py             # writes the tables from packages
    PYTHONPATH=pipeline:selectors python benchmarks/selectors/practice.py --results practice.jsonl
    PYTHONPATH=pipeline:selectors python benchmarks/selectors/practice.py --results practice.jsonl --report --csv FILE

All of this was fixed before the first run:

* Tables: santander, ml-100k, criteo-10k, isolet, madelon, mnist-test (shared data) and flights_13, hotel_rates,
  grants_other (from packages; those not installed are skipped with the reason). ml-100k (231 fields, numbers and
  categories), criteo-10k, flights_13 and hotel_rates are split by time, the others at random with seed 700. hotel_rates
  is binarised: is the price above the median?
* Rows: 30,000 at most. Those of ml-100k and criteo-10k are the latest, others are drawn at random and keep their order.
  60 / 15 / 25 % for training, validation and test; codes are fitted on train rows.
* K: a tenth, a fifth and a third of the fields, rounded, at least 1. One selection serves all three.
* Every selector gets the same trained net, train and validation rows, and uses the library's defaults. LightGBM gets
  categories as categories, stops early on validation rows and chooses among three tree sizes.
* A selection is evaluated by a net trained from scratch on the K fields: test ROC AUC, or accuracy for more than two
  classes. Selection seeds are 0, 1 and 2, and the net's seed is one more; a ranker without randomness runs once and is
  evaluated by all three nets.
* With ``--validation drawn``, the validation rows of tables with a time are drawn at random from all rows before the
  test rows; otherwise they are the last of these. This variant was added after the first run, to explain its losses.
* The target: ip_cae ahead of every other in the mean over tables, at each of the three K. ± is the standard error of
  the difference over tables.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from arena.case import Case
from arena.encode import encode_frame
from arena.meter import code_version
from arena.options import fail, print_report, show
from arena.records import Results
from arena.report import practice_report
from arena.runner import Chosen
from arena.tables import (
    Entry,
    Table,
    TableAbsent,
    TimeSplit,
    drawn_validation,
    make_table,
    ordered_splits,
    random_splits,
    registry,
)
from arena.tuning import DETERMINISTIC

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import csv_option

OURS = "ip_cae"
METHODS = (OURS, "lightgbm_gain", "mutual_information", "f_test", "permutation", "gradient", "random")
SHARES = {"N/10": 10, "N/5": 5, "N/3": 3}
SPLIT, ROWS = 700, 30_000
SHARED = ("santander", "ml-100k", "criteo-10k", "isolet", "madelon", "mnist-test")
#: Where the validation rows of tables with a time come from.
VALIDATION: dict[str, TimeSplit] = {"last": ordered_splits, "drawn": partial(drawn_validation, seed=SPLIT)}
#: Table of a package -> its column of time, or None.
PACKAGED = {"flights_13": "time_hour", "hotel_rates": "arrival_date", "grants_other": None}


def packaged(name: str, folder: Path, in_time: TimeSplit, most: int | None = None) -> Table:
    """A table written by ``benchmarks/search/small.py``.

    Raises:
        TableAbsent: it was not written.
    """
    file = folder / f"{name}.parquet"
    if not file.is_file():
        raise TableAbsent(f"no file {file}; run benchmarks/search/small.py")
    frame, clock = pl.read_parquet(file), PACKAGED[name]
    frame = frame if clock is None else frame.sort(clock, maintain_order=True).drop(clock)
    rows = np.sort(np.random.default_rng(SPLIT).permutation(len(frame))[:most])
    frame = frame[rows]
    splits = random_splits(len(frame), seed=SPLIT) if clock is None else in_time(len(frame))
    label = frame["label"].to_numpy()
    y = (label > np.median(label)).astype(np.int64) if len(np.unique(label)) > 2 else label
    return make_table(name, encode_frame(frame.drop("label"), splits[0]), y, splits)


def entries(folder: Path, validation: str) -> dict[str, Entry]:
    """All tables by name; their K are set when the number of fields is known."""
    in_time = VALIDATION[validation]
    shared = registry(SPLIT, in_time)
    small: dict[str, Any] = {"ks": (), "batch": 128, "epochs": 20, "patience": 3}
    own = {name: Entry(partial(packaged, name, folder, in_time), **small) for name in PACKAGED}
    own["flights_13"] = replace(own["flights_13"], batch=256, epochs=12, patience=2)
    return {name: shared[name] for name in SHARED} | own


def open_case(name: str, entry: Entry) -> Case:
    """A table with its full net.

    Raises:
        TableAbsent: the table is not available here.
    """
    table = entry.build(ROWS)
    ks = tuple(max(1, round(table.n_fields / part)) for part in SHARES.values())
    return Case(name, replace(entry, build=lambda _: table, ks=ks), rows=ROWS, retrains=1)


def run(case: Case, method: str, seeds: list[int], results: Results) -> None:
    """Run all selections of one method on one table that the results do not contain yet."""
    chosen: Chosen | None = None
    for seed in seeds:
        if results.has(kind="selection", table=case.name, method=method, seed=seed, share="N/3"):
            continue
        started = time.process_time()
        if chosen is None or method not in DETERMINISTIC:
            chosen = case.select(method, case.settings(seed=seed))
        spent = time.process_time() - started
        metrics = []
        for share, k in zip(SHARES, case.ks, strict=True):
            kept = chosen(k)
            outcome = case.retrained_once(kept, seed=1 + seed)
            metrics.append(outcome.metric)
            results.add(
                {
                    "kind": "selection", "table": case.name, "method": method, "seed": seed, "share": share, "k": k,
                    "metric": outcome.metric, "loss": outcome.loss, "kept": kept.tolist(), "seconds": spent,
                }
            )  # fmt: skip
        print(f"{case.name} {method} {seed}: {' '.join(f'{m:.4f}' for m in metrics)}, {spent:.1f} CPU s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*SHARED, *PACKAGED]
    parser.add_argument("--tables", nargs="+", default=names, choices=names, metavar="TABLE")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS, metavar="METHOD")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--validation", default="last", choices=list(VALIDATION), help="rows of tables with a time")
    parser.add_argument("--folder", type=Path, default=Path(".audit/small"), help="of the tables of packages")
    parser.add_argument("--results", type=Path, help="JSON lines; what they hold already is not run again")
    parser.add_argument("--report", action="store_true", help="print the Markdown of --results and run nothing")
    parser.add_argument("--code", help="version to report; default: that of the last record")
    csv_option(parser)
    options = parser.parse_args()
    options.budget = f"practice, validation {options.validation}"
    render = partial(practice_report, reference=OURS)
    if options.report:
        print_report(options, render)
        return
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    try:
        results = Results(options.results, {**code_version(Path(__file__)), "budget": options.budget})
    except (OSError, ValueError) as error:
        fail(f"--results: {error}")
    known = entries(options.folder, options.validation)
    for name in options.tables:
        _run_table(name, known[name], options, results)
    show(options, render, results.find(), "This run and what its file of results held.")


def _run_table(name: str, entry: Entry, options: argparse.Namespace, results: Results) -> None:
    wanted = [(method, seed) for method in options.methods for seed in options.seeds]
    if all(results.has(kind="selection", table=name, method=m, seed=s, share="N/3") for m, s in wanted):
        print(f"{name}: done already", flush=True)
        return
    try:
        case = open_case(name, entry)
    except TableAbsent as reason:
        print(f"{name}: skipped, {reason}", flush=True)
        return
    if not results.has(kind="table", table=name):
        results.add({"kind": "table", "table": name, **case.facts()})
    print(
        f"{name}: {len(case.table.y_train)} train rows, {case.table.n_fields} fields, {case.full.metric:.4f}",
        flush=True,
    )
    for method in options.methods:
        run(case, method, options.seeds, results)


if __name__ == "__main__":
    main()

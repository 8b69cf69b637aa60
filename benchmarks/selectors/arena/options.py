"""Command-line options that the arena and the ablation share."""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch

sys.path.append(str(Path(__file__).resolve().parents[2]))
from measured import append, csv_option

from arena.case import Case
from arena.meter import code_version
from arena.records import Record, Results, pick, read
from arena.tables import TableAbsent, registry


@dataclass(frozen=True)
class Budget:
    """Limits of a run.

    Attributes:
        rows: maximum number of rows of a table; None = all.
        retrains: nets per kept set.
    """

    rows: int | None
    retrains: int


BUDGETS = {"small": Budget(20_000, 1), "full": Budget(None, 2)}


def add_options(parser: argparse.ArgumentParser, *, tables: list[str]) -> None:
    """Add the options for tables, budget, seeds, results and report."""
    parser.add_argument("--tables", nargs="+", default=tables, choices=list(registry()), metavar="TABLE")
    parser.add_argument("--budget", default="small", choices=list(BUDGETS), help="small: 20,000 rows, one retraining")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--results", type=Path, help="JSON lines; what they hold already is not run again")
    parser.add_argument("--report", action="store_true", help="print the Markdown of --results and run nothing")
    parser.add_argument("--code", help="version to report; default: that of the last record")
    csv_option(parser)


def open_results(options: argparse.Namespace, *sources: Path) -> Results:
    """Old and new records of a run; ``sources`` are further files that its figures depend on.

    Exits the program if the file does not contain results.
    """
    try:
        return Results(options.results, {**code_version(*sources), "budget": options.budget})
    except (OSError, ValueError) as error:
        fail(f"--results: {error}")


def print_report(options: argparse.Namespace, render: Callable[[list[Record], str], str]) -> None:
    """Print the Markdown report of a file of results."""
    if options.results is None or not options.results.is_file():
        fail(f"--report: no file {options.results}; give --results FILE of an earlier run")
    try:
        records, note = pick(read(options.results), code=options.code, budget=options.budget)
    except ValueError as error:
        fail(f"--results: {error}")
    show(options, render, records, note)


def show(
    options: argparse.Namespace, render: Callable[[list[Record], str], str], records: list[Record], note: str
) -> None:
    """The Markdown of records; with ``--csv``, every retraining becomes a line of that file, without its features."""
    print(render(records, note))
    selections = [record for record in records if record["kind"] == "selection"]
    if options.csv and selections:
        scalars = [
            {name: value for name, value in one.items() if not isinstance(value, (list, dict)) and name != "kind"}
            for one in selections
        ]
        append(options.csv, *scalars)


def cases(options: argparse.Namespace, is_done: Callable[[str], bool]) -> Iterator[Case]:
    """One case per table with missing runs; tables that are not available are printed with the reason."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    budget = BUDGETS[options.budget]
    for name in options.tables:
        if is_done(name):
            print(f"{name}: done already", flush=True)
            continue
        started = time.perf_counter()
        try:
            case = Case(name, registry()[name], rows=budget.rows, retrains=budget.retrains)
        except TableAbsent as reason:
            print(f"{name}: skipped, {reason}", flush=True)
            continue
        print(
            f"{name}: {case.table.x_train.shape[0]} train rows, {case.table.n_fields} fields, full net "
            f"{case.full.metric:.4f} ({case.spent.seconds:.1f} CPU s)",
            flush=True,
        )
        yield case
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)


def fail(text: str) -> NoReturn:
    """Print one line and exit with code 2."""
    print(text, file=sys.stderr)
    sys.exit(2)

"""IP-CAE on splits and simulated tables that were not used for any choice; run it at two commits to compare them.

    python benchmarks/selectors/splits.py --split 200 --tables drift-3 planted santander --results FILE

Protocol, nets and K are the arena's (`python benchmarks/selectors --help`), settings the library's defaults.
``--split`` picks another random split of the real tables, another end of ml-100k's time, and other simulated tables:

* planted, leaky, rare, demo: as in the selector benchmark, with another seed.
* drift-N: in time order; stable numbers, counts of six values and rare flags whose effect halves towards the end,
  and three uninformative ids, which embeddings can memorise.

Every line of the results is one selection: the test metric of a net retrained on each K.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from arena import simulated, tables
from arena.case import Case
from arena.encode import encode_frame, encode_matrix
from arena.tables import Entry, Table, make_table, ordered_splits, registry


def drifting(number: int, rows: int) -> Table:
    """A drift-N table (see above); ``signal`` is 0 to 2 for the three kinds of signals, -1 for noise and ids."""
    random = np.random.default_rng(2000 + number)
    time_ = np.linspace(0, 1, rows)
    worth = np.interp(time_, [0, 0.5, 0.65, 1], [1, 0.9, 0.45, 0.35])
    stable = random.normal(size=(rows, 4))
    counts = np.minimum(random.poisson(1.2, size=(rows, 3)), 5).astype(float)
    flags = (random.random((rows, 8)) < np.linspace(0.0010, 0.0045, 8)).astype(float)
    logit = stable @ [0.8, -0.6, 0.4, 0.3] - 1.2 - 0.6 * time_
    logit += worth * ((counts - 1.2) @ [0.9, 0.7, 0.5] + 2.5 * flags.sum(axis=1))
    y = random.random(rows) < 1 / (1 + np.exp(-logit))
    ids = np.stack([random.integers(0, size, rows) for size in (1500, 3000, 6000)], axis=1)
    noise = random.normal(size=(rows, 25))
    splits = ordered_splits(rows)
    columns = encode_matrix(np.concatenate([stable, counts, flags, noise], axis=1), splits[0])
    for place, size in enumerate((1500, 3000, 6000)):
        columns.add(f"id{place}", ids[:, place], size)
    signal = np.array([0] * 4 + [1] * 3 + [2] * 8 + [simulated.NOISE] * 28)
    return make_table(f"drift-{number}", columns, y, splits, signal=signal)


def movielens(split: int, most: int | None) -> Table:
    """MovieLens-100k, ending at an earlier time."""
    from feature_audit.datasets import movielens as features

    frame = features.build(str(tables.DATA / "ml-100k" / "ml-100k.inter")).collect()
    frame = frame.head(int(len(frame) * (0.70 + 0.03 * (split % 10)))).tail(most or len(frame))
    splits = ordered_splits(len(frame))
    columns = encode_frame(frame.drop("rating", "timestamp"), splits[0])
    return make_table("ml-100k", columns, (frame["rating"] >= 4).to_numpy(), splits)


def entries(split: int) -> dict[str, Entry]:
    """The arena's tables with other splits and simulations."""
    demo, planted = simulated.demo, simulated.planted
    world = split % 50 + 3
    simulated.planted = lambda number, most=None: planted(number + world + 1, most)
    found = registry(split)
    found["ml-100k"] = replace(found["ml-100k"], build=lambda most: movielens(split, most))
    found["planted"] = replace(
        found["planted-0"], build=lambda most: replace(simulated.planted(0, most), name="planted")
    )
    found["demo"] = replace(found["demo"], build=lambda most: demo(most, seed=split % 97 + 1))
    found["rare"] = replace(found["rare"], build=lambda most: simulated.rare(most, number=split))
    for number in (3, 4):
        found[f"drift-{number}"] = Entry(
            lambda most, number=number: drifting(number, most or 20_000), (5, 8, 12, 20), batch=128
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", type=int, required=True)
    parser.add_argument("--tables", nargs="+", required=True)
    parser.add_argument("--rows", type=int, default=20_000, help="most rows of a table")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--results", type=Path, help="JSON lines")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    known = entries(options.split)
    if set(options.tables) - set(known):
        sys.exit(f"--tables: choose from {', '.join(known)}")
    for name in options.tables:
        case = Case(name, known[name], rows=options.rows, retrains=1)
        for seed in options.seeds:
            started = time.process_time()
            chosen = case.select("ip_cae", case.settings(seed=seed))
            spent = time.process_time() - started
            metric = {k: case.retrained(chosen(k)).metric for k in case.ks}
            each, mean = " ".join(f"{value:.4f}" for value in metric.values()), np.mean(list(metric.values()))
            print(f"{name} {seed}: {each}, mean {mean:.4f}, full {case.full.metric:.4f}, {spent:.1f} CPU s", flush=True)
            if options.results:
                record = {"table": name, "split": options.split, "seed": seed, "metric": metric, "seconds": spent}
                with options.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()

"""The arena: selectors x tables x K x seeds on one machine, the same net retrained on every selection.

    python benchmarks/selectors --tables planted-0 leaky santander --selectors ip_cae lightgbm_gain --seeds 0 1 2

Protocol: rows are split 60 / 15 / 25; codes are fitted on train. One full net is trained per table (early stopping on
validation). Every selector sees train and validation rows only and gets its defaults on every table: none is tuned.
A selection is judged by the test AUC of nets retrained from scratch on the K kept fields, mean over retraining seeds.
Cells: median over selection seeds, worst seed in brackets. Time is CPU time of the selection without retraining, over
CPU time of the full training; the mean rank is over tables and K; truth is planted groups found / noise fields kept.
"""

from __future__ import annotations

import argparse
import warnings
from collections import defaultdict
from collections.abc import Callable

import harness
import numpy as np
import torch
from concrete_selectors import SELECTORS, PathSettings, rank_with
from harness import Table

TABLES: dict[str, Callable[[], Table]] = {
    "santander": harness.santander,
    "planted-0": lambda: harness.planted(0),
    "planted-1": lambda: harness.planted(1),
    "leaky": harness.leaky,
}
_BATCH = {"santander": 512}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=list(TABLES))
    parser.add_argument(
        "--selectors", nargs="+", default=["ip_cae", "cae", "lightgbm_gain", "gradient"], choices=SELECTORS
    )
    parser.add_argument("--k", nargs="+", type=int, default=[5, 10, 20, 40])
    parser.add_argument("--k-max", type=int, default=48, help="slots of the concrete training")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--retrains", type=int, default=2)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rows = []
    for name in options.tables:
        rows += run_table(name, options)
    report(rows, options)


def run_table(name: str, options: argparse.Namespace) -> list[dict[str, object]]:
    """All selectors on one table; one record per selector, seed and K."""
    table = TABLES[name]()
    size = _BATCH.get(name, 256)
    everything = np.arange(table.x_train.shape[1])
    clock = harness.Clock()
    model, _, epochs = harness.fit(table, everything, seed=0, size=size)
    full_time = clock()
    print(
        f"{name}: {table.x_train.shape}, full test AUC {harness.auc(table, model, everything):.4f}, {epochs} epochs",
        flush=True,
    )
    train = harness.batches(table.x_train, table.y_train, size=size, shuffle=True)
    validation = harness.batches(table.x_valid, table.y_valid, size=size, shuffle=False)
    known: dict[tuple[int, ...], float] = {}
    records = []
    for selector in options.selectors:
        for seed in options.seeds:
            clock = harness.Clock()
            path = rank_with(
                selector, model, train, validation, loss=harness.bce, steps_per_epoch=-(-len(table.y_train) // size),
                settings=PathSettings(k_max=min(options.k_max, len(everything)), seed=seed),
                matrix=lambda: (table.x_train.astype(np.float64), table.y_train),
            )  # fmt: skip
            seconds = clock()
            for k in (k for k in options.k if k <= len(everything)):
                kept = path.subset(k)
                key = tuple(kept.tolist())
                if key not in known:
                    known[key] = harness.retrained_auc(table, kept, size=size, seeds=tuple(range(options.retrains)))
                record = {
                    "table": name,
                    "selector": selector,
                    "seed": seed,
                    "k": k,
                    "auc": known[key],
                    "time": seconds / full_time,
                }
                if table.signal is not None:
                    signal = table.signal[kept]
                    record |= {"groups": len(set(signal) - {-1}), "noise": int((signal < 0).sum())}
                records.append(record)
                print("   ", record, flush=True)
    return records


def report(rows: list[dict[str, object]], options: argparse.Namespace) -> None:
    """One Markdown table, best mean rank first."""
    cells: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    for row in rows:
        cells[row["table"], row["selector"], row["k"]].append(row["auc"])
    ranks: dict[str, list[float]] = defaultdict(list)
    for table in options.tables:
        for k in options.k:
            median = {s: np.median(cells[table, s, k]) for s in options.selectors if (table, s, k) in cells}
            for selector, value in median.items():
                better = sum(other > value + 1e-9 for other in median.values())
                ties = sum(abs(other - value) <= 1e-9 for other in median.values())
                ranks[selector].append(better + (ties + 1) / 2)
    print("\n| selector | mean rank | table | " + " | ".join(f"K={k}" for k in options.k) + " | truth | time |")
    print("|---" * (5 + len(options.k)) + "|")
    for selector in sorted(options.selectors, key=lambda s: np.mean(ranks[s])):
        for table in options.tables:
            mine = [row for row in rows if row["table"] == table and row["selector"] == selector]
            texts = []
            for k in options.k:
                values = cells.get((table, selector, k))
                texts.append(f"{np.median(values):.4f} ({min(values):.4f})" if values else "-")
            truth = ", ".join(_truth(mine, k) for k in options.k) if mine and "groups" in mine[0] else "-"
            time = np.median([row["time"] for row in mine])
            start = f"| {selector} | {np.mean(ranks[selector]):.2f} | {table}"
            print(f"{start} | {' | '.join(texts)} | {truth} | {time:.2f} |")


def _truth(rows: list[dict[str, object]], k: int) -> str:
    found, noise = (np.median([row[key] for row in rows if row["k"] == k]) for key in ("groups", "noise"))
    return f"{found:g}/{noise:g}"


if __name__ == "__main__":
    main()

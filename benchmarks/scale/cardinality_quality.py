"""Quality of the full model if codes are updated row by row: test AUC, paired by seed.

    PYTHONPATH=pipeline:selectors python benchmarks/scale/cardinality_quality.py [--tables NAMES] [--csv FILE]

Every value has a separate code, and every code is updated with the named method, regardless of the rule for table sizes
in ``models/zoo/embedding.py``. ``sparse_adam`` is torch's optimiser for sparse gradients.

The criterion was fixed before the run with all six tables, after a prototype on a few: updates row by row are
equivalent if the mean difference to dense updates is above -2 standard errors, over all tables and for every single
table. The standard errors of a table are over its seeds.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from feature_audit.config.sections import TrainingConfig
from feature_audit.models import build_model, predict, train, training
from feature_audit.models.zoo import embedding
from sklearn.metrics import roc_auc_score

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "baseline"))
from encode import MemoryStore
from tables import TABLES, Table, random_split

sys.path.append(str(Path(__file__).resolve().parents[1]))
import measured

WAYS = ("dense", "rows", "sparse_adam")


class SparseAdam:
    """torch's optimisers for dense and for sparse gradients, each for its weights."""

    def __init__(self, weights: list[torch.nn.Parameter], *, lr: float, weight_decay: float, foreach: bool) -> None:
        self.weights, self.lr, self.dense = weights, lr, {"lr": lr, "weight_decay": weight_decay, "foreach": foreach}
        self.parts: list[torch.optim.Optimizer] = []

    def step(self) -> None:
        if not self.parts:
            rows = [weight for weight in self.weights if weight.grad is not None and weight.grad.is_sparse]
            others = [weight for weight in self.weights if weight.grad is not None and not weight.grad.is_sparse]
            self.parts = [torch.optim.SparseAdam(rows, lr=self.lr), torch.optim.AdamW(others, **self.dense)]
        for part in self.parts:
            part.step()


def popular_ids(rows: int = 60_000, users: int = 8_000, items: int = 4_000) -> Table:
    """Users by popularity, items uniformly, their match, and two uninformative columns of 20,000 values."""
    draw = np.random.default_rng(1)
    user, item = np.minimum(draw.zipf(1.2, rows) - 1, users - 1), draw.integers(0, items, rows)
    tastes, kinds = draw.normal(0, 0.6, (users, 3)), draw.normal(0, 0.6, (items, 3))
    signal = draw.normal(0, 0.9, users)[user] + draw.normal(0, 0.9, items)[item] + (tastes[user] * kinds[item]).sum(1)
    codes = {"user": user, "item": item, "noise_0": draw.integers(0, 20_000, rows)}
    codes["noise_1"] = draw.integers(0, 20_000, rows)
    return _ids("popular-ids", draw, codes, signal)


def long_ids(rows: int = 60_000, users: int = 20_000) -> Table:
    """Users with three rows each, all of them informative."""
    draw = np.random.default_rng(3)
    user = draw.integers(0, users, rows)
    return _ids("long-ids", draw, {"user": user}, draw.normal(0, 1.2, users)[user])


def _ids(name: str, draw: np.random.Generator, codes: dict[str, np.ndarray], signal: np.ndarray) -> Table:
    values = draw.normal(size=(len(signal), 8))
    signal = signal + 0.7 * values[:, 0] - 0.5 * values[:, 1] * values[:, 2]
    target = (draw.random(len(signal)) < 1 / (1 + np.exp(-signal))).astype(np.int64)
    frame = pl.DataFrame(values, schema=[f"x{n}" for n in range(8)], orient="row")
    frame = frame.with_columns(pl.Series(name, [f"v{code}" for code in column]) for name, column in codes.items())
    return Table(name, "binary", frame, target, random_split(len(target)))


CASES: dict[str, Callable[[], Table]] = {
    **{name: TABLES[name] for name in ("criteo-10k", "ml-100k", "hotel-like", "clinical")},
    "popular-ids": popular_ids,
    "long-ids": long_ids,
}


def aucs(store: MemoryStore, way: str, seed: int) -> tuple[float, float]:
    """Validation and test AUC of one training."""
    embedding._ROWS_PER_LOOKUP = math.inf if way == "dense" else 0  # type: ignore[assignment]
    optimiser: Any = SparseAdam if way == "sparse_adam" else OPTIMISER
    training.LazyAdamW = optimiser  # type: ignore[misc]
    model = build_model("dcn_v2", store.schema, embedding_dim=4, params={}, seed=seed)
    train(model, store, store.schema, config=TrainingConfig(), task="binary", seed=seed, device="cpu")
    validation, test = (
        roc_auc_score(store.target(split), predict(model, store, split, store.schema, task="binary"))
        for split in ("validation", "test")
    )
    return validation, test


OPTIMISER = training.LazyAdamW


def spread(values: np.ndarray) -> float:
    """Standard error of a mean over seeds."""
    return float(values.std(ddof=1) / math.sqrt(len(values)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", default=",".join(CASES))
    parser.add_argument("--seeds", type=int, default=5)
    measured.csv_option(parser)
    given = parser.parse_args()
    torch.set_num_threads(1)
    differences, level = {way: [] for way in WAYS[1:]}, True
    head = "table", "codes", "way", "AUC validation", "AUC test", "test, difference to dense", "standard error"
    shown = measured.Table(head, given.csv)
    for name in given.tables.split(","):
        store = MemoryStore(CASES[name](), min_count=1)
        codes = sum(field.cardinality for field in store.schema.fields if field.form == "code")
        dense = np.empty(0)
        for way in WAYS:
            found = np.array([aucs(store, way, seed) for seed in range(given.seeds)])
            dense = found if way == "dense" else dense
            gap = found[:, 1] - dense[:, 1]
            gaps = ["-", "-"] if way == "dense" else [f"{gap.mean():+.4f}", f"{spread(gap):.4f}"]
            about = {"table": name, "codes": codes, "way": way}
            shown.add(
                [name, f"{codes:,}", way, f"{found[:, 0].mean():.4f}", f"{found[:, 1].mean():.4f}", *gaps],
                *(
                    {**about, "seed": seed, "validation_auc": float(one), "test_auc": float(other)}
                    for seed, (one, other) in enumerate(found)
                ),
            )
            if way != "dense":
                differences[way].append(gap)
            level &= way != "rows" or gap.mean() > -2 * spread(gap)
    for way, gaps in differences.items():
        mean, error = np.mean(gaps), math.sqrt(sum(spread(gap) ** 2 for gap in gaps)) / len(gaps)
        print(f"{way}: mean difference to dense {mean:+.4f}, standard error {error:.4f}")
        level &= way != "rows" or mean > -2 * error
    print(f"row by row is {'level' if level else 'not level'}")


if __name__ == "__main__":
    main()

"""Quality of the default full model compared with gradient boosting: one command, one table.

    PYTHONPATH=pipeline:selectors python benchmarks/baseline [--tables santander,demo] [--model dcn_v2] [--seeds 3]

Every table is split 60 / 20 / 20 (in file order if that is the order of time, else at random), encoded as in an audit,
and trained with the defaults of ``TrainingConfig``. LightGBM gets the same columns, with early stopping on the same
validation rows; HistGradientBoosting is the reference model of every audit. Figures are measured on the test rows: AUC,
R2 or accuracy.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from encode import MemoryStore
from feature_audit.config.sections import TrainingConfig
from feature_audit.models import MODELS, boosting_scores, build_model, predict, train
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score
from tables import TABLES, Table

sys.path.append(str(Path(__file__).resolve().parents[1]))
import measured


@dataclass(frozen=True)
class Row:
    """One table's results on test rows; ``sd`` over retrain seeds, ``seconds`` of CPU time."""

    table: Table
    ours: np.ndarray
    seconds: float
    lightgbm: float
    lightgbm_seconds: float
    reference: float
    reference_seconds: float

    def cells(self) -> list[str]:
        shape = f"{len(self.table.target):,} x {self.table.frame.width:,}"
        sd = f"{self.ours.std(ddof=1):.4f}" if len(self.ours) > 1 else "-"
        ours = self.ours.mean()
        return [
            self.table.name, shape, f"{ours:.4f}", sd, f"{self.lightgbm:.4f}", f"{self.reference:.4f}",
            f"{ours - self.lightgbm:+.4f}", f"{ours - self.reference:+.4f}",
            f"{self.seconds:.1f}", f"{self.lightgbm_seconds:.1f}", f"{self.reference_seconds:.1f}",
        ]  # fmt: skip

    def figures(self) -> list[dict[str, object]]:
        """Lines of the file, one per training; gradient boosting is trained once."""
        about = {"table": self.table.name, "rows": len(self.table.target), "columns": self.table.frame.width}
        ways = [("ours", seed, value, self.seconds) for seed, value in enumerate(self.ours)]
        ways += [("LightGBM", 0, self.lightgbm, self.lightgbm_seconds)]
        ways += [("HistGB", 0, self.reference, self.reference_seconds)]
        return [
            {**about, "model": model, "seed": seed, "test": float(value), "cpu_seconds": seconds}
            for model, seed, value, seconds in ways
        ]


HEAD = [
    "table", "rows x columns", "ours", "seed sd", "LightGBM", "HistGB",
    "ours - LightGBM", "ours - HistGB", "s", "s LightGBM", "s HistGB",
]  # fmt: skip


def quality(task: str, target: np.ndarray, made: np.ndarray) -> float:
    if task == "binary":
        return float(roc_auc_score(target, made))
    if task == "regression":
        return float(r2_score(target, made))
    return float(accuracy_score(target, made.argmax(axis=1)))


def ours(table: Table, store: MemoryStore, model_name: str, seeds: int) -> tuple[np.ndarray, float]:
    """Test quality per seed and mean CPU seconds of a training."""
    config, results, started = TrainingConfig(), [], time.process_time()
    task = store.schema.task
    for seed in range(seeds):
        model = build_model(model_name, store.schema, embedding_dim=config.embedding_dim, params={}, seed=seed)
        train(model, store, store.schema, config=config, task=task, seed=seed, device="cpu")
        results.append(quality(task, store.target("test"), predict(model, store, "test", store.schema, task=task)))
    return np.array(results), (time.process_time() - started) / seeds


def lightgbm(table: Table, matrix: np.ndarray, categorical: np.ndarray) -> float:
    import lightgbm as lgb

    large = len(table.splits["train"]) > 5_000
    settings = {
        "objective": table.task,
        "learning_rate": 0.03 if large else 0.05,
        "num_leaves": 31 if large else 15,
        "min_data_in_leaf": 50 if large else 10,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "cat_smooth": 20,
        "seed": 0,
        "num_threads": 1,
        "verbose": -1,
    }
    if table.task == "multiclass":
        settings["num_class"] = int(table.target.max()) + 1
    rows = table.splits
    data = lgb.Dataset(
        matrix[rows["train"]], table.target[rows["train"]], categorical_feature=np.flatnonzero(categorical).tolist()
    )
    held_out = lgb.Dataset(matrix[rows["validation"]], table.target[rows["validation"]], reference=data)
    rounds = 150 if table.task == "multiclass" else 2_000
    stop = lgb.early_stopping(50, verbose=False)
    model = lgb.train(settings, data, rounds, valid_sets=[held_out], callbacks=[stop])
    return quality(table.task, table.target[rows["test"]], np.asarray(model.predict(matrix[rows["test"]])))


def measure(name: str, model_name: str, seeds: int) -> Row:
    table = TABLES[name]()
    store = MemoryStore(table)
    matrix, categorical = store.raw(table)
    result, seconds = ours(table, store, model_name, seeds)
    before = time.process_time()
    boosted = lightgbm(table, matrix, categorical)
    middle = time.process_time()
    made = boosting_scores(store, store.schema, split="test")
    after = time.process_time()
    reference = quality(table.task, table.target[table.splits["test"]], made)
    return Row(table, result, seconds, boosted, middle - before, reference, after - middle)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--model", default="dcn_v2", choices=list(MODELS))
    parser.add_argument("--seeds", type=int, default=3)
    measured.csv_option(parser)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"model {given.model}, {given.seeds} seeds, seconds are CPU seconds on one thread\n")
    shown = measured.Table(HEAD, given.csv)
    for name in given.tables.split(","):
        try:
            row = measure(name, given.model, given.seeds)
        except FileNotFoundError as error:
            shown.add([name, f"not on this machine: {error}", *[""] * (len(HEAD) - 2)])
        else:
            shown.add(row.cells(), *row.figures())


if __name__ == "__main__":
    main()

"""How many of a generated table's 50 signals can be found on the audit's own train rows?

    python benchmarks/scale/oracle.py 20000x500 20000x5000 [--csv FILE]

Two methods know the form of the signals, which an audit does not. Each ranks all columns; the signals among its first
50, 100 and 200 are counted:

* one column at a time: the likelihood ratio of the label in 8 quantile bins of a number or in the values of a category,
  as a p-value. The signals of this table are independent, so looking at one column at a time loses no information.
* lasso: logistic regression with an L1 penalty on each number, its absolute value, and the label's mean per category
  (of other folds); of a path of seven penalties the one with the best validation AUC.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from generate import SIGNALS, write_table
from scipy.stats import chi2
from sklearn.metrics import roc_auc_score

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "pipeline"), str(ROOT / "selectors")]

from feature_audit.data import Store  # noqa: E402

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option  # noqa: E402

BINS, FOLDS, PRIOR_ROWS, ITERATIONS = 8, 5, 20, 60
PENALTIES = (0.5, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05)


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="+", help="ROWSxCOLUMNS")
    csv_option(parser)
    given = parser.parse_args()
    head = "table", "train rows", "method", "signals in the first 50", "100", "200", "validation AUC"
    shown = Table(head, given.csv)
    for shape in given.shapes:
        with tempfile.TemporaryDirectory() as folder:
            store = loaded(Path(folder), *map(int, shape.split("x")))
            rows = store.rows("train")
            for name, (order, area) in {"one at a time": (by_likelihood(store), None), "lasso": lasso(store)}.items():
                signal = np.array([one.startswith(SIGNALS) for one in store.schema.names])[order]
                found = {f"signals_in_first_{first}": int(signal[:first].sum()) for first in (50, 100, 200)}
                value = "" if area is None else f"{area:.4f}"
                about = {"table": shape, "train_rows": rows, "method": name}
                shown.add(
                    [shape, f"{rows:,}", name, *found.values(), value], {**about, **found, "validation_auc": value}
                )


def loaded(folder: Path, rows: int, columns: int) -> Store:
    """The training store that an audit of the table would use."""
    write_table(folder / "table.parquet", rows, columns)
    command = [sys.executable, "-m", "feature_audit", "load", "--data", str(folder / "table.parquet")]
    command += ["--target", "clicked", "--work_dir", str(folder / "work")]
    path = os.pathsep.join([str(ROOT / "pipeline"), str(ROOT / "selectors")])
    uri = f"sqlite:///{folder}/mlflow.db"
    environment = {**os.environ, "PYTHONPATH": path, "MLFLOW_TRACKING_URI": uri}
    subprocess.run(command, env=environment, cwd=folder, check=True, capture_output=True)
    return Store.open(next(folder.rglob("layout.json")).parent)


def by_likelihood(store: Store) -> np.ndarray:
    """Columns by the p-value of their likelihood ratio, smallest first."""
    cells, label = store.matrix("train"), store.target("train").astype(np.float64)
    evidence = np.empty(cells.shape[1])
    for place, field in enumerate(store.schema.fields):
        column = cells[:, place]
        edges = np.quantile(column, np.linspace(0, 1, BINS + 1)[1:-1])
        codes = column.astype(int) if field.form == "code" else np.searchsorted(edges, column)
        counts, clicks = np.bincount(codes), np.bincount(codes, label)
        counts, clicks = counts[counts > 0], clicks[counts > 0]
        ratio = 2 * (log_likelihood(clicks, counts) - log_likelihood(label.sum(), len(label)))
        evidence[place] = chi2.logsf(ratio, len(counts) - 1)
    return np.argsort(evidence)


def log_likelihood(clicks: np.ndarray | float, counts: np.ndarray | float) -> float:
    share = np.clip(np.asarray(clicks) / counts, 1e-9, 1 - 1e-9)
    return float((clicks * np.log(share) + (counts - clicks) * np.log(1 - share)).sum())


def lasso(store: Store) -> tuple[np.ndarray, float]:
    """Columns by their largest coefficient at the penalty with the best validation AUC, and that AUC."""
    label = store.target("train").astype(np.float32)
    columns = [terms(store, place) for place in range(len(store.schema.fields))]
    owner = np.repeat(np.arange(len(columns)), [len(train) for train, _ in columns])
    train, validation = (np.concatenate([pair[part] for pair in columns]) for part in (0, 1))
    mean, deviation = train.mean(axis=1, keepdims=True), train.std(axis=1, keepdims=True) + 1e-9
    inputs = torch.from_numpy((train - mean) / deviation).T
    fit = path_of(inputs, torch.from_numpy(label))
    best = (-1.0, np.zeros(0))
    weights = torch.zeros(inputs.shape[1])
    for penalty in PENALTIES:
        weights = fit(penalty, weights)
        area = float(roc_auc_score(store.target("validation"), (((validation - mean) / deviation).T @ weights.numpy())))
        size = np.zeros(len(columns))
        np.maximum.at(size, owner, weights.abs().numpy())
        best = max(best, (area, size), key=lambda one: one[0])
    return np.argsort(-best[1], kind="stable"), best[0]


def terms(store: Store, place: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs from one column, float32 (1 or 2, rows), of train and of validation rows."""
    schema = store.schema.keep([store.schema.names[place]])
    train, validation = (store.matrix(split, schema)[:, 0] for split in ("train", "validation"))
    if schema.fields[0].form != "code":
        middle = np.median(train)
        return np.stack([train, abs(train - middle)]), np.stack([validation, abs(validation - middle)])
    label, fold = store.target("train"), np.random.default_rng(place).integers(0, FOLDS, len(train))
    codes, size = train.astype(int), schema.fields[0].cardinality

    def means(rows: np.ndarray) -> np.ndarray:
        counts, clicks = np.bincount(codes[rows], minlength=size), np.bincount(codes[rows], label[rows], size)
        return ((clicks + PRIOR_ROWS * label.mean()) / (counts + PRIOR_ROWS)).astype(np.float32)

    of_fold = np.stack([means(fold != number) for number in range(FOLDS)])
    return of_fold[fold, codes][None], means(np.ones(len(codes), bool))[validation.astype(int)][None]


def path_of(inputs: torch.Tensor, label: torch.Tensor) -> Callable[[float, torch.Tensor], torch.Tensor]:
    """Fit by accelerated proximal gradients (FISTA) from a start; the penalty is relative to the largest."""
    rows, share = len(label), label.mean()
    largest = float((inputs.T @ (label - share) / rows).abs().max())
    vector = torch.ones(inputs.shape[1])
    for _ in range(20):
        vector = inputs.T @ (inputs @ vector)
        vector /= vector.norm()
    curvature = 1.05 * 0.25 * float((inputs.T @ (inputs @ vector)).norm()) / rows

    def fit(penalty: float, start: torch.Tensor) -> torch.Tensor:
        weights = ahead = start
        momentum, intercept = 1.0, torch.logit(share)
        for _ in range(ITERATIONS):
            residual = torch.sigmoid(inputs @ ahead + intercept) - label
            intercept = intercept - 4 * residual.mean()
            moved = ahead - inputs.T @ residual / (rows * curvature)
            moved = moved.sign() * (moved.abs() - penalty * largest / curvature).clamp_min(0)
            following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            ahead = moved + (momentum - 1) / following * (moved - weights)
            weights, momentum = moved, following
        return weights

    return fit


if __name__ == "__main__":
    main()

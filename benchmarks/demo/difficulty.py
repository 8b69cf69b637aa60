"""Difficulty of the demo log: full model, oracle, random and LightGBM-gain selections, retrained.

    PYTHONPATH=pipeline python benchmarks/demo/difficulty.py --seeds 0 1 2

The full model sees every usable feature (no leaks, constants, duplicates). Each selection is retrained from scratch;
the interval of its AUC difference to the full model resamples test users (95 %, retraining noise not included: see
the sd column). Selections never use the test rows; the oracle uses the simulation's truth. Two models are retrained: a
small net on field embeddings (a cross layer and a perceptron) and LightGBM.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import lightgbm
import numpy as np
import polars as pl
import torch
from encode import Encoded, encode, flatten
from feature_audit.datasets.demo import Truth, ensure_demo, grade
from sklearn.metrics import roc_auc_score

_DIM = 8
_BATCH = 1024


@dataclass(frozen=True)
class Table:
    """One demo log, encoded once; rows are in time order: train, validation, test."""

    encoded: dict[str, Encoded]
    frame: pl.DataFrame
    label: np.ndarray
    user: np.ndarray
    train: int
    fit: int  # train and validation rows
    truth: Truth


def load(directory: Path, seed: int) -> Table:
    data = ensure_demo(directory, seed)
    frame, truth = pl.read_parquet(data.path), Truth.read(data.truth)
    fit = int(0.8 * len(frame))
    train = int(0.85 * fit)
    usable = truth.names("signal", "copy", "noise", "key")
    encoded = {name: encode(frame[name], train) for name in usable}
    label = frame[data.defaults["target"]].to_numpy()
    return Table(encoded, frame, label, frame[data.defaults["group"]].to_physical().to_numpy(), train, fit, truth)


class Net(torch.nn.Module):
    """Field embeddings, one low-rank cross layer, and a perceptron."""

    def __init__(self, fields: list[Encoded]) -> None:
        super().__init__()
        self.codes = [f for f in range(len(fields)) if fields[f].cardinality and fields[f].width == 1]
        self.bags = [f for f in range(len(fields)) if fields[f].cardinality and fields[f].width > 1]
        self.vectors = [f for f in range(len(fields)) if not fields[f].cardinality]
        sizes = [fields[f].cardinality for f in self.codes]
        self.register_buffer("offsets", torch.tensor([0, *sizes]).cumsum(0)[:-1])
        self.table = torch.nn.Embedding(max(sum(sizes), 1), _DIM)
        self.bag_tables = torch.nn.ModuleList(
            torch.nn.EmbeddingBag(fields[f].cardinality, _DIM, padding_idx=0, mode="sum") for f in self.bags
        )
        self.projections = torch.nn.ModuleList(torch.nn.Linear(fields[f].width, _DIM) for f in self.vectors)
        for table in (self.table, *self.bag_tables):
            torch.nn.init.normal_(table.weight, std=0.05)
        width = len(fields) * _DIM
        self.down, self.up = torch.nn.Linear(width, 32, bias=False), torch.nn.Linear(32, width)
        self.deep = torch.nn.Sequential(
            torch.nn.Linear(width, 128), torch.nn.ReLU(), torch.nn.Linear(128, 64), torch.nn.ReLU()
        )
        self.head = torch.nn.Linear(width + 64, 1)

    def forward(self, codes: torch.Tensor, others: list[torch.Tensor]) -> torch.Tensor:
        parts = [self.table(codes + self.offsets).flatten(1)]
        maps = [*self.bag_tables, *self.projections]
        parts += [transform(values) for transform, values in zip(maps, others, strict=True)]
        x = torch.cat(parts, dim=1)
        crossed = x * self.up(self.down(x)) + x
        return self.head(torch.cat([crossed, self.deep(x)], dim=1)).squeeze(1)


def net_scores(table: Table, names: list[str], seed: int) -> np.ndarray:
    """Test scores of the net trained on these features, early stopping on validation."""
    torch.manual_seed(seed)
    fields = [table.encoded[name] for name in names]
    net = Net(fields)
    codes = np.hstack([fields[f].values for f in net.codes]) if net.codes else np.zeros((len(table.label), 0), int)
    columns = [torch.from_numpy(codes), *(torch.from_numpy(fields[f].values) for f in (*net.bags, *net.vectors))]
    label = torch.from_numpy(table.label.astype(np.float32))
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-5)
    loss_of = torch.nn.BCEWithLogitsLoss()

    def predict(start: int, stop: int) -> torch.Tensor:
        net.eval()
        with torch.no_grad():
            return torch.cat([net(c, o) for c, o in _batches(columns, torch.arange(start, stop))])

    best, best_state, bad = np.inf, copy.deepcopy(net.state_dict()), 0
    for _ in range(15):
        net.train()
        order = torch.randperm(table.train)
        for rows in order.split(_BATCH):
            loss = loss_of(net(columns[0][rows], [c[rows] for c in columns[1:]]), label[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        validation = float(loss_of(predict(table.train, table.fit), label[table.train : table.fit]))
        if validation < best:
            best, best_state, bad = validation, copy.deepcopy(net.state_dict()), 0
        elif (bad := bad + 1) >= 2:
            break
    net.load_state_dict(best_state)
    return predict(table.fit, len(label)).numpy()


def _batches(columns: list[torch.Tensor], rows: torch.Tensor):  # type: ignore[no-untyped-def]
    for part in rows.split(4096):
        yield columns[0][part], [column[part] for column in columns[1:]]


def boosted(table: Table, names: list[str], seed: int) -> tuple[np.ndarray, dict[str, float]]:
    """Test scores of LightGBM trained on these features, and each feature's total gain."""
    parts = {name: flatten(table.frame[name], table.label, table.train) for name in names}
    matrix = np.hstack(list(parts.values()))
    params = {
        "objective": "binary", "learning_rate": 0.08, "num_leaves": 15, "min_data_in_leaf": 50, "verbosity": -1,
        "seed": seed, "num_threads": 1, "deterministic": True, "feature_fraction": 0.3, "lambda_l2": 5,
    }  # fmt: skip
    held = slice(table.train, table.fit)
    train = lightgbm.Dataset(matrix[: table.train], table.label[: table.train])
    valid = lightgbm.Dataset(matrix[held], table.label[held], reference=train)
    stop = lightgbm.early_stopping(30, verbose=False)
    model = lightgbm.train(params, train, 600, valid_sets=[valid], callbacks=[stop])
    owners = [name for name, columns in parts.items() for _ in range(columns.shape[1])]
    gain = dict.fromkeys(names, 0.0)
    for owner, value in zip(owners, model.feature_importance("gain"), strict=True):
        gain[owner] += float(value)
    return np.asarray(model.predict(matrix[table.fit :])), gain


def user_interval(label: np.ndarray, user: np.ndarray, ours: np.ndarray, full: np.ndarray) -> tuple[float, float]:
    """95 % interval of AUC(ours) - AUC(full): 400 resamples of the test users with Poisson weights."""
    rng = np.random.default_rng(0)
    codes = np.unique(user, return_inverse=True)[1]
    weights = rng.poisson(1.0, (400, codes.max() + 1))[:, codes]
    deltas = [_weighted_auc(label, ours, w) - _weighted_auc(label, full, w) for w in weights]
    return float(np.quantile(deltas, 0.025)), float(np.quantile(deltas, 0.975))


def _weighted_auc(label: np.ndarray, score: np.ndarray, weight: np.ndarray) -> float:
    order = np.argsort(score, kind="stable")
    positive, negative = (weight * label)[order], (weight * (1 - label))[order]
    return float((positive * (negative.cumsum() - negative / 2)).sum() / positive.sum() / negative.sum())


def report(table: Table, ks: list[int], retrains: int) -> None:
    everything = list(table.encoded)
    oracle = table.truth.names("signal")
    rng = np.random.default_rng(0)
    label, user = table.label[table.fit :], table.user[table.fit :]
    boosted_full, gain = boosted(table, everything, 0)
    ranking = sorted(everything, key=gain.__getitem__, reverse=True)
    sets = {"full": everything, f"oracle {len(oracle)}": oracle}
    for k in ks:
        sets[f"gain {k}"] = ranking[:k]
        sets[f"random {k}"] = [str(name) for name in rng.permutation(everything)[:k]]
    print(f"demo seed {table.truth.seed}: {len(label)} test rows, {len(np.unique(user))} test users, "
          f"{len(everything)} usable features, Bayes AUC {table.truth.bayes_auc:.4f}")  # fmt: skip
    print(f"{'set':<12}{'net AUC':>9}{'sd':>8}{'delta':>9}  {'95 % interval':<20}{'lgbm':>8}{'delta':>9}  grade")
    full_runs: list[np.ndarray] | None = None
    for name, features in sets.items():
        runs = [net_scores(table, features, seed) for seed in range(retrains)]
        aucs = np.array([roc_auc_score(label, run) for run in runs])
        full_runs = runs if full_runs is None else full_runs
        full_auc = np.mean([roc_auc_score(label, run) for run in full_runs])
        pairs = zip(runs, full_runs, strict=True)
        lows, highs = zip(*(user_interval(label, user, ours, full) for ours, full in pairs), strict=True)
        tree = boosted_full if name == "full" else boosted(table, features, 0)[0]
        tree_auc, tree_full = roc_auc_score(label, tree), roc_auc_score(label, boosted_full)
        result = grade(features, table.truth)
        print(
            f"{name:<12}{aucs.mean():9.4f}{aucs.std(ddof=min(1, retrains - 1)):8.4f}{aucs.mean() - full_auc:+9.4f}  "
            f"[{np.mean(lows):+.4f}, {np.mean(highs):+.4f}]  {tree_auc:8.4f}{tree_auc - tree_full:+9.4f}  "
            f"{len(result.covered)}+{len(result.covered_by_copy)}/{result.groups} signals, {len(result.noise)} noise",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of the generator")
    parser.add_argument("--k", type=int, nargs="+", default=[45, 68, 200], help="sizes of random and gain selections")
    parser.add_argument("--retrains", type=int, default=2, help="trainings of the net per selection")
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()) / "feature-audit-demo")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    for seed in arguments.seeds:
        report(load(arguments.directory, seed), arguments.k, arguments.retrains)
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()

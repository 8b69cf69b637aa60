"""Tables, the downstream network and its training, shared by the selector benchmarks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@dataclass(frozen=True)
class Table:
    """Coded fields of three splits. ``x_*`` are int64 (rows, N) codes; ``signal`` is the known truth, or None."""

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_valid: np.ndarray
    y_valid: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    cardinalities: np.ndarray
    signal: np.ndarray | None = None


def quantile_codes(train: np.ndarray, *others: np.ndarray, bins: int = 16) -> tuple[list[np.ndarray], np.ndarray]:
    """Codes numeric columns by the quantiles of the train rows."""
    coded = [np.empty(part.shape, dtype=np.int64) for part in (train, *others)]
    sizes = np.empty(train.shape[1], dtype=np.int64)
    for column in range(train.shape[1]):
        values = np.unique(train[:, column])
        inner = np.linspace(0, 1, bins // 2 + 1)[1:]
        cuts = [np.quantile(of, inner, method="nearest") for of in (train[:, column], values)]
        edges = np.setdiff1d(np.concatenate(cuts), values[:1])
        sizes[column] = len(edges) + 1
        for code, part in zip(coded, (train, *others), strict=True):
            code[:, column] = np.searchsorted(edges, part[:, column], side="right")
    return coded, sizes


def split_table(name: str, x: np.ndarray, y: np.ndarray, *, seed: int, signal: np.ndarray | None = None) -> Table:
    """60 / 15 / 25 random split, codes fitted on train, constant and duplicate columns dropped."""
    order = np.random.default_rng(seed).permutation(len(y))
    a, b = int(0.6 * len(y)), int(0.75 * len(y))
    parts = [order[:a], order[a:b], order[b:]]
    codes, sizes = quantile_codes(x[parts[0]], x[parts[1]], x[parts[2]])
    _, first = np.unique(codes[0], axis=1, return_index=True)
    keep = np.sort([column for column in first if sizes[column] > 1])
    codes = [code[:, keep] for code in codes]
    signal = None if signal is None else signal[keep]
    xs = [v for i, part in enumerate(parts) for v in (codes[i], y[part].astype(np.float32))]
    return Table(name, *xs, cardinalities=sizes[keep], signal=signal)


def santander() -> Table:
    """Santander Customer Satisfaction, 4 % positives."""
    import polars as pl

    frame = pl.read_parquet(DATA / "santander" / "train.parquet")
    x = frame.drop("ID", "TARGET").to_numpy().astype(np.float64)
    return split_table("santander", x, frame["TARGET"].to_numpy(), seed=0)


def planted(number: int, *, rows: int = 40_000, signals: int = 20, copies: int = 3, noise: int = 180) -> Table:
    """Signals with noisy copies among noise; ``signal`` is the group of each field, -1 for noise."""
    random = np.random.default_rng(1000 + number)
    z = random.normal(size=(rows, signals))
    weight = np.exp(random.uniform(np.log(0.3), np.log(1.8), size=signals)) * random.choice([-1, 1], size=signals)
    score = (z[:, : signals // 2] * weight[: signals // 2]).sum(axis=1)
    for j in range(signals // 2, signals, 2):
        score += weight[j] * (0.6 * z[:, j] + 0.6 * z[:, j + 1] + 0.7 * z[:, j] * z[:, j + 1])
    y = random.random(rows) < 1 / (1 + np.exp(-score + np.median(score)))
    columns, truth = [z], list(range(signals))
    for _ in range(copies):
        columns.append(z + 0.4 * random.normal(size=z.shape))
        truth += list(range(signals))
    columns.append(random.normal(size=(rows, noise)))
    truth += [-1] * noise
    x = np.concatenate(columns, axis=1)
    order = random.permutation(x.shape[1])
    return split_table(f"planted-{number}", x[:, order], y, seed=number, signal=np.array(truth)[order])


def leaky(*, ids: int = 12, cardinality: int = 3000) -> Table:
    """The first planted table plus ids of high cardinality that mean nothing, which embeddings can memorise."""
    table = planted(0)
    random = np.random.default_rng(5)
    parts = []
    for x in (table.x_train, table.x_valid, table.x_test):
        parts.append(np.concatenate([x, random.integers(0, cardinality, size=(len(x), ids))], axis=1))
    return Table(
        "leaky",
        parts[0],
        table.y_train,
        parts[1],
        table.y_valid,
        parts[2],
        table.y_test,
        cardinalities=np.concatenate([table.cardinalities, np.full(ids, cardinality)]),
        signal=np.concatenate([table.signal, np.full(ids, -1)]),
    )


class Net(nn.Module):
    """Field embeddings into an MLP, optionally beside a low-rank DCN-v2 cross network."""

    def __init__(
        self,
        cardinalities: np.ndarray,
        *,
        d: int = 8,
        hidden: tuple[int, ...] = (128, 64),
        cross: int = 0,
        outputs: int = 1,
        rank: int = 32,
    ) -> None:
        super().__init__()
        self.outputs = outputs
        self.register_buffer("offsets", torch.as_tensor(np.concatenate([[0], np.cumsum(cardinalities)[:-1]])))
        self.table = nn.Embedding(int(cardinalities.sum()), d)
        nn.init.normal_(self.table.weight, std=0.1)
        width = len(cardinalities) * d
        layers: list[nn.Module] = []
        sizes = [width, *hidden]
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.mlp = nn.Sequential(*layers)
        self.down = nn.ModuleList([nn.Linear(width, rank, bias=False) for _ in range(cross)])
        self.up = nn.ModuleList([nn.Linear(rank, width) for _ in range(cross)])
        self.head = nn.Linear(sizes[-1] + (width if cross else 0), outputs)

    def embed(self, batch: Tensor) -> Tensor:
        return self.table(batch + self.offsets)

    def predict(self, embedded: Tensor) -> Tensor:
        x0 = embedded.flatten(1)
        hidden = self.mlp(x0)
        if len(self.down):
            x = x0
            for down, up in zip(self.down, self.up, strict=True):
                x = x0 * up(down(x)) + x
            hidden = torch.cat([hidden, x], dim=1)
        out = self.head(hidden)
        return out.squeeze(-1) if self.outputs == 1 else out

    def forward(self, batch: Tensor) -> Tensor:
        return self.predict(self.embed(batch))


def bce(logits: Tensor, target: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, target, reduction="none")


def batches(
    x: np.ndarray, y: np.ndarray, *, size: int, shuffle: bool
) -> Callable[[int], Iterator[tuple[Tensor, Tensor]]]:
    codes, target = torch.as_tensor(x), torch.as_tensor(y)

    def epoch(number: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = (
            torch.randperm(len(target), generator=torch.Generator().manual_seed(number))
            if shuffle
            else torch.arange(len(target))
        )
        for part in order.split(size):
            yield codes[part], target[part]

    return epoch


def fit(
    table: Table, features: np.ndarray, *, seed: int, size: int, max_epochs: int = 12, **net: object
) -> tuple[Net, float, int]:
    """Trains from scratch with early stopping on validation loss; gives the best net, its loss, its epochs."""
    torch.manual_seed(seed)
    model = Net(table.cardinalities[features], **net)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5)
    train = batches(table.x_train[:, features], table.y_train, size=size, shuffle=True)
    best, best_state, wait, epoch = np.inf, None, 0, 0
    for epoch in range(max_epochs):
        model.train()
        for x, y in train(seed * 1000 + epoch):
            optimizer.zero_grad()
            bce(model(x), y).mean().backward()
            optimizer.step()
        value = float(bce(logits(model, table.x_valid[:, features]), torch.as_tensor(table.y_valid)).mean())
        if value < best:
            best, best_state, wait = value, {k: v.clone() for k, v in model.state_dict().items()}, 0
        else:
            wait += 1
            if wait == 2:
                break
    model.load_state_dict(best_state)
    return model.eval(), best, epoch + 1


def logits(model: Net, x: np.ndarray) -> Tensor:
    model.eval()
    with torch.no_grad():
        return torch.cat([model(part) for part in torch.as_tensor(x).split(4096)])


def retrained_auc(table: Table, features: np.ndarray, *, size: int, seeds: tuple[int, ...], **net: object) -> float:
    """Mean test AUC of retrained nets."""
    return float(np.mean([auc(table, fit(table, features, seed=s, size=size, **net)[0], features) for s in seeds]))


def auc(table: Table, model: Net, features: np.ndarray) -> float:
    """Test AUC of a net of the given fields."""
    return float(roc_auc_score(table.y_test, logits(model, table.x_test[:, features])))


class Clock:
    """CPU seconds of this process since it was made."""

    def __init__(self) -> None:
        self.start = time.process_time()

    def __call__(self) -> float:
        return time.process_time() - self.start

"""A small planted table and a small trained network of the model contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


class TinyModel(nn.Module):
    """Coded fields -> embeddings -> perceptron; (B,) for one output, (B, C) for several."""

    def __init__(self, n_features: int, cardinality: int, outputs: int = 1) -> None:
        super().__init__()
        self.outputs = outputs
        self.register_buffer("offsets", torch.arange(n_features) * cardinality)
        self.table = nn.Embedding(n_features * cardinality, 4)
        self.layers = nn.Sequential(nn.Linear(4 * n_features, 32), nn.ReLU(), nn.Linear(32, outputs))

    def embed(self, batch: Tensor) -> Tensor:
        embedded: Tensor = self.table(batch + self.offsets)
        return embedded

    def predict(self, embedded: Tensor) -> Tensor:
        logits: Tensor = self.layers(embedded.flatten(1))
        return logits.squeeze(-1) if self.outputs == 1 else logits


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "binary": lambda logits, y: functional.binary_cross_entropy_with_logits(logits, y, reduction="none"),
    "regression": lambda logits, y: functional.mse_loss(logits, y, reduction="none"),
    "multiclass": lambda logits, y: functional.cross_entropy(logits, y, reduction="none"),
}


def make_batches(x: Tensor, y: Tensor, size: int, *, shuffle: bool) -> Callable[[int], Iterator[tuple[Tensor, Tensor]]]:
    def epoch(number: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.arange(len(y))
        if shuffle:
            order = torch.randperm(len(y), generator=torch.Generator().manual_seed(number))
        for part in order.split(size):
            yield x[part], y[part]

    return epoch


def planted_task(
    task: str, *, rows: int = 3000, noise: int = 12, id_values: int = 0, epochs: int = 6, later: float | None = None
) -> SimpleNamespace:
    """Signals in features 0, 1 and 2, a worse copy of feature 0 in feature 3, the rest noise; trained network.

    With ``id_values``, the last noise feature is an id with that number of values, which many epochs memorise. With
    ``later``, feature 4 is a count with the effect of feature 1 on train rows and that share of it on later ones.
    """
    random = np.random.default_rng(7)
    x = random.integers(0, 5, size=(rows, 4 + noise))
    if id_values:
        x[:, -1] = random.integers(0, id_values, size=rows)
    x[:, 3] = np.where(random.random(rows) < 0.75, x[:, 0], x[:, 3])
    score = 1.2 * (x[:, 0] - 2) - 1.0 * (x[:, 1] - 2) + 0.8 * (np.abs(x[:, 2] - 2) - 1.2)
    if later is not None:
        x[:, 4] = np.minimum(random.poisson(1.5, size=rows), 4)
        score += np.where(np.arange(rows) < int(0.7 * rows), 1.0, later) * (x[:, 4] - 1.5)
    if task == "binary":
        y = torch.as_tensor(random.random(rows) < 1 / (1 + np.exp(-1.5 * score)), dtype=torch.float32)
    elif task == "regression":
        y = torch.as_tensor(1000 + 50 * (score + 0.3 * random.normal(size=rows)), dtype=torch.float32)
    else:
        y = torch.as_tensor(np.digitize(score + 0.3 * random.normal(size=rows), [-1.0, 1.0]))
    codes = torch.as_tensor(x)
    cut = int(0.7 * rows)
    train = make_batches(codes[:cut], y[:cut], 128, shuffle=True)
    validation = make_batches(codes[cut:], y[cut:], 128, shuffle=False)
    torch.manual_seed(0)
    model = TinyModel(x.shape[1], max(5, id_values), outputs=3 if task == "multiclass" else 1)
    loss = LOSSES[task]
    if task == "regression":
        nn.init.constant_(model.layers[2].bias, 1000.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(epochs):
        for batch, target in train(epoch):
            optimizer.zero_grad()
            loss(model.predict(model.embed(batch)), target).mean().backward()
            optimizer.step()
    return SimpleNamespace(
        model=model, train=train, validation=validation, loss=loss, steps_per_epoch=-(-cut // 128),
        x=codes, y=y, cut=cut, n_features=x.shape[1],
        matrix=lambda: (x[:cut].astype(np.float64), y[:cut].numpy()),
    )  # fmt: skip

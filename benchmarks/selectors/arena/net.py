"""The downstream network and its training: one architecture and one recipe for every table and selection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from arena.tables import Table


class Net(nn.Module):
    """Field embeddings into an MLP, optionally in parallel with a low-rank DCN-v2 cross network.

    Args:
        cardinalities: (N,) number of codes of each field.
        sides: field -> (codes, width) fixed vectors; such a field is embedded by a linear map of its vector.
        d: width of an embedding.
        widths: (N,) of each field's embedding, which are then given as a list; None = ``d``. No such net has sides.
        hidden: widths of the MLP.
        cross: cross layers of the given rank, 0 = none.
        outputs: logits per row.
    """

    def __init__(
        self,
        cardinalities: np.ndarray,
        *,
        sides: dict[int, np.ndarray] | None = None,
        d: int = 8,
        hidden: tuple[int, ...] = (128, 64),
        cross: int = 0,
        outputs: int = 1,
        rank: int = 32,
        widths: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.outputs = outputs
        self.tables = nn.ModuleList()
        if widths is not None:
            for size, own in zip(cardinalities.tolist(), widths.tolist(), strict=True):
                self.tables.append(nn.Embedding(size, own))
                nn.init.normal_(self.tables[-1].weight, std=0.1)
        self.side_fields = sorted(sides or {})
        cardinalities = np.where(np.isin(np.arange(len(cardinalities)), self.side_fields), 1, cardinalities)
        self.register_buffer("offsets", torch.as_tensor(np.concatenate([[0], np.cumsum(cardinalities)[:-1]])))
        self.table = nn.Embedding(1 if widths is not None else int(cardinalities.sum()), d)
        nn.init.normal_(self.table.weight, std=0.1)
        self.maps = nn.ModuleList()
        for number in self.side_fields:
            vectors = torch.as_tensor(sides[number])
            self.register_buffer(f"side{number}", vectors, persistent=False)
            self.maps.append(nn.Linear(vectors.shape[1], d, bias=False))
            nn.init.normal_(self.maps[-1].weight, std=0.1 / max(1.0, float(vectors.square().sum(1).mean()) ** 0.5))
        width = len(cardinalities) * d if widths is None else int(widths.sum())
        layers: list[nn.Module] = []
        sizes = [width, *hidden]
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.mlp = nn.Sequential(*layers)
        self.down = nn.ModuleList([nn.Linear(width, rank, bias=False) for _ in range(cross)])
        self.up = nn.ModuleList([nn.Linear(rank, width) for _ in range(cross)])
        self.head = nn.Linear(sizes[-1] + (width if cross else 0), outputs)

    def embed(self, batch: Tensor) -> Tensor | list[Tensor]:
        if len(self.tables):
            return [table(batch[:, number]) for number, table in enumerate(self.tables)]
        if not self.side_fields:
            return self.table(batch + self.offsets)
        plain = batch.clone()
        plain[:, self.side_fields] = 0
        embedded = self.table(plain + self.offsets)
        parts = [
            transform(self.get_buffer(f"side{number}")[batch[:, number]])
            for number, transform in zip(self.side_fields, self.maps, strict=True)
        ]
        index = torch.tensor(self.side_fields, device=batch.device)
        return embedded.index_add(1, index, torch.stack(parts, dim=1))

    def predict(self, embedded: Tensor | list[Tensor]) -> Tensor:
        x0 = torch.cat(embedded, dim=1) if isinstance(embedded, list) else embedded.flatten(1)
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


def new_net(table: Table, features: np.ndarray, *, seed: int, **net: object) -> Net:
    """An untrained net of the given fields."""
    torch.manual_seed(seed)
    sides = {new: table.sides[old] for new, old in enumerate(features.tolist()) if old in table.sides}
    outputs = 1 if table.classes == 2 else table.classes
    widths = None if table.widths is None else table.widths[features]
    return Net(table.cardinalities[features], sides=sides, outputs=outputs, widths=widths, **net)


def bce(logits: Tensor, target: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, target, reduction="none")


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(logits, target, reduction="none")


def loss_of(table: Table) -> Callable[[Tensor, Tensor], Tensor]:
    """Per-row loss of the table's task."""
    return bce if table.classes == 2 else cross_entropy


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


def expectations(logits: Tensor) -> Tensor:
    """Probabilities (B,) or (B, C) from logits, which are also valid targets of the losses."""
    return torch.sigmoid(logits) if logits.dim() == 1 else torch.softmax(logits, dim=1)


def fit(
    table: Table,
    features: np.ndarray,
    *,
    seed: int,
    size: int,
    max_epochs: int = 12,
    patience: int = 2,
    **net: object,
) -> tuple[Net, float, int]:
    """Train from scratch with early stopping on validation loss; returns the best net, its loss and its epochs."""
    model, loss = new_net(table, features, seed=seed, **net), loss_of(table)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5, fused=True)
    train = batches(table.x_train[:, features], table.y_train, size=size, shuffle=True)
    x_valid, y_valid = table.x_valid[:, features], torch.as_tensor(table.y_valid)
    best, best_state, wait, epoch = np.inf, model.state_dict(), 0, 0
    for epoch in range(max_epochs):
        model.train()
        for x, y in train(seed * 1000 + epoch):
            optimizer.zero_grad()
            loss(model(x), y).mean().backward()
            optimizer.step()
        value = float(loss(logits(model, x_valid), y_valid).mean())
        if value < best:
            best, best_state, wait = value, {k: v.clone() for k, v in model.state_dict().items()}, 0
        else:
            wait += 1
            if wait == patience:
                break
    model.load_state_dict(best_state)
    return model.eval(), best, epoch + 1


def logits(model: Net, x: np.ndarray) -> Tensor:
    model.eval()
    with torch.no_grad():
        return torch.cat([model(part) for part in torch.as_tensor(x).split(4096)])

"""Models as a team might have them: written for training, not for audits."""

from __future__ import annotations

from typing import Any

import torch
from feature_audit.batch import Batch
from feature_audit.schema import ModelSchema
from torch import Tensor, nn


class Tower(nn.Module):
    """Code columns to one vector; ``embed`` is where a hook attaches."""

    def __init__(self, cardinalities: list[int], dim: int) -> None:
        super().__init__()
        self.embed = Lookup(cardinalities, dim)
        self.deep = nn.Linear(len(cardinalities) * dim, 6)

    def forward(self, codes: Tensor) -> Tensor:
        return torch.tanh(self.deep(self.embed(codes).flatten(1)))


class Lookup(nn.Module):
    def __init__(self, cardinalities: list[int], dim: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size, dim) for size in cardinalities)

    def forward(self, codes: Tensor) -> Tensor:
        return torch.stack([table(codes[:, place]) for place, table in enumerate(self.tables)], dim=1)


class TwoTower(nn.Module):
    """User columns first, then item columns; the dot product of the towers is the logit."""

    def __init__(self, schema: ModelSchema, n_user: int, dim: int = 4) -> None:
        super().__init__()
        sizes = [field.cardinality for field in schema.fields]
        self.n_user = n_user
        self.user, self.item = Tower(sizes[:n_user], dim), Tower(sizes[n_user:], dim)
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, batch: Batch) -> Tensor:
        item = self.item(batch.codes[:, self.n_user :])  # called first, although its columns stand last
        user = self.user(batch.codes[:, : self.n_user])
        return (user * item).sum(dim=1) + self.bias


class Named(nn.Module):
    """Embeddings as a dict of name -> (B, d), in an order of its own, with one entry that is no feature."""

    def __init__(self, schema: ModelSchema, dim: int = 3) -> None:
        super().__init__()
        self.names = list(schema.names)
        self.lookup = nn.ModuleDict({field.name: nn.Embedding(field.cardinality, dim) for field in schema.fields})
        self.gather = _Gather()
        self.out = nn.Linear(dim, 1)

    def forward(self, batch: Batch) -> Tensor:
        vectors = {name: self.lookup[name](batch.codes[:, place]) for place, name in enumerate(self.names)}
        pooled = self.gather(dict(reversed(vectors.items())) | {"bias": torch.ones(len(batch), 3)})
        return self.out(sum(pooled.values()) ** 2)[:, 0]


class _Gather(nn.Module):
    def forward(self, vectors: dict[str, Tensor]) -> dict[str, Tensor]:
        return vectors


class Shared(nn.Module):
    """One lookup for all columns, called for users and again for items, with the names of what it is asked for."""

    def __init__(self, schema: ModelSchema, dim: int = 3) -> None:
        super().__init__()
        self.names = list(schema.names)
        self.lookup = NamedLookup(schema, dim)
        self.user, self.item = nn.Linear(2 * dim, 5), nn.Linear(2 * dim, 5)

    def forward(self, batch: Batch) -> Tensor:
        columns = {name: batch.codes[:, place] for place, name in enumerate(self.names)}
        item = self.lookup({name: columns[name] for name in self.names[2:]})
        user = self.lookup({name: columns[name] for name in self.names[:2]})
        towers = [
            tower(torch.cat(list(vectors.values()), dim=1)) for tower, vectors in ((self.user, user), (self.item, item))
        ]
        return (towers[0] * towers[1]).sum(dim=1)


class NamedLookup(nn.Module):
    def __init__(self, schema: ModelSchema, dim: int) -> None:
        super().__init__()
        self.place = {field.name: place for place, field in enumerate(schema.fields)}
        self.tables = nn.ModuleList(nn.Embedding(field.cardinality, dim) for field in schema.fields)

    def forward(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.tables[self.place[name]](codes) for name, codes in columns.items()}


class Keyed:
    """Has what TorchRec's KeyedTensor has: keys, lengths and one wide tensor of values."""

    def __init__(self, keys: list[str], length_per_key: list[int], values: Tensor) -> None:
        self._keys, self._lengths, self._values = keys, length_per_key, values

    def keys(self) -> list[str]:
        return self._keys

    def length_per_key(self) -> list[int]:
        return self._lengths

    def values(self) -> Tensor:
        return self._values

    def to_dict(self) -> dict[str, Tensor]:
        return dict(zip(self._keys, self._values.split(self._lengths, dim=1), strict=True))


class KeyedLookup(nn.Module):
    def __init__(self, schema: ModelSchema, dim: int) -> None:
        super().__init__()
        self.names, self.dim = list(schema.names), dim
        self.tables = nn.ModuleList(nn.Embedding(field.cardinality, dim) for field in schema.fields)

    def forward(self, codes: Tensor) -> Keyed:
        vectors = [table(codes[:, place]) for place, table in enumerate(self.tables)]
        return Keyed(self.names, [self.dim] * len(self.names), torch.cat(vectors, dim=1))


class KeyedModel(nn.Module):
    def __init__(self, schema: ModelSchema, dim: int = 3) -> None:
        super().__init__()
        self.collection = KeyedLookup(schema, dim)
        self.out = nn.Linear(dim * len(schema.fields), 1)

    def forward(self, batch: Batch) -> Tensor:
        return self.out(torch.tanh(self.collection(batch.codes).values()))[:, 0]


class Plain(nn.Module):
    """The factory way of the contract: embed and predict."""

    def __init__(self, schema: ModelSchema, dim: int = 3, leak: bool = False, wrong: bool = False) -> None:
        super().__init__()
        self.lookup = Lookup([field.cardinality for field in schema.fields], dim)
        self.out = nn.Linear(dim * len(schema.fields), 1)
        self.leak, self.wrong = leak, wrong
        self.last: Tensor | None = None

    def embed(self, batch: Batch) -> Tensor:
        self.last = batch.codes.float().sum(dim=1)
        embedded = self.lookup(batch.codes)
        return embedded.flatten(1) if self.wrong else embedded

    def predict(self, embedded: Tensor) -> Tensor:
        output = self.out(embedded.flatten(1))[:, 0]
        return output + self.last if self.leak and self.last is not None else output


def plain(schema: ModelSchema, **params: Any) -> nn.Module:
    return Plain(schema, **params)


def two_tower(schema: ModelSchema, n_user: int = 2) -> nn.Module:
    return TwoTower(schema, n_user)


def named(schema: ModelSchema) -> nn.Module:
    return Named(schema)


def shared(schema: ModelSchema) -> nn.Module:
    return Shared(schema)


def keyed(schema: ModelSchema) -> nn.Module:
    return KeyedModel(schema)


def half(schema: ModelSchema) -> nn.Module:
    return nn.Linear(3, 1)

"""Models like those of a team: written for training, not for audits."""

from __future__ import annotations

import threading
from typing import Any

import torch
from feature_audit.batch import Batch
from feature_audit.schema import ModelSchema
from keyed import Keyed
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
    """Embeddings as a dict of name -> (B, d), in another order, with one entry that is not a feature."""

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
    """One lookup for all columns, called with column names, once for users and once for items."""

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
    """A factory's module with embed and predict."""

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


class PerField(nn.Module):
    """One plain ``nn.Embedding`` per column, (B, d) each, of different lengths."""

    def __init__(self, schema: ModelSchema) -> None:
        super().__init__()
        widths = [2 + place for place in range(len(schema.fields))]
        self.tables = nn.ModuleDict(
            {
                field.name: nn.Embedding(field.cardinality, width)
                for field, width in zip(schema.fields, widths, strict=True)
            }
        )
        self.names = list(schema.names)
        self.out = nn.Linear(sum(widths), 1)

    def forward(self, batch: Batch) -> Tensor:
        vectors = {name: self.tables[name](batch.codes[:, place]) for place, name in enumerate(self.names)}
        return self.out(torch.tanh(torch.cat([vectors[name] for name in self.names], dim=1)))  # (B, 1)


#: Numbers of the four columns' embeddings.
MIXED = (1, 16, 256, 4)


class Mixed(nn.Module):
    """Embeddings of different widths in any form: from ``pooled`` for a hook, from ``embed`` for a factory."""

    def __init__(self, schema: ModelSchema, form: str = "list", wrong: str = "") -> None:
        super().__init__()
        self.names, self.form, self.wrong = list(schema.names), form, wrong
        self.widths = [MIXED[place % 4] for place in range(len(self.names))]
        self.tables = nn.ModuleList(
            nn.Embedding(field.cardinality, width) for field, width in zip(schema.fields, self.widths, strict=True)
        )
        self.pooled = _Gather()
        self.out = nn.Linear(sum(self.widths), 1)

    def embed(self, batch: Batch) -> Any:
        vectors = [table(batch.codes[:, place]) for place, table in enumerate(self.tables)]
        if self.wrong:
            vectors = self._spoilt(vectors)
        backwards = list(zip(self.names, vectors, strict=False))[::-1]
        if self.form == "dict":
            return dict(backwards)
        if self.form == "keyed":
            values = torch.cat([vector for _, vector in backwards], dim=1)
            return Keyed([name for name, _ in backwards], [vector.shape[1] for _, vector in backwards], values)
        return torch.cat(vectors, dim=1) if self.form == "flat" else vectors

    def predict(self, embedded: Any) -> Tensor:
        if self.form == "keyed":
            embedded = embedded.to_dict()
        if self.form in ("dict", "keyed"):
            assert list(embedded) == self.names[::-1]
            embedded = [embedded[name] for name in self.names]
        wide = embedded if self.form == "flat" else torch.cat(embedded, dim=1)
        return self.out(torch.tanh(wide))[:, 0]

    def forward(self, batch: Batch) -> Tensor:
        return self.predict(self.pooled(self.embed(batch)))

    def _spoilt(self, vectors: list[Tensor]) -> list[Tensor]:
        first, *others = vectors
        if self.wrong == "missing":
            return others if self.form == "list" else vectors[:-1]
        if self.wrong == "rows":
            return [first[1:], *others]
        if self.wrong == "all rows":
            return [vector.repeat(2, 1) for vector in vectors]
        if self.wrong == "block":
            return [first.unsqueeze(1), *others]
        if self.wrong == "integers":
            return [first.long(), *others]
        return [first.repeat(1, 1 + len(first) % 2), *others]  # widths that depend on the batch


class Twins(nn.Module):
    """Towers that share a lookup, which a wide part calls once more, and a module that keeps state."""

    def __init__(self, schema: ModelSchema, dim: int = 3) -> None:
        super().__init__()
        lookup = Lookup([field.cardinality for field in schema.fields[:2]], dim)
        self.user, self.item = nn.ModuleDict({"embed": lookup}), nn.ModuleDict({"embed": lookup})
        self.left, self.right, self.wide = nn.Linear(2 * dim, 5), nn.Linear(2 * dim, 5), nn.Linear(4 * dim, 1)
        self.register_buffer("scale", torch.full((1,), 2.0))
        self.norm = nn.BatchNorm1d(5)
        self.attention: Tensor | None = None

    def forward(self, batch: Batch) -> Tensor:
        user = self.user["embed"](batch.codes[:, :2]).flatten(1)
        item = self.item["embed"](batch.codes[:, 2:]).flatten(1)
        self.attention = torch.softmax(self.norm(self.left(user)), dim=1)  # kept with its graph
        deep = (self.attention * self.right(item)).sum(dim=1) * self.scale
        again = [self.user["embed"](batch.codes[:, :2]), self.user["embed"](batch.codes[:, 2:])]
        return deep + self.wide(torch.cat(again, dim=1).flatten(1))[:, 0]


class Odd(nn.Module):
    """Named embeddings, and the property named by ``odd`` that makes a module hard to copy or save."""

    def __init__(self, schema: ModelSchema, odd: str) -> None:
        super().__init__()
        self.inner = Named(schema)
        self.odd = odd
        self.norm = nn.LayerNorm(3)
        self.secret = torch.rand(1) + 1
        self.mean = torch.zeros(())
        if odd == "hook on self":
            self.inner.gather.register_forward_hook(lambda _module, _inputs, output: self._normed(output))
        elif odd == "hook on its module":
            self.inner.out.register_forward_hook(lambda module, _inputs, output: output + module.weight.sum())
        elif odd == "lambda":
            self.squash = lambda output: torch.tanh(2 * output)
        elif odd == "lock":
            self.lock = threading.Lock()
        elif odd == "layers in a list":
            self.layers = [nn.Linear(1, 1)]

    def forward(self, batch: Batch) -> Tensor:
        try:
            output = self.inner(batch)
        except Exception as error:
            raise ValueError("no score for this batch") from error
        if self.odd == "lambda":
            output = self.squash(output)
        elif self.odd == "unregistered tensor":
            output = output * self.secret
        elif self.odd == "layers in a list":
            output = self.layers[0](output[:, None])[:, 0]
        elif self.odd == "running mean":
            if self.training:
                self.mean = self.mean + output.detach().mean()
            output = output - self.mean
        elif self.odd == "dict":
            return {"logits": output}  # type: ignore[return-value]
        return output

    def _normed(self, vectors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.norm(vector) for name, vector in vectors.items()}


class Uncalled(nn.Module):
    """Reads its table's weights instead of calling it."""

    def __init__(self, schema: ModelSchema) -> None:
        super().__init__()
        self.table = nn.Embedding(schema.fields[0].cardinality, 3)

    def forward(self, batch: Batch) -> Tensor:
        return self.table.weight[batch.codes].sum(dim=(1, 2))


def per_field(schema: ModelSchema) -> nn.Module:
    return PerField(schema)


def mixed(schema: ModelSchema, form: str = "list", wrong: str = "") -> nn.Module:
    return Mixed(schema, form, wrong)


def twins(schema: ModelSchema) -> nn.Module:
    return Twins(schema)


def odd(schema: ModelSchema, odd: str) -> nn.Module:
    return Odd(schema, odd)


def uncalled(schema: ModelSchema) -> nn.Module:
    return Uncalled(schema)


def no_arguments() -> nn.Module:
    return nn.Linear(1, 1)


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

"""A two-tower recommender as a team might have it: written to be trained and served, not to be audited.

Nothing in here knows about feature selection. The audit attaches to ``features``, the module that embeds the columns.
"""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from feature_audit.batch import Batch
from feature_audit.models import by_name
from feature_audit.schema import Field, ModelSchema
from torch import Tensor, nn

Table = TypeVar("Table", nn.Embedding, nn.EmbeddingBag)


class FeatureTable(nn.Module):
    """One embedding per feature, narrow for flags and wide for ids: name -> (B, width)."""

    def __init__(self, fields: tuple[Field, ...], dim: int) -> None:
        super().__init__()
        self.widths = {field.name: _width(field, dim) for field in fields}
        self.columns = nn.ModuleList(_column(field, self.widths[field.name]) for field in fields)

    def forward(self, cells: dict[str, Tensor]) -> dict[str, Tensor]:
        """Vectors by name from cells by name."""
        return {name: column(cells[name]) for name, column in zip(self.widths, self.columns, strict=True)}


class TwoTower(nn.Module):
    """A tower for the item and one for the user and the moment; their dot product is the logit."""

    def __init__(self, schema: ModelSchema, dim: int, width: int, item_prefix: str) -> None:
        super().__init__()
        self.schema = schema
        self.features = FeatureTable(schema.fields, dim)
        self.item_names = [name for name in schema.names if name.startswith(item_prefix)]
        self.user_names = [name for name in schema.names if not name.startswith(item_prefix)]
        item, user = (sum(self.features.widths[name] for name in names) for names in (self.item_names, self.user_names))
        self.item, self.user = _tower(item, width), _tower(user, width)
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, batch: Batch) -> Tensor:
        """Logits, (B,)."""
        return self.score(self.features(by_name(batch, self.schema)))

    def score(self, vectors: dict[str, Tensor]) -> Tensor:
        """Logits, (B,), from the features' vectors."""
        item = self.item(self._joined(vectors, self.item_names))
        user = self.user(self._joined(vectors, self.user_names))
        return (item * user).sum(dim=1) + self.bias

    def _joined(self, vectors: dict[str, Tensor], names: list[str]) -> Tensor:
        if not names:  # a tower that has lost all its features sees a zero
            return torch.zeros_like(next(iter(vectors.values()))[:, :1])
        return torch.cat([vectors[name] for name in names], dim=1)


def build(schema: ModelSchema, *, dim: int = 16, width: int = 32, item_prefix: str = "item_") -> nn.Module:
    """The factory that ``model: examples.two_tower.model:build`` names."""
    return TwoTower(schema, dim, width, item_prefix)


class _Bins(nn.Module):
    """A numeric column by the knot below its value."""

    def __init__(self, cardinality: int, dim: int) -> None:
        super().__init__()
        self.table = _small(nn.Embedding(cardinality, dim))

    def forward(self, position: Tensor) -> Tensor:
        """(B, d) from positions (B,)."""
        return self.table(position.long())


def _width(field: Field, most: int) -> int:
    """About the square root of the number of values: 2 for a flag, the most for an id."""
    return min(most, math.ceil(field.cardinality**0.5) if field.cardinality else field.width)


def _column(field: Field, dim: int) -> nn.Module:
    if field.form == "numeric":
        return _Bins(field.cardinality, dim)
    if field.form == "code":
        return _small(nn.Embedding(field.cardinality, dim))
    if field.form == "bag":
        return _small(nn.EmbeddingBag(field.cardinality, dim, mode="mean", padding_idx=0))
    return nn.Linear(field.width, dim)


def _small(table: Table) -> Table:
    """Small initial vectors: torch's own N(0, 1) would drown the signal in the noise of rows that are rarely seen."""
    nn.init.normal_(table.weight, std=0.01)
    return table


def _tower(inputs: int, width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(max(inputs, 1), 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

"""The three built-in models, as functions of field embeddings. Small and readable on purpose.

Every model takes embeddings of shape (B, N, d) and differs only in ``raw``: the function from embeddings to outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from feature_audit.batch import Batch
from feature_audit.models.output_scaling import OutputScaling
from feature_audit.models.zoo.embedding import FieldEmbedding
from feature_audit.schema import ModelSchema


class Head(nn.Module):
    """An embedding, a ``raw`` function that subclasses define, and an output in target units."""

    def __init__(self, schema: ModelSchema, embedding_dim: int) -> None:
        super().__init__()
        self.width = len(schema.fields) * embedding_dim
        self.embedding = FieldEmbedding(schema, embedding_dim)
        self.scaling = OutputScaling(schema)
        self.n_outputs = self.scaling.n_outputs

    def embed(self, batch: Batch) -> Tensor:
        """Field embeddings, (B, N, d)."""
        return self.embedding(batch)

    def predict(self, embedded: Tensor) -> Tensor:
        """(B,) logits or values, or (B, C) logits, from embeddings (B, N, d)."""
        return self.scaling(self.raw(embedded))

    def forward(self, batch: Batch) -> Tensor:
        """``predict(embed(batch))``."""
        return self.predict(self.embed(batch))

    def raw(self, embedded: Tensor) -> Tensor:
        """(B, n_outputs) from embeddings (B, N, d), before shift and scale."""
        raise NotImplementedError


class Mlp(Head):
    """Multi-layer perceptron on the concatenated embeddings (the "deep" part of Cheng et al. 2016, Wide & Deep)."""

    def __init__(
        self, schema: ModelSchema, *, embedding_dim: int, hidden: Sequence[int] = (128, 64), dropout: float = 0.1
    ) -> None:
        super().__init__(schema, embedding_dim)
        self.deep = deep_layers(self.width, hidden, dropout)
        self.out = nn.Linear(hidden[-1] if hidden else self.width, self.n_outputs)

    def raw(self, embedded: Tensor) -> Tensor:
        """(B, n_outputs)."""
        return self.out(self.deep(embedded.flatten(1)))


class LowRankCross(nn.Module):
    """One low-rank cross layer of DCN-v2: ``x0 * (U (V x) + b) + x``.

    Wang et al. 2021 (arXiv 2008.13535), eq. 1 with the W = U V of section 3.4.

    Args:
        width: length of x0 and x.
        rank: columns of U, rows of V; full rank costs width**2, too much for thousands of inputs.
    """

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, rank, bias=False)
        self.up = nn.Linear(rank, width)

    def forward(self, x0: Tensor, x: Tensor) -> Tensor:
        """(B, width) from (B, width) twice."""
        return torch.addcmul(x, x0, self.up(self.down(x)))


class DcnV2(Head):
    """DCN-v2 in its parallel form: cross network and perceptron side by side (Wang et al. 2021, fig. 1b)."""

    def __init__(
        self,
        schema: ModelSchema,
        *,
        embedding_dim: int,
        cross_layers: int = 2,
        rank: int = 16,
        hidden: Sequence[int] = (128, 64),
        dropout: float = 0.1,
    ) -> None:
        super().__init__(schema, embedding_dim)
        self.crosses = nn.ModuleList(LowRankCross(self.width, rank) for _ in range(cross_layers))
        self.deep = deep_layers(self.width, hidden, dropout)
        self.out = nn.Linear(self.width + (hidden[-1] if hidden else self.width), self.n_outputs)

    def raw(self, embedded: Tensor) -> Tensor:
        """(B, n_outputs)."""
        x0 = embedded.flatten(1)
        crossed = x0
        for cross in self.crosses:
            crossed = cross(x0, crossed)
        return self.out(torch.cat([crossed, self.deep(x0)], dim=1))


class DeepFm(Head):
    """DeepFM: linear term, factorisation machine and perceptron on shared embeddings (Guo et al. 2017, eq. 1-4).

    The first-order weight of a cell is a learned linear function of its embedding, not a second table: the features
    reach the prediction through the embeddings only, so that a gate on an embedding gates the feature.
    """

    def __init__(
        self, schema: ModelSchema, *, embedding_dim: int, hidden: Sequence[int] = (128, 64), dropout: float = 0.1
    ) -> None:
        super().__init__(schema, embedding_dim)
        self.linear = nn.Linear(self.width, self.n_outputs)
        self.deep = deep_layers(self.width, hidden, dropout)
        self.out = nn.Linear(hidden[-1] if hidden else self.width, self.n_outputs)
        self.interaction = nn.Parameter(torch.ones(self.n_outputs))

    def raw(self, embedded: Tensor) -> Tensor:
        """(B, n_outputs)."""
        flat = embedded.flatten(1)
        return self.linear(flat) + pairwise_products(embedded)[:, None] * self.interaction + self.out(self.deep(flat))


def pairwise_products(embedded: Tensor) -> Tensor:
    """(B,) sums of the inner products of all pairs, ``((sum e)^2 - sum e^2) / 2`` (Rendle 2010, lemma 3.1)."""
    total, squares = embedded.sum(dim=1), embedded.square().sum(dim=1)
    return 0.5 * (total.square() - squares).sum(dim=1)


def deep_layers(width: int, hidden: Sequence[int], dropout: float) -> nn.Sequential:
    """Linear, ReLU and dropout per hidden layer; the identity if there is no hidden layer."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise([width, *hidden]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers)

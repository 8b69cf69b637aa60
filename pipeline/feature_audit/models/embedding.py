"""One embedding module for all fields of a table, whatever their form.

Fields of one form share one weight matrix, each field owning a range of rows, so that a lookup of thousands of fields
is one gather and not thousands of small modules.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from concrete_selectors.lookup import take_rows
from torch import Tensor, nn

from feature_audit.batch import Batch
from feature_audit.schema import MISSING, Field, ModelSchema

#: Standard deviation of initial embedding entries.
INITIAL_SCALE = 0.05


class FieldEmbedding(nn.Module):
    """Embeds a batch as (B, N, d), one vector per field in schema order.

    * numeric: see ``NumericEmbedding``.
    * code: the vector of the code.
    * bag: mean of the vectors of the non-padding codes; the MISSING vector where there are none.
    * vector: a learned linear map of the values.

    Args:
        schema: the N fields.
        dim: d, length of an embedding vector.
    """

    code_start: Tensor
    order: Tensor | None

    def __init__(self, schema: ModelSchema, dim: int) -> None:
        super().__init__()
        of_form = {form: [field for field in schema.fields if field.form == form] for form in _FORMS}
        codes, bags, vectors = of_form["code"], of_form["bag"], of_form["vector"]
        self.numeric = NumericEmbedding([field.cardinality for field in of_form["numeric"]], dim)
        starts = torch.tensor([0, *(field.cardinality for field in codes + bags)]).cumsum(0)
        self.table = nn.Embedding(int(starts[-1]), dim)
        nn.init.normal_(self.table.weight, std=INITIAL_SCALE)
        self.register_buffer("code_start", starts[: len(codes)], persistent=False)
        self.bag_start = [int(start) for start in starts[len(codes) : -1]]
        self.projections = nn.ModuleList(nn.Linear(field.width, dim) for field in vectors)
        made = [field for form in _FORMS for field in of_form[form]]
        self.register_buffer("order", _schema_order(schema.fields, made), persistent=False)

    def forward(self, batch: Batch) -> Tensor:
        """Embed a batch; float (B, N, d)."""
        parts = []
        if batch.numeric.shape[1]:
            parts.append(self.numeric(batch.numeric))
        if batch.codes.shape[1]:
            parts.append(take_rows(self.table.weight, batch.codes + self.code_start))
        parts += [self._pool(codes, start)[:, None] for codes, start in zip(batch.bags, self.bag_start, strict=True)]
        parts += [project(values)[:, None] for values, project in zip(batch.vectors, self.projections, strict=True)]
        embedded = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        return embedded if self.order is None else embedded.index_select(1, self.order)

    def _pool(self, codes: Tensor, start: int) -> Tensor:
        used = (codes != MISSING).to(self.table.weight.dtype)
        count = used.sum(dim=1, keepdim=True)
        share = used / count.clamp(min=1)
        # An empty bag is all padding: its first cell, code MISSING, speaks for it.
        share[:, 0] += (count[:, 0] == 0).to(share.dtype)
        return nn.functional.embedding_bag(codes + start, self.table.weight, per_sample_weights=share, mode="sum")


class NumericEmbedding(nn.Module):
    """Piecewise-linear embedding of positions on knots: a linear layer on the encoding of Gorishniy et al. 2022, eq. 1.

    Between two knots the embedding is the linear interpolation of theirs; MISSING has a vector of its own and takes no
    part in it. What is learned is the first knot's vector and the *step* from each knot to the next, and a knot's
    vector is the sum of the steps up to it: every row then teaches all steps below its value, which keeps neighbouring
    knots alike and generalises far better than free vectors per knot.

    Args:
        cardinalities: per field, 1 + knots.
        dim: d, length of an embedding vector.
    """

    start: Tensor
    last: Tensor

    def __init__(self, cardinalities: Sequence[int], dim: int) -> None:
        super().__init__()
        self.fields, self.knots, self.dim = len(cardinalities), max(cardinalities, default=2) - 1, dim
        self.missing = nn.Embedding(self.fields, dim)
        self.steps = nn.Embedding(self.fields * self.knots, dim)
        start = torch.arange(self.fields) * (self.knots + 1)
        self.register_buffer("start", start, persistent=False)
        self.register_buffer("last", start + torch.tensor(list(cardinalities), dtype=torch.long) - 1, persistent=False)
        with torch.no_grad():
            nn.init.normal_(self.missing.weight, std=INITIAL_SCALE)
            # A straight line through each feature's range, equally steep however many knots it has.
            knots = torch.tensor(list(cardinalities)).sub(1).clamp(min=1).view(-1, 1, 1)
            steps = torch.randn(self.fields, 1, dim) * INITIAL_SCALE * 3.4 / knots
            steps = steps.repeat(1, self.knots, 1)
            steps[:, :1] = torch.randn(self.fields, 1, dim) * INITIAL_SCALE
            self.steps.weight.copy_(steps.flatten(0, 1))

    def table(self) -> Tensor:
        """Vectors of MISSING and of every knot, (fields * (1 + most knots), d)."""
        knots = self.steps.weight.view(self.fields, self.knots, self.dim).cumsum(dim=1)
        return torch.cat([self.missing.weight[:, None], knots], dim=1).flatten(0, 1)

    def forward(self, position: Tensor) -> Tensor:
        """(B, fields, d) from float32 positions (B, fields)."""
        floor = position.floor()
        share = (position - floor) * (floor > MISSING)
        lower = floor.long() + self.start
        upper = torch.minimum(lower + 1, self.last)
        table = self.table()
        return torch.lerp(take_rows(table, lower), take_rows(table, upper), share[..., None])


_FORMS = ("numeric", "code", "bag", "vector")


def _schema_order(wanted: Sequence[Field], made: Sequence[Field]) -> Tensor | None:
    """Index that puts embeddings made form by form into schema order; None where they already are."""
    place = {id(field): position for position, field in enumerate(made)}
    order = [place[id(field)] for field in wanted]
    return None if order == list(range(len(order))) else torch.tensor(order)

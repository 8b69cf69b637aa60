"""One embedding module for all fields of a table, whatever their form.

Fields of one form share one weight matrix, each field owning a range of rows, so that a lookup of thousands of fields
is one gather and not thousands of small modules.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from concrete_selectors.indexing import take_rows
from torch import Tensor, nn

from feature_audit.batch import Batch
from feature_audit.schema import MISSING, Field, ModelSchema

#: Standard deviation of initial embedding entries, and of the change from one end of a number's range to the other.
INITIAL_SCALE, _INITIAL_RANGE = 0.05, 0.17
#: Adam moves every weight about equally far per step, whatever its gradient. A field's weights are in units of this
#: over the number of its vectors, so a straight line through many knots, whose steps add up, is learned no faster than
#: a rare flag, and the network does not overfit the noise before it has learned the rare values.
_SPEED = 16.0


class FieldEmbedding(nn.Module):
    """Embeds a batch as (B, N, d), one vector per field in schema order.

    * numeric: see ``NumericEmbedding``.
    * code: the vector of the code. Fields of few codes are learned as fast as numbers of few values.
    * bag: mean of the vectors of the non-padding codes; the MISSING vector where there are none.
    * vector: a learned linear map of the values.

    Args:
        schema: the N fields.
        dim: d, length of an embedding vector.
    """

    code_start: Tensor
    code_unit: Tensor
    order: Tensor | None

    def __init__(self, schema: ModelSchema, dim: int) -> None:
        super().__init__()
        of_form = {form: [field for field in schema.fields if field.form == form] for form in _FORMS}
        codes, bags, vectors = of_form["code"], of_form["bag"], of_form["vector"]
        self.numeric = NumericEmbedding(of_form["numeric"], dim)
        starts = torch.tensor([0, *(field.cardinality for field in codes + bags)]).cumsum(0)
        self.table = nn.Embedding(int(starts[-1]), dim)
        nn.init.normal_(self.table.weight, std=INITIAL_SCALE)
        self.register_buffer("code_start", starts[: len(codes)], persistent=False)
        unit = torch.tensor([max(1.0, _SPEED / max(field.cardinality, 1)) for field in codes]).view(-1, 1)
        self.register_buffer("code_unit", unit, persistent=False)
        with torch.no_grad():
            for field, first, size in zip(codes, self.code_start.tolist(), unit.flatten().tolist(), strict=True):
                self.table.weight[first : first + field.cardinality] /= size
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
            parts.append(take_rows(self.table.weight, batch.codes + self.code_start) * self.code_unit)
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
    part in it. What is learned is the vector of the knot at the median and the *step* from each knot to the next; a
    knot's vector is the median's plus the steps between them. Every row then teaches all steps between the median and
    its value, which keeps neighbouring knots alike and generalises far better than free vectors per knot; and a step
    is taught only by rows beyond it, so what a rare value does is not lost among the rows that do not have it. The
    median's vector and MISSING's start at zero: a column that is nearly always the same adds nothing to those rows.

    Args:
        fields: of form numeric.
        dim: d, length of an embedding vector.
    """

    start: Tensor
    last: Tensor
    origin: Tensor
    unit: Tensor

    def __init__(self, fields: Sequence[Field], dim: int) -> None:
        super().__init__()
        sizes = torch.tensor([field.cardinality for field in fields], dtype=torch.long)
        self.fields, self.knots, self.dim = len(fields), max(sizes.tolist(), default=2) - 1, dim
        self.missing = nn.Embedding(self.fields, dim)
        self.steps = nn.Embedding(self.fields * self.knots, dim)  # a field's first row: the vector at its median
        start = torch.arange(self.fields) * (self.knots + 1)
        origin = torch.tensor([(field.origin or field.cardinality // 2) - 1 for field in fields], dtype=torch.long)
        self.register_buffer("start", start, persistent=False)
        self.register_buffer("last", start + sizes - 1, persistent=False)
        self.register_buffer("origin", torch.arange(self.fields) * self.knots + origin, persistent=False)
        self.register_buffer("unit", (_SPEED / sizes.sub(1).clamp(min=1)).view(-1, 1, 1), persistent=False)
        with torch.no_grad():
            # A straight line through each feature's range, equally steep however many knots it has.
            line = torch.randn(self.fields, 1, dim) * _INITIAL_RANGE / _SPEED
            steps = line.repeat(1, self.knots, 1)
            steps[:, 0] = 0
            self.steps.weight.copy_(steps.flatten(0, 1))
            nn.init.zeros_(self.missing.weight)

    def table(self) -> Tensor:
        """Vectors of MISSING and of every knot, (fields * (1 + most knots), d)."""
        steps = self.steps.weight.view(self.fields, self.knots, self.dim)
        path = steps.cumsum(dim=1)
        knots = path - take_rows(path.flatten(0, 1), self.origin)[:, None] + steps[:, :1]
        return (torch.cat([self.missing.weight[:, None], knots], dim=1) * self.unit).flatten(0, 1)

    def forward(self, position: Tensor) -> Tensor:
        """(B, fields, d) from float32 positions (B, fields)."""
        floor = position.floor()
        share = (position - floor) * (floor > MISSING)
        lower = floor.long() + self.start
        upper = torch.minimum(lower + 1, self.last)
        table = self.table()
        return torch.lerp(take_rows(table, lower), take_rows(table, upper), share[..., None])


def embedding_sizes(schema: ModelSchema, dim: int) -> list[int]:
    """Learned numbers of each field in a ``FieldEmbedding``, in schema order."""
    knots = max((field.cardinality for field in schema.fields if field.form == "numeric"), default=0)
    rows = {"numeric": lambda field: knots, "vector": lambda field: field.width + 1}
    return [dim * rows.get(field.form, lambda field: field.cardinality)(field) for field in schema.fields]


_FORMS = ("numeric", "code", "bag", "vector")


def _schema_order(wanted: Sequence[Field], made: Sequence[Field]) -> Tensor | None:
    """Index that puts embeddings made form by form into schema order; None where they already are."""
    place = {id(field): position for position, field in enumerate(made)}
    order = [place[id(field)] for field in wanted]
    return None if order == list(range(len(order))) else torch.tensor(order)

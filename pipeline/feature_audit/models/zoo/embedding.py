"""One embedding module for all fields of a table, of any form.

Fields of one form share one weight matrix with a range of rows for each field, so that a lookup of thousands of fields
is one gather instead of thousands of small modules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from concrete_selectors.indexing import take_rows
from torch import Tensor, nn

from feature_audit.batch import Batch
from feature_audit.schema import MISSING, Field, ModelSchema

#: Standard deviation of initial embedding entries, and of the change from one end of a number's range to the other.
INITIAL_SCALE, _INITIAL_RANGE = 0.05, 0.17
#: Adam changes every weight by about the same amount per step, for any gradient. A field's weights are in units of
#: this over the number of its vectors, so a straight line through many knots, whose steps add up, is learned no faster
#: than a rare flag, and the network does not overfit the noise before it has learned the rare values.
_SPEED = 16.0
#: First: rows of a whole table that a step updates in the time in which it finds, merges and updates one row that a
#: batch looked up. Second: rows of a batch, the default and the upper limit here. On one CPU thread, a single field
#: breaks even between 5,000 and 20,000 codes, 26 fields together between 100,000 and a million.
_ROWS_PER_LOOKUP, _BATCH_ROWS = 16, 1024


class FieldEmbedding(nn.Module):
    """Embeds a batch as (B, N, d), one vector per field in schema order.

    * numeric: see ``NumericEmbedding``.
    * code, bag: see ``CodeTable``. Fields with very many codes are in a separate table with sparse gradients.
    * vector: a learned linear map of the values.

    Args:
        schema: the N fields.
        dim: d, length of an embedding vector.

    Attributes:
        table: ``CodeTable`` of the fields with few codes.
        large: ``CodeTable`` of the fields with very many codes; None if there is none.
    """

    order: Tensor | None

    def __init__(self, schema: ModelSchema, dim: int) -> None:
        super().__init__()
        of_form = {form: [field for field in schema.fields if field.form == form] for form in _FORMS}
        codes, bags = dict(enumerate(of_form["code"])), dict(enumerate(of_form["bag"]))
        self.numeric = NumericEmbedding(of_form["numeric"], dim)
        self.table = CodeTable(_sized(codes, large=False), _sized(bags, large=False), dim)
        large = _sized(codes, large=True), _sized(bags, large=True)
        self.large = CodeTable(*large, dim, sparse=True) if any(large) else None
        self.projections = nn.ModuleList(nn.Linear(field.width, dim) for field in of_form["vector"])
        tables = [field for table in self._tables() for field in table.fields]
        made = of_form["numeric"] + tables + of_form["vector"]
        self.register_buffer("order", _schema_order(schema.fields, made), persistent=False)

    def forward(self, batch: Batch) -> Tensor:
        """Embed a batch; float (B, N, d)."""
        parts = []
        if batch.numeric.shape[1]:
            parts.append(self.numeric(batch.numeric))
        for table in self._tables():
            parts += table.embed(batch)
        parts += [project(values)[:, None] for values, project in zip(batch.vectors, self.projections, strict=True)]
        embedded = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        return embedded if self.order is None else embedded.index_select(1, self.order)

    def _tables(self) -> list[CodeTable]:
        return [self.table] if self.large is None else [self.table, self.large]


class CodeTable(nn.Embedding):
    """Vectors of the codes of several fields, a range of rows of one weight matrix for each field.

    * code: the vector of the code. Fields with few codes are learned as fast as numbers of few values.
    * bag: mean of the vectors of the non-padding codes; the MISSING vector if there is none.

    Args:
        codes: the fields of form code by their positions among all such fields.
        bags: the fields of form bag, likewise.
        dim: d, length of an embedding vector.
        sparse: gradients contain the rows of a batch only, not the whole matrix, which is faster if it has very many
            rows; requires an optimiser for such gradients, e.g. ``concrete_selectors.lazy_adam.LazyAdamW``.

    Attributes:
        fields: in the order in which ``embed`` returns them.
    """

    column: Tensor
    start: Tensor
    unit: Tensor

    def __init__(
        self, codes: Mapping[int, Field], bags: Mapping[int, Field], dim: int, *, sparse: bool = False
    ) -> None:
        self.fields = [*codes.values(), *bags.values()]
        starts = torch.tensor([0, *(field.cardinality for field in self.fields)]).cumsum(0)
        super().__init__(int(starts[-1]), dim, sparse=sparse)
        nn.init.normal_(self.weight, std=INITIAL_SCALE)
        unit = torch.tensor([max(1.0, _SPEED / max(field.cardinality, 1)) for field in codes.values()]).view(-1, 1)
        self.register_buffer("column", torch.tensor(list(codes), dtype=torch.long), persistent=False)
        self.register_buffer("start", starts[: len(codes)], persistent=False)
        self.register_buffer("unit", unit, persistent=False)
        self.bag_start = dict(zip(bags, starts[len(codes) : -1].tolist(), strict=True))
        with torch.no_grad():
            for field, first, size in zip(codes.values(), starts.tolist(), unit.flatten().tolist(), strict=False):
                self.weight[first : first + field.cardinality] /= size

    def embed(self, batch: Batch) -> list[Tensor]:
        """Vectors of a batch's codes, (B, number of code fields, d), if any, and of each bag, (B, 1, d)."""
        parts = []
        if len(self.column):
            all_here = len(self.column) == batch.codes.shape[1]
            codes = (batch.codes if all_here else batch.codes.index_select(1, self.column)) + self.start
            parts.append((self(codes) if self.sparse else take_rows(self.weight, codes)) * self.unit)
        return parts + [self._pool(batch.bags[place], start)[:, None] for place, start in self.bag_start.items()]

    def _pool(self, codes: Tensor, start: int) -> Tensor:
        used = (codes != MISSING).to(self.weight.dtype)
        count = used.sum(dim=1, keepdim=True)
        share = used / count.clamp(min=1)
        # An empty bag is all padding: its first cell, code MISSING, represents it.
        share[:, 0] += (count[:, 0] == 0).to(share.dtype)
        return nn.functional.embedding_bag(
            codes + start, self.weight, per_sample_weights=share, mode="sum", sparse=self.sparse
        )


class NumericEmbedding(nn.Module):
    """Piecewise-linear embedding of positions on knots: a linear layer on the encoding of Gorishniy et al. 2022, eq. 1.

    Between two knots the embedding is the linear interpolation of the knots' vectors; MISSING has a separate vector
    and is not interpolated. Learned are the vector of the knot at the median and the *step* from each knot to the next;
    a knot's vector is the median's plus the steps between them. Every row then trains all steps between the median and
    its value, which keeps neighbouring knots similar and generalises far better than free vectors per knot. A step is
    trained only by rows beyond it, so the effect of a rare value is not lost among the rows without it. The vectors of
    the median and of MISSING start at zero: a column that is nearly always the same adds nothing to those rows.

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
    """Number of learned weights of each field in a ``FieldEmbedding``, in schema order."""
    knots = max((field.cardinality for field in schema.fields if field.form == "numeric"), default=0)
    rows = {"numeric": lambda field: knots, "vector": lambda field: field.width + 1}
    return [dim * rows.get(field.form, lambda field: field.cardinality)(field) for field in schema.fields]


_FORMS = ("numeric", "code", "bag", "vector")


def _sized(fields: Mapping[int, Field], *, large: bool) -> dict[int, Field]:
    """The fields with so many codes that updating all of them costs more than those of a batch, or the others.

    The decision depends on each field only, so that a field is trained in the same way with and without the others.
    """
    most = _ROWS_PER_LOOKUP * _BATCH_ROWS
    return {place: field for place, field in fields.items() if (field.cardinality > most * field.width) == large}


def _schema_order(wanted: Sequence[Field], made: Sequence[Field]) -> Tensor | None:
    """Index that puts embeddings made form by form into schema order; None if they already are."""
    place = {id(field): position for position, field in enumerate(made)}
    order = [place[id(field)] for field in wanted]
    return None if order == list(range(len(order))) else torch.tensor(order)

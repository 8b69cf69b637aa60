"""One embedding table for all fields of a table, whatever their form.

Numeric, code and bag fields share one weight matrix, each field owning a contiguous range of rows, so that a lookup of
thousands of fields is one gather and not thousands of small modules.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from feature_audit.batch import Batch
from feature_audit.schema import MISSING, Field, ModelSchema


class FieldEmbedding(nn.Module):
    """Embeds a batch as (B, N, d), one vector per field in schema order.

    * numeric: linear interpolation between the vectors of the two neighbouring knots, i.e. a piecewise-linear encoding
      (Gorishniy et al. 2022, "On Embeddings for Numerical Features", eq. 1) with one learned vector per knot. MISSING has
      a vector of its own and takes no part in the interpolation.
    * code: the vector of the code.
    * bag: mean of the vectors of the non-padding codes; the MISSING vector where there are none.
    * vector: a learned linear map of the values.

    Args:
        schema: the N fields.
        dim: d, length of an embedding vector.
    """

    def __init__(self, schema: ModelSchema, dim: int) -> None:
        super().__init__()
        forms = {
            form: [field for field in schema.fields if field.form == form]
            for form in ("numeric", "code", "bag", "vector")
        }
        self.dim = dim
        self.n_bags, self.n_vectors = len(forms["bag"]), len(forms["vector"])
        tabled = forms["numeric"] + forms["code"] + forms["bag"]
        starts = torch.tensor([0] + [field.cardinality for field in tabled]).cumsum(0)
        n_numeric, n_codes = len(forms["numeric"]), len(forms["code"])
        self.register_buffer("numeric_start", starts[:n_numeric], persistent=False)
        self.register_buffer("numeric_last", starts[1 : n_numeric + 1] - 1, persistent=False)
        self.register_buffer("code_start", starts[n_numeric : n_numeric + n_codes], persistent=False)
        self.bag_start = [int(start) for start in starts[n_numeric + n_codes : len(tabled)]]
        self.table = nn.Parameter(torch.randn(int(starts[-1]), dim) * 0.1)
        self.projections = nn.ModuleList(nn.Linear(field.width, dim) for field in forms["vector"])
        self.register_buffer("order", _schema_order(schema.fields, tabled + forms["vector"]), persistent=False)

    def forward(self, batch: Batch) -> Tensor:
        """Embed a batch; float (B, N, d)."""
        parts = []
        if len(self.numeric_start):
            parts.append(self._numeric(batch.numeric))
        if len(self.code_start):
            parts.append(nn.functional.embedding(batch.codes + self.code_start, self.table))
        parts += [self._bag(codes, start)[:, None] for codes, start in zip(batch.bags, self.bag_start, strict=True)]
        parts += [project(values)[:, None] for values, project in zip(batch.vectors, self.projections, strict=True)]
        embedded = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        return embedded if self.order is None else embedded.index_select(1, self.order)

    def _numeric(self, position: Tensor) -> Tensor:
        floor = position.floor()
        share = (position - floor) * (floor > MISSING)
        lower = floor.long() + self.numeric_start
        upper = torch.minimum(lower + 1, self.numeric_last)
        lookup = nn.functional.embedding
        return torch.lerp(lookup(lower, self.table), lookup(upper, self.table), share[..., None])

    def _bag(self, codes: Tensor, start: int) -> Tensor:
        used = (codes != MISSING).float()
        count = used.sum(dim=1, keepdim=True)
        weight = used / count.clamp(min=1)
        weight[:, 0] += (count[:, 0] == 0).float()
        return nn.functional.embedding_bag(codes + start, self.table, per_sample_weights=weight, mode="sum")


def _schema_order(wanted: Sequence[Field], made: Sequence[Field]) -> Tensor | None:
    """Index that puts embeddings made form by form into schema order; None where they already are."""
    place = {id(field): position for position, field in enumerate(made)}
    order = [place[id(field)] for field in wanted]
    return None if order == list(range(len(order))) else torch.tensor(order)

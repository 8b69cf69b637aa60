"""Cost of a row: the numbers of its embeddings, of any widths, and every dense weight."""

from __future__ import annotations

import pytest
import torch
from feature_audit.batch import Batch
from feature_audit.fitting.compute import active_parameters
from feature_audit.models import build_model, embedding_widths
from feature_audit.schema import Field, ModelSchema
from torch import Tensor, nn

CODES = ModelSchema(tuple(Field(name, "code", 9) for name in "abc"), "binary")
FORMS = ModelSchema(
    (
        Field("a", "numeric", 12),
        Field("b", "code", 6),
        Field("c", "bag", 10, width=4),
        Field("d", "vector", 0, width=3),
    ),
    "binary",
)


class Columns(nn.Module):
    """Three tables of 9 vectors, and a dense layer of 21 + 1 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(9, width) for width in (1, 4, 16))
        self.out = nn.Linear(21, 1)

    def embed(self, batch: Batch) -> list[Tensor]:
        return [table(batch.codes[:, place]) for place, table in enumerate(self.tables)]

    def predict(self, embedded: list[Tensor]) -> Tensor:
        return self.out(torch.cat(embedded, dim=1))[:, 0]


def build(schema: ModelSchema) -> nn.Module:
    return Columns()


def test_a_wide_embedding_costs_more_than_a_narrow_one() -> None:
    model = build_model("test_compute:build", CODES, embedding_dim=0, params={})
    assert embedding_widths(model, CODES) == (1, 4, 16)
    assert active_parameters(model, CODES) == 21 + 22
    assert model.training


@pytest.mark.parametrize("dim", [2, 5])
def test_every_form_of_a_shipped_model_has_its_width(dim: int) -> None:
    model = build_model("mlp", FORMS, embedding_dim=dim, params={"hidden": []})
    assert embedding_widths(model, FORMS) == (dim,) * 4
    projection = 3 * dim + dim
    tables = sum(
        part.numel() for name, part in model.named_parameters() if "projections" not in name and "out" not in name
    )
    dense = sum(part.numel() for part in model.parameters()) - tables
    assert dense == projection + 4 * dim + 1
    assert active_parameters(model, FORMS) == 4 * dim + dense

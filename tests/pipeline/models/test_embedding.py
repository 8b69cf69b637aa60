"""Embeddings of the four forms against their definitions."""

from __future__ import annotations

import numpy as np
import torch
from feature_audit.batch import Batch
from feature_audit.models.zoo.embedding import FieldEmbedding
from feature_audit.schema import Field, ModelSchema
from memory_store import MemoryStore, planted


def _batch(**parts: torch.Tensor) -> Batch:
    rows = len(next(iter(parts.values())))
    numeric = parts.get("numeric", torch.zeros(rows, 0))
    codes = parts.get("codes", torch.zeros(rows, 0, dtype=torch.long))
    return Batch(
        numeric,
        codes,
        (parts["bag"],) if "bag" in parts else (),
        (parts["vector"],) if "vector" in parts else (),
        torch.zeros(rows),
    )


def test_numeric_is_exact_on_knots_and_linear_between() -> None:
    """A knot's vector is that of the origin plus the steps up to it, in the field's unit; linear between knots."""
    schema = ModelSchema((Field("short", "numeric", 3), Field("long", "numeric", 6, origin=2)), "binary")
    embedding = FieldEmbedding(schema, 4)
    torch.nn.init.normal_(embedding.numeric.steps.weight)

    def at(position: float) -> torch.Tensor:
        return embedding(_batch(numeric=torch.tensor([[1.0, position]])))[0, 1]

    centre, *steps = embedding.numeric.steps.weight.view(2, 5, 4)[1] * embedding.numeric.unit[1]
    torch.testing.assert_close(at(2.0), centre)
    torch.testing.assert_close(at(1.0), centre - steps[0])
    torch.testing.assert_close(at(4.0), centre + steps[1] + steps[2])
    torch.testing.assert_close(at(5.0), centre + steps[1] + steps[2] + steps[3])
    torch.testing.assert_close(at(2.25), 0.75 * at(2.0) + 0.25 * at(3.0))


def test_rows_at_the_origin_teach_no_step_and_rows_beyond_it_only_theirs() -> None:
    embedding = FieldEmbedding(ModelSchema((Field("sign", "numeric", 4, origin=2),), "binary"), 3)

    def taught(position: float) -> list[bool]:
        embedding.zero_grad()
        embedding(_batch(numeric=torch.tensor([[position]]))).sum().backward()
        return [bool(row.abs().sum() > 1e-6) for row in embedding.numeric.steps.weight.grad]

    assert taught(2.0) == [True, False, False]  # the first row is the origin's own vector
    assert taught(1.0) == [True, True, False]
    assert taught(3.0) == [True, False, True]


def test_the_default_value_starts_with_a_zero_embedding() -> None:
    embedding = FieldEmbedding(ModelSchema((Field("a", "numeric", 9, origin=3),), "binary"), 3)
    made = embedding(_batch(numeric=torch.tensor([[0.0], [3.0], [8.0]])))[:, 0]
    assert made.abs().sum(dim=1).gt(0).tolist() == [False, False, True]


def test_missing_has_its_own_vector_and_is_not_interpolated_with() -> None:
    embedding = FieldEmbedding(ModelSchema((Field("a", "numeric", 4),), "binary"), 3)
    torch.nn.init.normal_(embedding.numeric.missing.weight)
    values = embedding(_batch(numeric=torch.tensor([[0.0], [0.4], [1.0]])))[:, 0]
    missing = embedding.numeric.missing.weight * embedding.numeric.unit[0]
    torch.testing.assert_close(values[0], missing[0])
    torch.testing.assert_close(values[1], missing[0])
    values.sum().backward()
    assert embedding.numeric.missing.weight.grad.abs().sum() > 0


def test_a_single_knot_and_no_knot_fields_work() -> None:
    embedding = FieldEmbedding(ModelSchema((Field("a", "numeric", 2), Field("c", "code", 2)), "binary"), 3)
    batch = _batch(numeric=torch.tensor([[0.0], [1.0]]), codes=torch.tensor([[0], [1]]))
    assert torch.isfinite(embedding(batch)).all()


def test_bag_is_the_mean_of_its_codes_and_missing_when_empty() -> None:
    embedding = FieldEmbedding(ModelSchema((Field("tags", "bag", 6, width=3),), "binary"), 2)
    rows = embedding.table.weight
    made = embedding(_batch(bag=torch.tensor([[2, 5, 0], [0, 0, 0], [3, 3, 3]])))[:, 0]
    torch.testing.assert_close(made, torch.stack([(rows[2] + rows[5]) / 2, rows[0], rows[3]]))


def test_mixed_forms_come_back_in_schema_order() -> None:
    store = planted(rows=40)
    embedding = FieldEmbedding(store.schema, 4)
    whole = embedding(store.batch(np.arange(5)))
    for place, field in enumerate(store.schema.fields):
        changed = dict(store.columns)
        changed[field.name] = np.roll(store.columns[field.name], 1, axis=0)
        other = embedding(MemoryStore(store.schema, changed, store.labels, store.splits).batch(np.arange(5)))
        differs = (whole != other).any(dim=2).any(dim=0)
        assert differs.nonzero().flatten().tolist() == [place]


def test_wide_tables_are_a_few_parameters_not_thousands_of_modules() -> None:
    fields = tuple(Field(f"n{n}", "numeric" if n % 2 else "code", 20) for n in range(4000))
    embedding = FieldEmbedding(ModelSchema(fields, "binary"), 4)
    assert len(list(embedding.parameters())) <= 4
    assert embedding(_batch(numeric=torch.rand(2, 2000) * 19, codes=torch.randint(0, 20, (2, 2000)))).shape == (
        2,
        4000,
        4,
    )

"""Widths of the embeddings of a model's fields, measured on the model itself."""

from __future__ import annotations

from typing import Any

import torch
from concrete_selectors.embeddings import FlatModel
from concrete_selectors.gates.gating import device_of
from torch import nn

from feature_audit.batch import Batch
from feature_audit.schema import MISSING, ModelSchema


def embedding_widths(model: nn.Module, schema: ModelSchema) -> tuple[int, ...]:
    """Length of each field's embedding, (N,), from two embedded rows in which every value is missing.

    Args:
        model: of the contract; its mode is unchanged afterwards.
        schema: its N fields.
    """
    contract: Any = model
    was_training, flat = model.training, FlatModel(contract)
    model.eval()
    try:
        with torch.no_grad():
            flat.embed(_missing(schema, 2).to(device_of(model)))
    finally:
        model.train(was_training)
    return tuple(flat.segments.widths.tolist())


def _missing(schema: ModelSchema, rows: int) -> Batch:
    """Rows of missing values: position and code MISSING, vectors of zeros."""
    of_form = {form: [field for field in schema.fields if field.form == form] for form in ("bag", "vector")}
    single = {form: sum(field.form == form for field in schema.fields) for form in ("numeric", "code")}
    return Batch(
        torch.full((rows, single["numeric"]), float(MISSING)),
        torch.full((rows, single["code"]), MISSING),
        tuple(torch.full((rows, field.width), MISSING) for field in of_form["bag"]),
        tuple(torch.zeros(rows, field.width) for field in of_form["vector"]),
        torch.empty(0),
    )

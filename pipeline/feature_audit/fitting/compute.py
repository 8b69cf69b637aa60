"""The machine-independent cost of a training.

The unit of compute is one row passed forward and backward through one active parameter: a row uses its own rows of the
embedding tables and every dense weight, but not the whole table. A forward pass without a backward pass counts a third,
because a backward pass costs about two forward passes. The elimination's small networks count in the same unit. Seconds
are recorded as well.
"""

from __future__ import annotations

from torch import nn

from feature_audit.models import embedding_widths
from feature_audit.schema import ModelSchema


def active_parameters(model: nn.Module, schema: ModelSchema) -> int:
    """Parameters that one row uses: its fields' embedding widths, and all dense parameters."""
    tables = {
        id(weight)
        for module in model.modules()
        if isinstance(module, nn.Embedding | nn.EmbeddingBag)
        for weight in module.parameters(recurse=False)
    }
    dense = sum(weight.numel() for weight in model.parameters() if id(weight) not in tables)
    return sum(embedding_widths(model, schema)) + dense

"""Compute: what a training costs, whatever the machine.

The unit of work is one row passed forward and backward through one parameter it touches: a row touches its own rows of
the embedding tables and every dense weight, not the whole table. A forward pass alone counts a third (the backward pass
costs about two forward passes). The small networks that an elimination trains beside the model count in the same unit.
Seconds are recorded beside it.
"""

from __future__ import annotations

from torch import nn

FORWARD_SHARE = 1 / 3


def touched_parameters(model: nn.Module, n_fields: int, embedding_dim: int) -> int:
    """Parameters that one row touches: ``n_fields x embedding_dim`` of the tables and all dense ones."""
    tables = {
        id(weight)
        for module in model.modules()
        if isinstance(module, nn.Embedding | nn.EmbeddingBag)
        for weight in module.parameters(recurse=False)
    }
    dense = sum(weight.numel() for weight in model.parameters() if id(weight) not in tables)
    return n_fields * embedding_dim + dense


def work(examples: float, touched: int) -> float:
    """Work of ``examples`` forward-backward row passes."""
    return float(examples) * touched

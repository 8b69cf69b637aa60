"""A trained model that shows a selector only the fields it may choose from; the others are shut for good."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from feature_audit.batch import Batch


class OpenFields(nn.Module):
    """The model contract over some of a model's fields.

    A shut field feeds its mean embedding, exactly as a selector's closed gate does, so that a selection among the open
    fields starts from the model that a selection among all fields starts from, minus what it may not use.

    Args:
        model: trained, of the model contract over N fields; trained along where the selector trains.
        open_fields: (M,) indices of the fields to show, in schema order.
        batches: some train batches, on the model's device, from which the shut fields' means are taken.

    Attributes:
        means: (N, d), fixed.

    Raises:
        ValueError: ``batches`` gives none.
    """

    means: Tensor
    index: Tensor

    def __init__(self, model: Any, open_fields: Sequence[int], batches: Iterable[Batch]) -> None:
        super().__init__()
        self.model = model
        total, rows = None, 0
        with torch.no_grad():
            for batch in batches:
                embedded = model.embed(batch)
                total = embedded.sum(dim=0) if total is None else total + embedded.sum(dim=0)
                rows += len(embedded)
        if total is None:
            raise ValueError("batches: gave none; the means of shut fields need at least one row")
        self.register_buffer("means", total / rows)
        self.register_buffer("index", torch.as_tensor(list(open_fields), device=total.device))

    def embed(self, batch: Batch) -> Tensor:
        """Embeddings of the open fields, (B, M, d)."""
        return self.model.embed(batch).index_select(1, self.index)

    def predict(self, embedded: Tensor) -> Tensor:
        """(B,) or (B, C) of the model, from (B, M, d) and the means of the shut fields."""
        full = self.means.expand(len(embedded), -1, -1)
        return self.model.predict(full.index_copy(1, self.index, embedded))

    def forward(self, batch: Batch) -> Tensor:
        """Logits of the open fields behind the means of the shut ones."""
        return self.predict(self.embed(batch))

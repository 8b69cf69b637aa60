"""What the full model expects of train and validation rows: asked once, for all trials of a search."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from feature_audit.batch import Batch
from feature_audit.data import Store
from feature_audit.models import predict
from feature_audit.schema import ModelSchema


class KnownExpectations:
    """Expectations (see ``concrete_selectors.Expect``) from a table by row of the store.

    Args:
        model: trained, of the model contract, over the schema's fields.
        store: holds the rows.
        schema: fields of the model.
        validation: the model's scores of the validation rows where they are known already, else None.

    Attributes:
        rows_asked: rows sent through the model to fill the table.
    """

    def __init__(self, model: nn.Module, store: Store, schema: ModelSchema, validation: np.ndarray | None) -> None:
        device = str(store.device)
        train = predict(model, store, "train", schema, task=schema.task, device=device)
        self.rows_asked = len(train)
        if validation is None:
            validation = predict(model, store, "validation", schema, task=schema.task, device=device)
            self.rows_asked += len(validation)
        self._targets = torch.from_numpy(np.concatenate([train, validation])).to(store.device)

    def __call__(self, batch: Any, index: Tensor | None) -> Tensor:
        """Float32 (B,), or (B, C) for C classes, of a batch of train or validation rows, or of some of its rows."""
        assert isinstance(batch, Batch)
        assert batch.row is not None  # every batch of a store knows its rows
        return self._targets[batch.row if index is None else batch.row[index]]

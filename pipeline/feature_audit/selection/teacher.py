"""What the full model expects of train and validation rows: asked once, for all trials."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from feature_audit.batch import Batch
from feature_audit.data import Store
from feature_audit.models import predict
from feature_audit.schema import SplitName


class KnownTeacher:
    """The full model's expectations (see ``concrete_selectors.TeacherProtocol``) as a table by row of the store.

    Args:
        model: trained, of the model contract, over the store's fields.
        store: holds the rows.
        validation: the model's scores of the validation rows.

    Attributes:
        rows_asked: rows sent through the model so far: none until the first question, which fills the table.
    """

    def __init__(self, model: nn.Module, store: Store, validation: np.ndarray) -> None:
        self._model, self._store, self._validation = model, store, validation
        self._targets: Tensor | None = None
        self.rows_asked = 0

    def __call__(self, batch: Any, index: Tensor | None) -> Tensor:
        """Float32 (B,), or (B, C) for C classes, of a batch of train or validation rows, or of some of its rows.

        Of several targets (B, targets), NaN where a row has no label.
        """
        assert isinstance(batch, Batch)
        assert batch.row is not None  # every batch of a store knows its rows
        if self._targets is None:
            targets = np.concatenate([self._ask("train"), self._validation])
            if self._store.schema.outputs:  # where there is no label, the model has learned nothing
                labels = np.concatenate([self._store.targets(split) for split in ("train", "validation")])
                targets = np.where(np.isnan(labels), np.float32(np.nan), targets)
            self._targets = torch.from_numpy(targets).to(self._store.device)
        return self._targets[batch.row if index is None else batch.row[index]]

    def _ask(self, split: SplitName) -> np.ndarray:
        schema, device = self._store.schema, str(self._store.device)
        found = predict(self._model, self._store, split, schema, task=schema.task, device=device)
        self.rows_asked += len(found)
        return found

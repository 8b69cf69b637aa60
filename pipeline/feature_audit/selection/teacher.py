"""What the full model expects of train and validation rows: asked before the first trial, for all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from feature_audit.batch import Batch
from feature_audit.data import Store


class KnownTeacher:
    """The full model's expectations (see ``concrete_selectors.TeacherProtocol``) as a table by row of the store.

    Args:
        train, validation: the model's scores of these rows, float32 (rows,), (rows, C) or (rows, targets).
        store: holds the rows.

    Attributes:
        rows_asked: 0, because the model was asked before.
    """

    def __init__(self, train: np.ndarray, validation: np.ndarray, store: Store) -> None:
        targets = np.concatenate([train, validation])
        if store.schema.outputs:  # where there is no label, the model has learned nothing
            labels = np.concatenate([store.targets(split) for split in ("train", "validation")])
            targets = np.where(np.isnan(labels), np.float32(np.nan), targets)
        self._targets = torch.from_numpy(targets).to(store.device)
        self.rows_asked = 0

    def __call__(self, batch: Any, index: Tensor | None) -> Tensor:
        """Float32 (B,), or (B, C) for C classes, of a batch of train or validation rows, or of some of its rows.

        Of several targets (B, targets), NaN where a row has no label.
        """
        assert isinstance(batch, Batch)
        assert batch.row is not None  # every batch of a store knows its rows
        return self._targets[batch.row if index is None else batch.row[index]]

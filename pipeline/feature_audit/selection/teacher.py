"""The full model's predictions of train and validation rows, computed once before the first trial."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from feature_audit.batch import Batch
from feature_audit.data import Store


class KnownTeacher:
    """The full model's predictions (see ``concrete_selectors.TeacherProtocol``) as a table indexed by row of the store.

    Args:
        train, validation: the model's scores of these rows, float32 (rows,), (rows, C) or (rows, targets).
        store: store of the rows.

    Attributes:
        rows_asked: 0, because all predictions were computed before.
    """

    def __init__(self, train: np.ndarray, validation: np.ndarray, store: Store) -> None:
        targets = np.concatenate([train, validation])
        if store.schema.outputs:  # without a label, the model was not trained on the row
            labels = np.concatenate([store.targets(split) for split in ("train", "validation")])
            targets = np.where(np.isnan(labels), np.float32(np.nan), targets)
        self._targets = torch.from_numpy(targets).to(store.device)
        self.rows_asked = 0

    def __call__(self, batch: Any, index: Tensor | None) -> Tensor:
        """Float32 (B,), or (B, C) for C classes, of a batch of train or validation rows, or of the rows at ``index``.

        With several targets (B, targets), NaN where a row has no label.
        """
        assert isinstance(batch, Batch)
        assert batch.row is not None  # every batch of a store has row numbers
        return self._targets[batch.row if index is None else batch.row[index]]

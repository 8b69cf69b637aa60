"""What the full model expects of train and validation rows: asked before the first trial, for all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from feature_audit.batch import Batch


class KnownTeacher:
    """The full model's expectations (see ``concrete_selectors.TeacherProtocol``) as a table by row of the store.

    Args:
        train, validation: the model's scores of these rows, float32 (rows,) or (rows, C).
        device: where batches lie.

    Attributes:
        rows_asked: 0, because the model was asked before.
    """

    def __init__(self, train: np.ndarray, validation: np.ndarray, device: torch.device) -> None:
        self._targets = torch.from_numpy(np.concatenate([train, validation])).to(device)
        self.rows_asked = 0

    def __call__(self, batch: Any, index: Tensor | None) -> Tensor:
        """Float32 (B,), or (B, C) for C classes, of a batch of train or validation rows, or of some of its rows."""
        assert isinstance(batch, Batch)
        assert batch.row is not None  # every batch of a store knows its rows
        return self._targets[batch.row if index is None else batch.row[index]]

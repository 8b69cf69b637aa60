"""The trained model as a teacher: its predictions are additional targets (knowledge distillation)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from concrete_selectors.embeddings import FlatModel
from concrete_selectors.protocols import EmbeddingModel


class Teacher:
    """Predictions of the trained model, recomputed at every call.

    Args:
        model: follows ``EmbeddingModel``; never trained, and its train / eval modes are restored after every call.
        as_targets: turns its logits into targets that the loss takes: probabilities (B,) or (B, C), or values (B,).

    Attributes:
        rows_asked: rows sent through the model so far.
    """

    def __init__(self, model: EmbeddingModel, as_targets: Callable[[Tensor], Tensor]) -> None:
        self._model: Any = model
        self._flat = FlatModel(model)
        self._as_targets = as_targets
        self.rows_asked = 0

    def __call__(self, batch: Any, index: Tensor | None = None) -> Tensor:
        """Targets of the rows ``index`` of a batch (int64), or of all rows."""
        model = self._model
        modes = {module: module.training for module in model.modules()} if isinstance(model, nn.Module) else {}
        try:
            model.eval()
            with torch.no_grad():
                embedded = self._flat.embed(batch)
                embedded = embedded if index is None else embedded.index_select(0, index)
                self.rows_asked += len(embedded)
                return self._as_targets(self._flat.predict(embedded))
        finally:
            for module, mode in modes.items():
                module.training = mode

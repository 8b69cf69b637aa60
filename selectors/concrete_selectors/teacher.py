"""The trained model as a teacher: its predictions are targets for what learns from it (knowledge distillation)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from concrete_selectors.embeddings import FlatModel
from concrete_selectors.protocols import EmbeddingModel


class Teacher:
    """Asks the trained model anew whenever its predictions are wanted.

    Args:
        model: of the contract; never trained by a selection, and its modes stay as they were.
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
        """Targets of some rows of a batch (int64), or of all."""
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

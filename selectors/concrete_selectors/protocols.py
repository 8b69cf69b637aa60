"""What a selector needs to know of a model, of data, of a loss and of a teacher: nothing more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from torch import Tensor

#: Epoch number -> iterable of ``(batch, target)``, already on the device; restartable, shuffled anew for each number.
Batches = Callable[[int], Iterable[tuple[Any, Tensor]]]

#: ``loss(logits, target)`` -> one loss per row, shape (B,).
Loss = Callable[[Tensor, Tensor], Tensor]

#: Batch -> how many rows each of its rows counts as in a loss, (B,), 1 on average over the train rows.
Weights = Callable[[Any], Tensor]


class EmbeddingModel(Protocol):
    """A torch module in two parts: features are embedded, then scored.

    ``embed(batch)`` gives the embeddings of the N features in one of these forms: (B, N, d); a list of N tensors
    (B, d_i); a dict of name -> (B, d_i); TorchRec's KeyedTensor; or (B, sum of d_i), where the model has an attribute
    ``widths``, the d_i. Widths may differ between features, not between batches. ``predict(embedded)`` takes the same
    form and gives logits, (B,) for one output or (B, C) for C classes.
    """

    def embed(self, batch: Any) -> Any:
        """Embeds every feature of every row."""

    def predict(self, embedded: Any) -> Tensor:
        """Logits from (gated) embeddings."""


class TeacherProtocol(Protocol):
    """Predictions of the trained model, as targets; see ``concrete_selectors.Teacher``.

    Attributes:
        rows_asked: rows sent through the trained model so far.
    """

    rows_asked: int

    def __call__(self, batch: Any, index: Tensor | None) -> Tensor:
        """Targets that the loss takes, probabilities (B,) or (B, C) or values (B,), of rows of a batch; None = all."""

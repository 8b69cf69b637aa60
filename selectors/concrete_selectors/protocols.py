"""Interfaces of the model, data, loss and teacher that a selector requires."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from torch import Tensor

#: Epoch number -> iterable of ``(batch, target)``, already on the device; restartable, with a new order per epoch.
Batches = Callable[[int], Iterable[tuple[Any, Tensor]]]

#: ``loss(logits, target)`` -> one loss per row, shape (B,).
Loss = Callable[[Tensor, Tensor], Tensor]

#: Batch -> weight of each row in a loss, (B,), with mean 1 over the train rows.
Weights = Callable[[Any], Tensor]


class EmbeddingModel(Protocol):
    """A torch module in two parts: ``embed`` embeds the features, ``predict`` scores the embeddings.

    ``embed(batch)`` returns the embeddings of the N features in one of these forms: (B, N, d); a list of N tensors
    (B, d_i); a dict of name -> (B, d_i); TorchRec's KeyedTensor; or (B, sum of d_i), if the model has an attribute
    ``widths`` with the d_i. Widths may differ between features, but not between batches. ``predict(embedded)`` takes
    the same form and returns logits, (B,) for one output or (B, C) for C classes.
    """

    def embed(self, batch: Any) -> Any:
        """Embed every feature of every row."""

    def predict(self, embedded: Any) -> Tensor:
        """Logits from (gated) embeddings."""


class TeacherProtocol(Protocol):
    """Predictions of the trained model, as targets; see ``concrete_selectors.Teacher``.

    Attributes:
        rows_asked: rows sent through the trained model so far.
    """

    rows_asked: int

    def __call__(self, batch: Any, index: Tensor | None) -> Tensor:
        """Targets in the form that the loss takes, (B,) or (B, C), for rows ``index`` of a batch; None = all."""

"""A user's module with ``embed`` and ``predict``, for embeddings of any form and width."""

from __future__ import annotations

from concrete_selectors.embeddings import FieldLayout
from torch import Tensor, nn

from feature_audit.batch import Batch
from feature_audit.errors import UsageError
from feature_audit.models.output_scaling import OutputScaling
from feature_audit.schema import ModelSchema


class UserModel(nn.Module):
    """A user's ``embed`` / ``predict`` module, checked and with its output in target units.

    The module's embeddings may have any form of ``concrete_selectors.EmbeddingModel``; named ones are put in schema
    order. Its ``predict`` receives the form that its ``embed`` returned.

    Attributes:
        widths: numbers of each field's embedding; None before the first embedded batch.
    """

    def __init__(self, module: nn.Module, schema: ModelSchema) -> None:
        super().__init__()
        self.module = module
        self.names = schema.names
        self.widths: tuple[int, ...] | None = None
        self.scaling = OutputScaling(schema)
        self._layout: FieldLayout | None = None

    def embed(self, batch: Batch) -> Tensor:
        """Field embeddings, (B, N, d), or (B, sum of widths) if the widths differ.

        Raises:
            UsageError: the module's ``embed`` does not follow the contract, or returns another form than for an earlier
                batch.
        """
        embedded = self.module.embed(batch)  # type: ignore[operator]
        source, declared = f"{type(self.module).__name__}.embed", getattr(self.module, "widths", None)
        try:
            layout = FieldLayout.of(embedded, widths=declared, names=self.names, rows=len(batch))
            require_all(layout.widths, self.names)
            (self._layout or layout).require(layout)
        except ValueError as error:
            raise UsageError(f"{source} gives {error}") from None
        self._layout, self.widths = layout, layout.widths
        return contract_form(layout.flatten(embedded), layout.widths)

    def predict(self, embedded: Tensor) -> Tensor:
        """(B,) logits or values, or (B, C) logits, from embeddings as ``embed`` returns them."""
        if self._layout is None:
            raise RuntimeError("the form of the embeddings is known after embed(batch); call it before predict")
        return self.scaling(self.module.predict(self._layout.restore(embedded.flatten(1))))  # type: ignore[operator]

    def forward(self, batch: Batch) -> Tensor:
        """``predict(embed(batch))``."""
        return self.predict(self.embed(batch))


def contract_form(flat: Tensor, widths: tuple[int, ...]) -> Tensor:
    """Flat embeddings (B, D) as (B, N, d) if all N widths are equal, else unchanged."""
    return flat.unflatten(1, (len(widths), -1)) if len(set(widths)) == 1 else flat


def require_all(widths: tuple[int, ...], names: tuple[str, ...]) -> None:
    """Raise unless there is one embedding per field.

    Raises:
        ValueError: the message is one line.
    """
    if len(widths) != len(names):
        raise ValueError(f"{len(widths)} embeddings for {len(names)} features; give one per feature")

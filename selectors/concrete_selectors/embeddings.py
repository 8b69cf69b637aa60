"""The forms in which a model may return the embeddings of its features, and the flat form that selectors use.

Widths may differ between features. Selectors use one flat tensor (B, D), feature after feature; ``Segments`` holds the
position of each. The model gets its embeddings back in its own form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from concrete_selectors.protocols import EmbeddingModel
from concrete_selectors.segments import Segments

_FORMS = (
    "give (B, N, d), a list of N tensors (B, d_i), a dict of name -> (B, d_i), a KeyedTensor, or (B, sum of widths) "
    "with the widths declared"
)


@dataclass(frozen=True)
class FieldLayout:
    """The form of the embeddings of N features.

    Attributes:
        form: ``block`` = (B, N, d); ``flat`` = (B, D) with declared widths; ``list`` and ``dict`` of (B, d_i);
            ``keyed`` = has ``keys``, ``length_per_key`` and ``to_dict``, like TorchRec's KeyedTensor.
        widths: (N,), embedding width of each feature.
        names: names of the features in their order, if the form has names.
        keys: the same names in the model's order.
        kind: class of the list, mapping or KeyedTensor, or None.
    """

    form: Literal["block", "flat", "list", "dict", "keyed"]
    widths: tuple[int, ...]
    names: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    kind: Any = None

    @classmethod
    def of(
        cls, embedded: Any, *, widths: Sequence[int] | None = None, names: Sequence[str] = (), rows: int | None = None
    ) -> FieldLayout:
        """The layout of a batch's embeddings.

        Args:
            embedded: the model's output.
            widths: declared widths; required only for a flat tensor.
            names: names of the features in their order; empty = the order of the mapping.
            rows: rows of the batch; None = inferred from the embeddings.

        Raises:
            ValueError: the embeddings have none of the supported forms; the message is one line.
        """
        if isinstance(embedded, Tensor):
            return cls._of_tensor(embedded, widths, rows)
        if isinstance(embedded, Mapping) or (hasattr(embedded, "keys") and hasattr(embedded, "to_dict")):
            form: Literal["dict", "keyed"] = "dict" if isinstance(embedded, Mapping) else "keyed"
            vectors = _entries(embedded)
            order = tuple(names) or tuple(vectors)
            lost = [name for name in order if name not in vectors]
            if lost:
                raise ValueError(f"no embedding for {lost[0]} ({len(lost)} of {len(order)} features missing)")
            unknown = [name for name in vectors if name not in order]
            if unknown:
                raise ValueError(f"an embedding for {unknown[0]}, which is not a feature; remove it")
            found = _widths([vectors[name] for name in order], order, rows)
            return cls(form, found, order, tuple(vectors), type(embedded))
        if isinstance(embedded, Sequence):
            return cls("list", _widths(embedded, range(len(embedded)), rows), kind=type(embedded))
        raise ValueError(f"{type(embedded).__name__}; {_FORMS}")

    @classmethod
    def _of_tensor(cls, embedded: Tensor, widths: Sequence[int] | None, rows: int | None) -> FieldLayout:
        shape = tuple(embedded.shape)
        _require(embedded, shape, rows, "")
        if len(shape) == 3 and shape[2] > 0:
            return cls("block", (shape[2],) * shape[1])
        if len(shape) == 2 and widths is not None:
            found = tuple(int(width) for width in widths)
            if min(found, default=0) < 1 or sum(found) != shape[1]:
                raise ValueError(f"{shape}, but the declared widths add up to {sum(found)}; each must be at least 1")
            return cls("flat", found)
        raise ValueError(f"{shape}; {_FORMS}")

    def flatten(self, embedded: Any) -> Tensor:
        """Concatenate embeddings of this layout, feature after feature, (B, D)."""
        if isinstance(embedded, Tensor):
            return embedded.flatten(1)
        vectors = list(embedded) if self.form == "list" else [_entries(embedded)[name] for name in self.names]
        return torch.cat(vectors, dim=1)

    def restore(self, flat: Tensor) -> Any:
        """Convert flat embeddings (B, D) back to the model's form."""
        if self.form == "flat":
            return flat
        if self.form == "block":
            return flat.unflatten(1, (len(self.widths), -1))
        vectors = flat.split(self.widths, dim=1)
        if self.form == "list":
            return vectors if self.kind is tuple else list(vectors)
        named = dict(zip(self.names, vectors, strict=True))
        written = {key: named[key] for key in self.keys}
        if self.form == "dict":
            return written
        widths = [vector.shape[1] for vector in written.values()]
        return self.kind(keys=list(written), length_per_key=widths, values=torch.cat(list(written.values()), dim=1))

    def require(self, other: FieldLayout) -> None:
        """Require another batch's embeddings to have this layout.

        Raises:
            ValueError: they differ; the message is one line.
        """
        if (self.form, self.names) != (other.form, other.names):
            raise ValueError(f"a {other.form} of {len(other.widths)} features, but a {self.form} for an earlier batch")
        require_same(self.widths, other.widths, self.names)


class FlatModel:
    """Adapter of a model to flat embeddings (B, D).

    Args:
        model: a model that follows ``EmbeddingModel``; one with flat embeddings declares their ``widths`` as an
            attribute.

    Attributes:
        model: the same model.
        segments: positions of the features; set by the first ``embed``.
    """

    segments: Segments

    def __init__(self, model: EmbeddingModel) -> None:
        self.model: Any = model
        self._layout: FieldLayout | None = None

    def embed(self, batch: Any) -> Tensor:
        """Embeddings of every feature of every row, (B, D).

        Raises:
            ValueError: the embeddings have none of the supported forms, or differ in form from the first batch.
        """
        embedded = self.model.embed(batch)
        try:
            layout = FieldLayout.of(embedded, widths=getattr(self.model, "widths", None), names=self._names())
            if self._layout is None:
                self._layout, self.segments = layout, Segments(layout.widths)
            self._layout.require(layout)
        except ValueError as error:
            raise ValueError(f"{type(self.model).__name__}.embed gives {error}") from None
        return layout.flatten(embedded)

    def predict(self, flat: Tensor) -> Tensor:
        """Logits from (gated) embeddings (B, D).

        Raises:
            RuntimeError: ``embed`` was not called yet.
        """
        if self._layout is None:
            raise RuntimeError("the form of the embeddings is not known yet; call embed(batch) before predict")
        logits: Tensor = self.model.predict(self._layout.restore(flat))
        return logits

    def _names(self) -> tuple[str, ...]:
        return () if self._layout is None else self._layout.names


def require_same(before: tuple[int, ...], now: tuple[int, ...], names: Sequence[str]) -> None:
    """Require the widths of an earlier batch.

    Args:
        before, now: widths of the features.
        names: names of the features; empty = numbered.

    Raises:
        ValueError: they differ; the message is one line.
    """
    if len(before) != len(now):
        raise ValueError(f"embeddings of {len(now)} features, but of {len(before)} for an earlier batch")
    for place, (first, second) in enumerate(zip(before, now, strict=True)):
        if first != second:
            label = names[place] if names else f"feature {place}"
            raise ValueError(f"width {second} for {label}, but {first} for an earlier batch; widths must not change")


def _widths(vectors: Sequence[Any], labels: Sequence[Any], rows: int | None) -> tuple[int, ...]:
    """Widths of vectors (B, d_i); all must have the same number of rows."""
    widths = []
    for vector, label in zip(vectors, labels, strict=True):
        shape = tuple(vector.shape) if isinstance(vector, Tensor) else type(vector).__name__
        of = f" for {label}" if isinstance(label, str) else f" at place {label} of the list"
        if not isinstance(vector, Tensor) or len(shape) != 2 or shape[1] == 0:
            raise ValueError(f"{shape}{of}; give (B, width) with a width of at least 1")
        rows = len(vector) if rows is None else rows
        _require(vector, shape, rows, of)
        widths.append(vector.shape[1])
    if not widths:
        raise ValueError(f"no embedding at all; {_FORMS}")
    return tuple(widths)


def _require(vectors: Tensor, shape: Any, rows: int | None, of: str) -> None:
    if rows is not None and len(vectors) != rows:
        raise ValueError(f"{shape}{of}: {len(vectors)} rows for a batch of {rows}")
    if not vectors.is_floating_point():
        raise ValueError(f"{str(vectors.dtype).removeprefix('torch.')}{of}; embeddings must be floating-point numbers")


def _entries(embedded: Any) -> Mapping[str, Tensor]:
    """Name -> (B, d_i) of a mapping or KeyedTensor."""
    entries: Mapping[str, Tensor] = embedded if isinstance(embedded, Mapping) else embedded.to_dict()
    return entries

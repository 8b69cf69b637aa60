"""What a model may give as the embeddings of its features, and the one form in which selectors work on them.

Widths may differ between features. Selectors see one flat tensor (B, D), feature after feature; ``Segments`` says
where each stands. Models see what they gave.
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
    """How the embeddings of N features are written down.

    Attributes:
        form: ``block`` = (B, N, d); ``flat`` = (B, D) with declared widths; ``list`` and ``dict`` of (B, d_i);
            ``keyed`` = has ``keys``, ``length_per_key`` and ``to_dict`` as TorchRec's KeyedTensor.
        widths: (N,), numbers of each feature's embedding.
        names: of the features in their order, where the form has names.
        keys: the same names in the order in which the model wrote them.
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
            embedded: as the model gave them.
            widths: declared ones; needed for a flat tensor alone.
            names: the features' names in their order; empty = the order in which the form has them.
            rows: of the batch; None = as many as the embeddings have.

        Raises:
            ValueError: the embeddings have none of the forms; in one line.
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
                raise ValueError(f"an embedding for {unknown[0]}, which is no feature; leave it out")
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
                raise ValueError(f"{shape}, but the declared widths add up to {sum(found)}; each is 1 or more")
            return cls("flat", found)
        raise ValueError(f"{shape}; {_FORMS}")

    def flatten(self, embedded: Any) -> Tensor:
        """Embeddings of this layout, feature after feature, (B, D)."""
        if isinstance(embedded, Tensor):
            return embedded.flatten(1)
        vectors = list(embedded) if self.form == "list" else [_entries(embedded)[name] for name in self.names]
        return torch.cat(vectors, dim=1)

    def restore(self, flat: Tensor) -> Any:
        """Flat embeddings (B, D) as the model gave them."""
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
        """Refuses embeddings of another batch that are written down in another way.

        Raises:
            ValueError: in one line.
        """
        if (self.form, self.names) != (other.form, other.names):
            raise ValueError(f"a {other.form} of {len(other.widths)} features, for an earlier batch a {self.form}")
        require_same(self.widths, other.widths, self.names)


class FlatModel:
    """A model of the contract, asked for flat embeddings (B, D) and given them.

    Args:
        model: of the contract; one that gives flat embeddings itself declares their ``widths`` as an attribute.

    Attributes:
        model: the same.
        segments: where the features stand; known once a batch was embedded.
    """

    segments: Segments

    def __init__(self, model: EmbeddingModel) -> None:
        self.model: Any = model
        self._layout: FieldLayout | None = None

    def embed(self, batch: Any) -> Tensor:
        """Embeddings of every feature of every row, (B, D).

        Raises:
            ValueError: the model gives something else than the contract says, or than for the first batch.
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
            RuntimeError: nothing was embedded yet.
        """
        if self._layout is None:
            raise RuntimeError("the form of the embeddings is known after embed(batch); call it before predict")
        logits: Tensor = self.model.predict(self._layout.restore(flat))
        return logits

    def _names(self) -> tuple[str, ...]:
        return () if self._layout is None else self._layout.names


def require_same(before: tuple[int, ...], now: tuple[int, ...], names: Sequence[str]) -> None:
    """Refuses widths that are not those of an earlier batch.

    Args:
        before, now: widths of the features.
        names: of the features; empty = they are numbered.

    Raises:
        ValueError: in one line.
    """
    if len(before) != len(now):
        raise ValueError(f"embeddings of {len(now)} features, for an earlier batch of {len(before)}")
    for place, (first, second) in enumerate(zip(before, now, strict=True)):
        if first != second:
            label = names[place] if names else f"feature {place}"
            raise ValueError(f"width {second} for {label}, for an earlier batch {first}; give the same each time")


def _widths(vectors: Sequence[Any], labels: Sequence[Any], rows: int | None) -> tuple[int, ...]:
    """Widths of vectors (B, d_i), all of them of the same rows."""
    widths = []
    for vector, label in zip(vectors, labels, strict=True):
        shape = tuple(vector.shape) if isinstance(vector, Tensor) else type(vector).__name__
        of = f" for {label}" if isinstance(label, str) else f" at place {label} of the list"
        if not isinstance(vector, Tensor) or len(shape) != 2 or shape[1] == 0:
            raise ValueError(f"{shape}{of}; give (B, width), width 1 or more")
        rows = len(vector) if rows is None else rows
        _require(vector, shape, rows, of)
        widths.append(vector.shape[1])
    if not widths:
        raise ValueError(f"no embedding at all; {_FORMS}")
    return tuple(widths)


def _require(vectors: Tensor, shape: Any, rows: int | None, of: str) -> None:
    if rows is not None and len(vectors) != rows:
        raise ValueError(f"{shape}{of}, {len(vectors)} rows for a batch of {rows}")
    if not vectors.is_floating_point():
        raise ValueError(f"{str(vectors.dtype).removeprefix('torch.')}{of}; embeddings are floating-point numbers")


def _entries(embedded: Any) -> Mapping[str, Tensor]:
    """Name -> (B, d_i) of a mapping or KeyedTensor."""
    entries: Mapping[str, Tensor] = embedded if isinstance(embedded, Mapping) else embedded.to_dict()
    return entries

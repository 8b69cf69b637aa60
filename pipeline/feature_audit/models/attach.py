"""Audit a module that was not written for audits: its field embeddings are caught, and replaced, by forward hooks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from feature_audit.batch import Batch
from feature_audit.errors import UsageError
from feature_audit.models.units import OutputUnits
from feature_audit.schema import ModelSchema


class UserModel(nn.Module):
    """A user's ``embed`` / ``predict`` module, checked and with its output in target units."""

    def __init__(self, module: nn.Module, schema: ModelSchema) -> None:
        super().__init__()
        self.module = module
        self.n_fields = len(schema.fields)
        self.units = OutputUnits(schema)

    def embed(self, batch: Batch) -> Tensor:
        """Field embeddings, (B, N, d).

        Raises:
            UsageError: the module's ``embed`` gives another shape.
        """
        embedded = self.module.embed(batch)  # type: ignore[operator]
        _check_shape(embedded, len(batch), self.n_fields, f"{type(self.module).__name__}.embed")
        return embedded

    def predict(self, embedded: Tensor) -> Tensor:
        """(B,) logits or values, or (B, C) logits."""
        return self.units(self.module.predict(embedded))  # type: ignore[operator]

    def forward(self, batch: Batch) -> Tensor:
        """``predict(embed(batch))``."""
        return self.predict(self.embed(batch))


class AttachedModel(nn.Module):
    """Any module whose ``forward(batch)`` gives the output, seen through ``embed`` and ``predict``.

    ``embed`` runs the module until the attached submodules have spoken and stops there; ``predict`` runs it on the
    batch of the last ``embed`` and puts the given embeddings in their place. So a ``predict`` belongs to the ``embed``
    before it, and its embeddings are of the same rows in the same order.

    Args:
        module: takes a ``Batch``.
        schema: the N fields.
        attach: dotted path(s) of submodules, comma-separated, whose outputs hold the embeddings of the fields. Each
            output is a tensor (B, n, d), a dict of name -> (B, d), or has ``keys``, ``to_dict`` and ``length_per_key``
            as TorchRec's KeyedTensor. Tensors are taken to stand in schema order one after the other; named outputs
            are put in order.
    """

    def __init__(self, module: nn.Module, schema: ModelSchema, attach: str) -> None:
        super().__init__()
        self.module = module
        self.names = schema.names
        self.units = OutputUnits(schema)
        self._caught: list[Any] = []
        self._given: list[Any] | None = None
        self._batch: Batch | None = None
        paths = [path.strip() for path in attach.split(",")]
        for place, path in enumerate(paths):
            _submodule(module, path).register_forward_hook(self._hook(place, len(paths)))

    def embed(self, batch: Batch) -> Tensor:
        """Field embeddings, (B, N, d).

        Raises:
            UsageError: the attached submodules do not give one vector for each field.
        """
        self._batch, self._caught, self._given = batch, [], None
        try:
            self.module(batch)
        except _AllCaught:
            pass
        else:
            raise UsageError("attach: the model ran without calling the attached submodule; name the one that embeds")
        finally:
            self._batch = batch
        embedded = self._join(self._caught)
        _check_shape(embedded, len(batch), len(self.names), "attach: the submodule")
        return embedded

    def predict(self, embedded: Tensor) -> Tensor:
        """(B,) logits or values, or (B, C) logits, of the rows of the last ``embed``."""
        if self._batch is None or len(self._batch) != len(embedded):
            raise RuntimeError("an attached model predicts the rows it embedded last; call embed(batch) first")
        self._given = self._split(embedded)
        try:
            return self.units(self.module(self._batch))
        finally:
            self._given = None

    def forward(self, batch: Batch) -> Tensor:
        """``predict(embed(batch))``."""
        return self.predict(self.embed(batch))

    def _hook(self, place: int, total: int) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            if self._given is not None:
                return self._given[place]
            self._caught.append((place, output))
            if len(self._caught) == total:
                raise _AllCaught
            return output

        return hook

    def _join(self, caught: list[tuple[int, Any]]) -> Tensor:
        outputs = [output for _, output in sorted(caught, key=lambda pair: pair[0])]
        self._caught = outputs
        if all(isinstance(output, Tensor) for output in outputs):
            return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)
        named: dict[str, Tensor] = {}
        for output in outputs:
            if isinstance(output, Tensor):
                raise UsageError(
                    "attach: one submodule gives a tensor and another names; attach submodules of one kind"
                )
            named.update(output if isinstance(output, dict) else output.to_dict())
        missing = [name for name in self.names if name not in named]
        if missing:
            raise UsageError(
                f"attach: the submodule gives no embedding for {missing[0]} ({len(missing)} features missing)"
            )
        return torch.stack([named[name] for name in self.names], dim=1)

    def _split(self, embedded: Tensor) -> list[Any]:
        if all(isinstance(output, Tensor) for output in self._caught):
            return list(embedded.split([output.shape[1] for output in self._caught], dim=1))
        vectors = dict(zip(self.names, embedded.unbind(dim=1), strict=True))
        return [_like(output, vectors) for output in self._caught]


class _AllCaught(Exception):
    """Ends a forward pass whose embeddings have been caught; never leaves this module."""


def _like(output: Any, vectors: dict[str, Tensor]) -> Any:
    """A dict or KeyedTensor as ``output``, with the fields' vectors replaced and everything else kept."""
    if isinstance(output, dict):
        return {name: vectors.get(name, value) for name, value in output.items()}
    values = [vectors.get(name, value) for name, value in output.to_dict().items()]
    return type(output)(
        keys=list(output.keys()), length_per_key=list(output.length_per_key()), values=torch.cat(values, dim=1)
    )


def _submodule(module: nn.Module, path: str) -> nn.Module:
    try:
        return module.get_submodule(path)
    except AttributeError:
        known = ", ".join(name for name, _ in module.named_modules() if name)
        raise UsageError(f"attach={path}: {type(module).__name__} has no such submodule; it has {known}") from None


def _check_shape(embedded: Any, rows: int, fields: int, source: str) -> None:
    shape = tuple(getattr(embedded, "shape", ())) or type(embedded).__name__
    if not isinstance(embedded, Tensor) or embedded.ndim != 3 or embedded.shape[:2] != (rows, fields):
        raise UsageError(
            f"{source} gives {shape}; the contract is ({rows}, {fields}, d): rows, features, embedding length"
        )

"""Audit a module that was not written for audits: its field embeddings are caught, and replaced, by forward hooks."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
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

    ``embed`` runs the module until the attached submodules have given all field embeddings and stops there; ``predict``
    runs it again and puts the given embeddings in their place. What else the module takes from a batch (a mask, a
    position) comes from the last embedded batch, cut or repeated to the number of rows; a module that takes more than
    its embeddings from a batch must therefore be predicted right after it embedded the same rows. ``check_model`` says
    so.

    Args:
        module: takes a ``Batch``.
        schema: the N fields.
        attach: dotted path(s) of submodules, comma-separated, whose outputs hold the embeddings of the fields. Each
            output is a tensor (B, n, d), a dict of name -> (B, d), or has ``keys``, ``to_dict`` and ``length_per_key``
            as TorchRec's KeyedTensor. Named outputs are put in schema order; tensors are taken to stand in schema
            order, one submodule after the other as listed. A submodule may be called several times, each time for
            other fields.
    """

    def __init__(self, module: nn.Module, schema: ModelSchema, attach: str) -> None:
        super().__init__()
        self.module = module
        self.names = schema.names
        self.units = OutputUnits(schema)
        self._caught: list[tuple[int, Any]] = []
        self._given: list[Any] | None = None
        self._batch: Batch | None = None
        for place, path in enumerate(part.strip() for part in attach.split(",")):
            _submodule(module, path).register_forward_hook(self._hook(place))

    def embed(self, batch: Batch) -> Tensor:
        """Field embeddings, (B, N, d).

        Raises:
            UsageError: the attached submodules do not give one vector for each field.
        """
        self._batch, self._caught, self._given = batch, [], None
        with suppress(_AllCaught):
            self.module(batch)
        outputs = self._in_listed_order([output for _, output in self._caught])
        embedded = _join(outputs, self.names)
        _check_shape(embedded, len(batch), len(self.names), "attach: the submodule")
        return embedded

    def predict(self, embedded: Tensor) -> Tensor:
        """(B,) logits or values, or (B, C) logits, from (B, N, d)."""
        if self._batch is None:
            raise RuntimeError("an attached model learns its output's structure from embed(batch); call it first")
        listed = _split(embedded, self._in_listed_order([output for _, output in self._caught]), self.names)
        self._given = [listed[place] for place in np.argsort(np.argsort(self._places(), kind="stable"), kind="stable")]
        try:
            return self.units(self.module(_rows(self._batch, len(embedded))))
        finally:
            self._given = None

    def forward(self, batch: Batch) -> Tensor:
        """``predict(embed(batch))``."""
        return self.predict(self.embed(batch))

    def _hook(self, place: int) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            if self._given is not None:
                return self._given.pop(0)
            self._caught.append((place, output))
            if _fields_in([output for _, output in self._caught], self.names) >= len(self.names):
                raise _AllCaught
            return output

        return hook

    def _places(self) -> list[int]:
        return [place for place, _ in self._caught]

    def _in_listed_order(self, outputs: list[Any]) -> list[Any]:
        """Outputs, caught in the order of the calls, in the order in which their submodules were listed."""
        return [outputs[call] for call in np.argsort(self._places(), kind="stable")]


class _AllCaught(Exception):
    """Ends a forward pass whose embeddings have been caught; never leaves this module."""


def _fields_in(outputs: list[Any], names: tuple[str, ...]) -> int:
    """How many of the fields the outputs hold."""
    if all(isinstance(output, Tensor) for output in outputs):
        return sum(output.shape[1] for output in outputs if output.ndim == 3)
    keyed = [output.keys() for output in outputs if not isinstance(output, Tensor)]
    return len(set(names).intersection(*[set().union(*keyed)]))


def _join(outputs: list[Any], names: tuple[str, ...]) -> Tensor:
    if outputs and all(isinstance(output, Tensor) for output in outputs):
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)
    named: dict[str, Tensor] = {}
    for output in outputs:
        if isinstance(output, Tensor):
            raise UsageError("attach: one submodule gives a tensor and another names; attach submodules of one kind")
        named.update(output if isinstance(output, dict) else output.to_dict())
    missing = [name for name in names if name not in named]
    if missing:
        raise UsageError(f"attach: the submodule gives no embedding for {missing[0]} ({len(missing)} features missing)")
    return torch.stack([named[name] for name in names], dim=1)


def _split(embedded: Tensor, outputs: list[Any], names: tuple[str, ...]) -> list[Any]:
    """Embeddings in the shape of the outputs they were joined from."""
    if all(isinstance(output, Tensor) for output in outputs):
        return list(embedded.split([output.shape[1] for output in outputs], dim=1))
    vectors = dict(zip(names, embedded.unbind(dim=1), strict=True))
    return [_like(output, vectors) for output in outputs]


def _rows(batch: Batch, rows: int) -> Batch:
    """The batch, cut or repeated to a number of rows."""
    if rows == len(batch):
        return batch
    index = torch.arange(rows, device=batch.numeric.device) % len(batch)
    return Batch(
        batch.numeric[index],
        batch.codes[index],
        tuple(bag[index] for bag in batch.bags),
        tuple(vector[index] for vector in batch.vectors),
        batch.target[index] if len(batch.target) else batch.target,
    )


def _like(output: Any, vectors: dict[str, Tensor]) -> Any:
    """A dict or KeyedTensor as ``output``, with the fields' vectors replaced and everything else kept."""
    rows = len(next(iter(vectors.values())))
    entries = output if isinstance(output, dict) else output.to_dict()
    merged = {name: vectors[name] if name in vectors else _cycle(value, rows) for name, value in entries.items()}
    if isinstance(output, dict):
        return merged
    lengths = list(output.length_per_key())
    return type(output)(keys=list(merged), length_per_key=lengths, values=torch.cat(list(merged.values()), dim=1))


def _cycle(value: Tensor, rows: int) -> Tensor:
    return value if len(value) == rows else value[torch.arange(rows, device=value.device) % len(value)]


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

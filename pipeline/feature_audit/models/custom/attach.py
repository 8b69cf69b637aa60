"""Audit a module that was not written for audits: its field embeddings are caught, and replaced, by forward hooks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import cycle
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from feature_audit.batch import Batch
from feature_audit.errors import UsageError
from feature_audit.models.output_scaling import OutputScaling
from feature_audit.schema import ModelSchema


class UserModel(nn.Module):
    """A user's ``embed`` / ``predict`` module, checked and with its output in target units."""

    def __init__(self, module: nn.Module, schema: ModelSchema) -> None:
        super().__init__()
        self.module = module
        self.n_fields = len(schema.fields)
        self.scaling = OutputScaling(schema)

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
        return self.scaling(self.module.predict(embedded))  # type: ignore[operator]

    def forward(self, batch: Batch) -> Tensor:
        """``predict(embed(batch))``."""
        return self.predict(self.embed(batch))


class AttachedModel(nn.Module):
    """Any module whose ``forward(batch)`` gives the output, seen through ``embed`` and ``predict``.

    ``embed`` runs the module until the attached submodules have given all field embeddings and stops there; ``predict``
    runs it again on the same rows and puts the given embeddings in their place. Hooks exist only during these two
    calls, on the module that this object owns at that moment, so a copy of it (by deepcopy, by pickle) is complete.
    Between the calls it remembers the embedded batch and nothing of a graph. Where ``predict`` gets another number of
    rows, the remembered batch is cut or repeated to it, so the output may depend on a batch through its embeddings
    only; ``check_model`` says whether it does.

    Args:
        module: takes a ``Batch``.
        schema: the N fields.
        attach: dotted path(s) of submodules, comma-separated, whose outputs hold the embeddings of the fields. Each
            output is a tensor (B, n, d) or (B, d), a mapping of name -> (B, d), or has ``keys``, ``to_dict`` and
            ``length_per_key`` as TorchRec's KeyedTensor. Named outputs are put in schema order; tensors are taken to
            stand in schema order, one submodule after the other as listed. A submodule may be called several times:
            for other fields each time, or once more for the same ones after all fields have been embedded. Lengths d
            may differ between fields; ``embed`` pads the shorter ones with zeros.

    Raises:
        UsageError: the module has no such submodule.
    """

    def __init__(self, module: nn.Module, schema: ModelSchema, attach: str) -> None:
        super().__init__()
        self.module = module
        self.names = schema.names
        self.scaling = OutputScaling(schema)
        self.attach = attach
        self._attached()  # a wrong path is refused now
        self._batch: Batch | None = None
        self._columns: list[list[slice]] = []  # of each attached submodule that gives tensors: the fields of each call

    def embed(self, batch: Batch) -> Tensor:
        """Field embeddings, (B, N, d).

        Raises:
            UsageError: the attached submodules do not give one vector for each field.
        """
        caught: list[list[Any]] = [[] for _ in self._attached()]

        def catch(place: int, output: Any) -> None:
            caught[place].append(output)
            if all(caught) and _count_fields(caught, self.names) >= len(self.names):
                raise _AllCaught

        with self._watched(catch), suppress(_AllCaught):
            self.module(batch)
        outputs = [output for calls in caught for output in calls]
        if not outputs:
            raise UsageError(
                f"attach={self.attach}: {type(self.module).__name__}.forward never calls it (a hook sees calls of a "
                "module, not its .weight or other methods); name the submodule whose call gives the embeddings"
            )
        embedded = _join(outputs, self.names, self.attach)
        _check_shape(embedded, len(batch), len(self.names), f"attach={self.attach}")
        self._batch, self._columns = batch, _columns(caught)
        return embedded

    def predict(self, embedded: Tensor) -> Tensor:
        """(B,) logits or values, or (B, C) logits, from (B, N, d)."""
        if self._batch is None:
            raise RuntimeError("an attached model learns its output's structure from embed(batch); call it first")
        columns = [cycle(calls) for calls in self._columns]

        def replace(place: int, output: Any) -> Any:
            if isinstance(output, Tensor):
                return _shaped(embedded[:, next(columns[place])], output, self.attach)
            return _renamed(output, dict(zip(self.names, embedded.unbind(dim=1), strict=True)))

        batch, rows = self._batch, len(embedded)
        if rows != len(batch):
            batch = batch.rows(torch.arange(rows, device=batch.numeric.device) % len(batch))
        with self._watched(replace):
            return self.forward(batch.to(embedded.device))

    def forward(self, batch: Batch) -> Tensor:
        """The module's own output, in target units."""
        output = self.module(batch)
        if not isinstance(output, Tensor):
            raise UsageError(
                f"{type(self.module).__name__}.forward gives {type(output).__name__}; the contract is a tensor of "
                "logits or values, (B,), or logits (B, C)"
            )
        return self.scaling(output)

    def _attached(self) -> list[nn.Module]:
        """The attached submodules in listed order; one that two paths lead to (shared weights) stands once."""
        found = [_submodule(self.module, path.strip()) for path in self.attach.split(",")]
        return list(dict.fromkeys(found))

    @contextmanager
    def _watched(self, react: Callable[[int, Any], Any]) -> Iterator[None]:
        """Inside, ``react(place, output)`` sees each output of an attached submodule; what it returns replaces it."""

        def hook(place: int) -> Callable[[nn.Module, Any, Any], Any]:
            return lambda _module, _inputs, output: react(place, output)

        handles = [module.register_forward_hook(hook(place)) for place, module in enumerate(self._attached())]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


class _AllCaught(BaseException):
    """Ends a forward pass whose embeddings have been caught; never leaves this module.

    Not an ``Exception``: a user's ``except Exception`` must not catch it.
    """


def _count_fields(caught: list[list[Any]], names: tuple[str, ...]) -> int:
    """How many of the fields the outputs hold."""
    outputs = [output for calls in caught for output in calls]
    if all(isinstance(output, Tensor) for output in outputs):
        return sum(_n_vectors(output) for output in outputs)
    keyed = [output.keys() for output in outputs if hasattr(output, "keys")]
    return len(set(names).intersection(*[set().union(*keyed)]))


def _n_vectors(output: Tensor) -> int:
    return output.shape[1] if output.ndim == 3 else 1


def _columns(caught: list[list[Any]]) -> list[list[slice]]:
    """Fields that each call of each submodule gives, in schema order; empty where the outputs are named."""
    columns: list[list[slice]] = []
    start = 0
    for calls in caught:
        columns.append([])
        for output in calls:
            if isinstance(output, Tensor):
                columns[-1].append(slice(start, start + _n_vectors(output)))
                start += _n_vectors(output)
    return columns


def _join(outputs: list[Any], names: tuple[str, ...], attach: str) -> Tensor:
    """Embeddings (B, N, d) from tensors in schema order, or from named vectors."""
    kinds = {isinstance(output, Tensor) for output in outputs}
    if len(kinds) > 1:
        raise UsageError(
            f"attach={attach}: one submodule gives a tensor and another names; attach submodules of one kind"
        )
    if kinds == {True}:
        blocks = [output.unsqueeze(1) if output.ndim == 2 else output for output in outputs]
        return _beside(blocks, attach)
    named: dict[str, Tensor] = {}
    for output in outputs:
        if not hasattr(output, "keys"):
            raise UsageError(
                f"attach={attach}: gives {type(output).__name__}; it must give a tensor (B, n, d) or (B, d), a dict of "
                "name -> (B, d), or a KeyedTensor"
            )
        named.update(_entries(output))
    missing = [name for name in names if name not in named]
    if missing:
        raise UsageError(
            f"attach={attach}: gives no embedding for {missing[0]} ({len(missing)} of {len(names)} features missing)"
        )
    return _beside([_flat(named[name]).unsqueeze(1) for name in names], attach)


def _beside(blocks: list[Tensor], attach: str) -> Tensor:
    """Blocks (B, n, d) side by side; shorter vectors are padded with zeros."""
    shapes = sorted({tuple(block.shape) for block in blocks if block.ndim != 3 or len(block) != len(blocks[0])})
    if shapes:
        raise UsageError(
            f"attach={attach}: gives {shapes[0]} for a batch of {len(blocks[0])} rows; it must give (B, n, d) or (B, d)"
        )
    width = max(block.shape[2] for block in blocks)
    padded = [block if block.shape[2] == width else F.pad(block, (0, width - block.shape[2])) for block in blocks]
    return padded[0] if len(padded) == 1 else torch.cat(padded, dim=1)


def _shaped(given: Tensor, output: Tensor, attach: str) -> Tensor:
    """Embeddings (B, n, d) as the output that they replace."""
    if given.shape[1] != _n_vectors(output):
        raise UsageError(
            f"attach={attach}: a further call gives {_n_vectors(output)} vectors where {given.shape[1]} were embedded; "
            "attach a submodule that is called for each feature once"
        )
    return given[..., : output.shape[-1]].reshape(output.shape)


def _renamed(output: Any, vectors: dict[str, Tensor]) -> Any:
    """A mapping or KeyedTensor as ``output``, with the fields' vectors replaced and everything else kept."""
    entries = _entries(output)
    changed = {
        name: vectors[name][:, : _flat(value).shape[1]].reshape(value.shape)
        for name, value in entries.items()
        if name in vectors
    }
    if isinstance(output, Mapping):
        twin: Any = copy.copy(output)
        twin.update(changed)
        return twin
    values = torch.cat(list((entries | changed).values()), dim=1)
    return type(output)(keys=list(entries), length_per_key=list(output.length_per_key()), values=values)


def _entries(output: Any) -> dict[str, Tensor]:
    return dict(output) if isinstance(output, Mapping) else output.to_dict()


def _flat(vector: Tensor) -> Tensor:
    return vector.reshape(len(vector), -1)


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

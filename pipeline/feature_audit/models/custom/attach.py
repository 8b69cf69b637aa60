"""Audit a module that was not written for audits: forward hooks record and replace its field embeddings."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import cycle
from typing import Any

import torch
from concrete_selectors.embeddings import FieldLayout, require_same
from concrete_selectors.segments import Segments
from torch import Tensor, nn

from feature_audit.batch import Batch
from feature_audit.errors import UsageError
from feature_audit.models.custom.user_model import contract_form, require_all
from feature_audit.models.output_scaling import OutputScaling
from feature_audit.schema import ModelSchema

#: Number of submodules that a message names.
_SHOWN = 12


class AttachedModel(nn.Module):
    """Any module whose ``forward(batch)`` returns the output, used through ``embed`` and ``predict``.

    ``embed`` runs the module until the attached submodules have returned all field embeddings, and stops there.
    ``predict`` runs it again on the same rows and puts the given embeddings in their place. Hooks exist only during
    these two calls, on the module that this object owns at that time, so a copy of it (deepcopy, pickle) is complete.
    Between the calls the object keeps the embedded batch and nothing of a graph. If ``predict`` receives another number
    of rows, the stored batch is truncated or repeated to it, so the output must depend on a batch through its
    embeddings only; ``check_model`` tests this.

    Args:
        module: its ``forward`` accepts a ``Batch``.
        schema: the N fields.
        attach: dotted path(s) of submodules, comma-separated, whose outputs contain the embeddings of the fields. Each
            output is a tensor (B, n, d) or (B, d), a list of tensors (B, d), a mapping of name -> (B, d), or has
            ``keys``, ``to_dict`` and ``length_per_key`` as TorchRec's KeyedTensor does. Named outputs are put in schema
            order; tensors must be in schema order, one submodule after the other as listed. A submodule may be called
            several times: for other fields each time, or again for the same fields after all fields have been
            embedded. Widths d may differ between fields.

    Attributes:
        widths: numbers of each field's embedding; None before the first embedded batch.

    Raises:
        UsageError: the module has no submodule of this path.
    """

    def __init__(self, module: nn.Module, schema: ModelSchema, attach: str) -> None:
        super().__init__()
        self.module = module
        self.names = schema.names
        self.scaling = OutputScaling(schema)
        self.attach = attach
        self._attached()  # raises now for a wrong path
        self.widths: tuple[int, ...] | None = None
        self._batch: Batch | None = None
        self._fields: list[list[range]] = []  # of each attached submodule that gives tensors: the fields of each call

    def embed(self, batch: Batch) -> Tensor:
        """Field embeddings, (B, N, d), or (B, sum of widths) if the widths differ.

        Raises:
            UsageError: the attached submodules do not return one vector for each field.
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
                f"attach={self.attach}: {type(self.module).__name__}.forward never calls it (a hook only sees calls "
                "of a module, not of its .weight or other methods); name the submodule whose call returns the "
                "embeddings"
            )
        try:
            flat, widths = _join(outputs, self.names, len(batch))
            require_all(widths, self.names)
            require_same(self.widths or widths, widths, self.names)
        except ValueError as error:
            raise UsageError(f"attach={self.attach}: gives {error}") from None
        self._batch, self._fields, self.widths = batch, _fields_of_calls(caught), widths
        return contract_form(flat, widths)

    def predict(self, embedded: Tensor) -> Tensor:
        """(B,) logits or values, or (B, C) logits, from embeddings as ``embed`` returns them."""
        if self._batch is None or self.widths is None:
            raise RuntimeError("an attached model learns the structure of its output from embed(batch); call it first")
        calls_left = [cycle(calls) for calls in self._fields]
        flat, widths, segments = embedded.flatten(1), self.widths, Segments(self.widths)

        def replace(place: int, output: Any) -> Any:
            if _has_names(output):
                return _renamed(output, dict(zip(self.names, flat.split(widths, dim=1), strict=True)))
            fields = next(calls_left[place])
            columns = slice(segments.span(fields[0]).start, segments.span(fields[-1]).stop)
            return _shaped(flat[:, columns], [widths[field] for field in fields], output, self.attach)

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
                f"{type(self.module).__name__}.forward returns {type(output).__name__}; it must return a tensor of "
                "logits or values, (B,), or logits (B, C)"
            )
        return self.scaling(output)

    def _attached(self) -> list[nn.Module]:
        """The attached submodules in listed order; a submodule of two paths (shared weights) is listed once."""
        found = [_submodule(self.module, path.strip()) for path in self.attach.split(",")]
        return list(dict.fromkeys(found))

    @contextmanager
    def _watched(self, react: Callable[[int, Any], Any]) -> Iterator[None]:
        """Within the context, ``react(place, output)`` gets an attached submodule's output; its result replaces it."""

        def hook(place: int) -> Callable[[nn.Module, Any, Any], Any]:
            return lambda _module, _inputs, output: react(place, output)

        handles = [module.register_forward_hook(hook(place)) for place, module in enumerate(self._attached())]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


class _AllCaught(BaseException):
    """Ends a forward pass after all embeddings have been recorded; never leaves this module.

    Not an ``Exception``: a user's ``except Exception`` must not catch it.
    """


def _has_names(output: Any) -> bool:
    return hasattr(output, "keys")


def _count_fields(caught: list[list[Any]], names: tuple[str, ...]) -> int:
    """Number of fields that the outputs contain."""
    outputs = [output for calls in caught for output in calls]
    named = [output.keys() for output in outputs if _has_names(output)]
    if named:
        return len(set(names).intersection(*[set().union(*named)]))
    return sum(_n_vectors(output) for output in outputs)


def _n_vectors(output: Any) -> int:
    """Vectors of a tensor (B, n, d) or (B, d), or of a list of (B, d)."""
    if isinstance(output, Tensor):
        return output.shape[1] if output.ndim == 3 else 1
    return len(output) if isinstance(output, list | tuple) else 1


def _fields_of_calls(caught: list[list[Any]]) -> list[list[range]]:
    """Fields that each call of each submodule returns, in schema order; empty if the outputs are named."""
    fields: list[list[range]] = []
    start = 0
    for calls in caught:
        fields.append([])
        for output in calls:
            if not _has_names(output):
                fields[-1].append(range(start, start + _n_vectors(output)))
                start += _n_vectors(output)
    return fields


def _join(outputs: list[Any], names: tuple[str, ...], rows: int) -> tuple[Tensor, tuple[int, ...]]:
    """Flat embeddings (B, D) from tensors in schema order, or from named vectors, and the width of each.

    Raises:
        ValueError: not one vector for each of the rows; the message is one line.
    """
    kinds = {_has_names(output) for output in outputs}
    if len(kinds) > 1:
        raise ValueError("one submodule returns a tensor and another one names; attach submodules of one kind")
    if kinds == {True}:
        named: dict[str, Tensor] = {}
        for output in outputs:
            named.update(_entries(output))
        vectors = {name: _flat(named[name]) for name in names if name in named}
        layout = FieldLayout.of(vectors, names=names, rows=rows)
        return layout.flatten(vectors), layout.widths
    parts = [output.unsqueeze(1) if getattr(output, "ndim", 0) == 2 else output for output in outputs]
    layouts = [FieldLayout.of(part, rows=rows) for part in parts]
    flat = [layout.flatten(part) for layout, part in zip(layouts, parts, strict=True)]
    return flat[0] if len(flat) == 1 else torch.cat(flat, dim=1), tuple(w for layout in layouts for w in layout.widths)


def _shaped(given: Tensor, widths: list[int], output: Any, attach: str) -> Any:
    """Vectors of these widths, side by side in (B, D), in the form of the output that they replace."""
    parts = [output] if isinstance(output, Tensor) else list(output)
    if len(widths) != _n_vectors(output) or given.shape[1] != sum(part[0].numel() for part in parts):
        raise UsageError(
            f"attach={attach}: a second call returns {_n_vectors(output)} vectors, but {len(widths)} were embedded; "
            "attach a submodule that is called once per feature"
        )
    return given.reshape(output.shape) if isinstance(output, Tensor) else type(output)(given.split(widths, dim=1))


def _renamed(output: Any, vectors: dict[str, Tensor]) -> Any:
    """A mapping or KeyedTensor like ``output``, with the fields' vectors replaced and everything else kept."""
    entries = _entries(output)
    changed = {name: vectors[name].reshape(value.shape) for name, value in entries.items() if name in vectors}
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
        known = submodules(module)
        raise UsageError(f"attach={path}: {type(module).__name__} has no such submodule; it has {known}") from None


def submodules(module: nn.Module) -> str:
    """The submodules that could embed the features, for a message; not the layers of a list, dict or sequence."""
    held = (nn.ModuleDict, nn.ModuleList, nn.Sequential)
    layers = {id(one) for parent in module.modules() if isinstance(parent, held) for one in parent.children()}
    names = [name for name, one in module.named_modules() if name and not (id(one) in layers and not [*one.children()])]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}" or "no submodules"

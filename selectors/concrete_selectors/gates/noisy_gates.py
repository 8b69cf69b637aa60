"""Gates of many masks at once, and their gradient, in blocks of slots that fit a processor's cache.

In wide tables most of a selection's time goes into S x K x N numbers per step. Slots that take no part in a mask are
not drawn, every block is worked through in place, and of a block the masks alone are kept for the backward pass, or
drawn again where they are too many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

#: Largest probability a gate takes from one slot; keeps ``log(1 - p)`` finite.
_NEARLY_ONE = 1.0 - 1e-6
#: Numbers of a block: its few temporary copies stay in the cache, and a narrow table is one block.
_BLOCK_NUMBERS = 2**20
#: Numbers of all masks of a step that are kept for the backward pass; blocks beyond are drawn twice.
_KEPT_NUMBERS = 2**25

#: Rows of a block that belong to one mask: the mask, and its first and last slot (exclusive).
_Part = tuple[int, int, int]


def noisy_gates(
    logits: Tensor, temperature: float, counts: Sequence[int], generator: torch.Generator | None = None
) -> Tensor:
    """Gates of independent masks: unit n is open as soon as a slot has chosen it, ``1 - prod_k (1 - M_kn)``.

    Args:
        logits: (K, N).
        temperature: of the masks, ``softmax((L + g) / temperature)`` with standard Gumbel noise g.
        counts: of each of S masks, how many slots take part, the first ones; 1 to K.
        generator: source of the noise, on the device of the logits; None = a new one, seeded by torch's default.

    Returns:
        (S, N) in [0, 1), float32 or as precise as the logits.
    """
    if generator is None:
        seed = int(torch.randint(2**62, ()))
        generator = torch.Generator(device=logits.device).manual_seed(seed)
    gates: Tensor = _NoisyGates.apply(logits, temperature, counts, generator)
    return gates


def minus_gumbel(rows: int, units: int, like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard Gumbel noise times -1, (rows, units), on the device of ``like``, float32 or as precise as it."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    noise = torch.rand(rows, units, device=like.device, dtype=dtype, generator=generator)
    return noise.clamp_(min=torch.finfo(noise.dtype).tiny).log_().neg_().log_()  # log(-log u), without a copy


class _NoisyGates(torch.autograd.Function):
    """See ``noisy_gates``; the gradient is that of autograd, from one kept number per mask, slot and unit."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, temperature: float, counts: Sequence[int], generator: torch.Generator
    ) -> Tensor:
        values = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
        log_closed = values.new_zeros(len(counts), values.shape[1])
        kept: list[tuple[list[_Part], Tensor]] = []  # the masks, or the state of the generator that drew them
        units = values.shape[1]
        room = values.new_empty(min(sum(counts), _KEPT_NUMBERS // units), units)  # at once: blocks leave gaps between
        for parts in _blocks(counts, max(1, _BLOCK_NUMBERS // units)):
            state, rows = generator.get_state(), sum(last - first for _, first, last in parts)
            fits = rows <= len(room)
            masks = _draw(values, temperature, parts, generator, out=room[:rows] if fits else None)
            logs = masks.clamp(max=_NEARLY_ONE).neg_().log1p_()
            for (mask, _, _), own in _rows_of(parts, logs):
                log_closed[mask] += own.sum(dim=0)
            kept.append((parts, masks if fits else state))
            room = room[rows:] if fits else room[:0]
        ctx.save_for_backward(values, log_closed)
        ctx.temperature, ctx.kept, ctx.dtype = temperature, kept, logits.dtype
        return torch.special.expm1(log_closed).neg_()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor, None, None, None]:
        values, log_closed = ctx.saved_tensors
        weight = slopes * log_closed.exp()
        total = torch.zeros_like(values)
        fresh = torch.Generator(device=values.device)
        for parts, found in ctx.kept:
            masks = found
            if found.dtype == torch.uint8:
                masks = _draw(values, ctx.temperature, parts, fresh.set_state(found))
            # d gate / d M_kn is what all other slots leave closed; where M_kn was cut off there is no slope.
            step = torch.rsub(masks, 1.0)
            torch.nn.functional.threshold(step, 1.0 - _NEARLY_ONE, torch.inf, inplace=True)
            for (mask, _, _), own in _rows_of(parts, step):
                torch.div(weight[mask], own, out=own)
            step.mul_(masks)
            step.addcmul_(masks, step.sum(dim=-1, keepdim=True), value=-1)
            for (_, first, last), own in _rows_of(parts, step):
                total[first:last] += own
        return total.div_(ctx.temperature).to(ctx.dtype), None, None, None


def _draw(
    values: Tensor, temperature: float, parts: list[_Part], generator: torch.Generator, out: Tensor | None = None
) -> Tensor:
    """Masks of a block, (rows, N)."""
    rows = sum(last - first for _, first, last in parts)
    noisy = minus_gumbel(rows, values.shape[1], values, generator)
    for (_, first, last), own in _rows_of(parts, noisy):
        torch.sub(values[first:last], own, alpha=1.0 / temperature, out=own)
    return torch.softmax(noisy, dim=-1, out=out)


def _rows_of(parts: list[_Part], block: Tensor) -> Iterator[tuple[_Part, Tensor]]:
    """Every part of a block with its rows."""
    return zip(parts, block.split([last - first for _, first, last in parts]), strict=True)


def _blocks(counts: Sequence[int], rows: int) -> Iterator[list[_Part]]:
    """All slots of all masks in order, in blocks of so many rows."""
    parts: list[_Part] = []
    room = rows
    for mask, count in enumerate(counts):
        first = 0
        while first < count:
            last = min(count, first + room)
            parts.append((mask, first, last))
            room -= last - first
            first = last
            if not room:
                yield parts
                parts, room = [], rows
    if parts:
        yield parts

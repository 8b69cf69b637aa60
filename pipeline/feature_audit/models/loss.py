"""Per-row losses, and scores in interpretable units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from feature_audit.schema import Output, Task


def row_loss(task: Task, outputs: Sequence[Output] = ()) -> Callable[[Tensor, Tensor], Tensor]:
    """The training loss of a task before averaging.

    Args:
        task: task of the single target.
        outputs: the targets if there are several, which then replace ``task``; see ``ModelSchema``.

    Returns:
        ``loss(output, target) -> (B,)``: log loss in nats of logits (B,) and float labels (B,) (binary) or of logits
        (B, C) and int64 classes (B,) (multiclass); squared error in squared target units (regression). For several
        targets, see ``SeveralLosses``.
    """
    if outputs:
        return SeveralLosses(tuple(outputs))
    return {"binary": _binary, "regression": _squared, "multiclass": _multiclass}[task]


@dataclass(frozen=True)
class SeveralLosses:
    """Mean over targets of each target's loss in its own unit; a missing label (NaN) contributes 0."""

    outputs: tuple[Output, ...]

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """(B,) from logits or values (B, targets) and labels or teacher predictions of the same shape."""
        known = ~target.isnan()
        parts = [
            row_loss(one.task)(output[:, place], target[:, place].nan_to_num()).where(known[:, place], 0.0) / one.unit
            for place, one in enumerate(self.outputs)
        ]
        return torch.stack(parts).mean(dim=0)


def to_scores(output: Tensor, task: Task, outputs: Sequence[Output] = ()) -> Tensor:
    """Model output to scores: probability (B,), value (B,), probabilities (B, C); several targets: (B, targets)."""
    if outputs:
        return torch.stack([to_scores(output[:, place], one.task) for place, one in enumerate(outputs)], dim=1)
    if task == "binary":
        return torch.sigmoid(output)
    return torch.softmax(output, dim=1) if task == "multiclass" else output


def _binary(output: Tensor, target: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(output, target, reduction="none")


def _squared(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).square()


def _multiclass(output: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(output, target, reduction="none")

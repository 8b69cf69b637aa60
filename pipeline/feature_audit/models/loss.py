"""Losses row by row, and scores in the units people read."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from feature_audit.schema import Task


def row_loss(task: Task) -> Callable[[Tensor, Tensor], Tensor]:
    """The training loss of a task before averaging.

    Returns:
        ``loss(output, target) -> (B,)``: log loss in nats of logits (B,) and float labels (B,) (binary) or of logits
        (B, C) and int64 classes (B,) (multiclass); squared error in squared target units (regression).
    """
    return {"binary": _binary, "regression": _squared, "multiclass": _multiclass}[task]


def to_scores(output: Tensor, task: Task) -> Tensor:
    """Model output to scores: probability (B,), value (B,), or probabilities (B, C)."""
    if task == "binary":
        return torch.sigmoid(output)
    return torch.softmax(output, dim=1) if task == "multiclass" else output


def _binary(output: Tensor, target: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(output, target, reduction="none")


def _squared(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).square()


def _multiclass(output: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(output, target, reduction="none")

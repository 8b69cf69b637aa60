"""The last step of a model: from raw outputs to logits or target units."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from feature_audit.schema import ModelSchema, Task


class OutputScaling(nn.Module):
    """``shift + scale * raw``, both fixed from the training labels so that learning starts at the best constant.

    Attributes:
        shift: float (n_outputs,); log odds of the base rates, or the target's mean.
        scale: float (n_outputs,); 1, or the target's standard deviation.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, schema: ModelSchema) -> None:
        super().__init__()
        self.task: Task = schema.task
        self.n_outputs = schema.n_classes if schema.task == "multiclass" else 1
        self.register_buffer("shift", torch.zeros(self.n_outputs))
        self.register_buffer("scale", torch.ones(self.n_outputs))

    @torch.no_grad()
    def fit(self, target: Tensor, weight: Tensor | None = None) -> None:
        """Set shift and scale from training labels, (rows,), and the rows' weights, 1 on average; None = 1 each."""
        target = target.to(self.shift.device)
        weight = weight if weight is None else weight.to(self.shift.device)
        if self.task == "regression":
            self.shift.fill_(mean_of(target, weight))
            self.scale.fill_(variance_of(target, weight).sqrt().clamp(min=1e-12))
        elif self.task == "binary":
            positives = target.double() if weight is None else target * weight
            self.shift.fill_(torch.logit((positives.sum() + 1) / (len(target) + 2)))
        else:
            counts = torch.bincount(target.long(), weight, minlength=self.n_outputs).double() + 1
            self.shift.copy_(torch.log(counts / counts.sum()))

    def forward(self, raw: Tensor) -> Tensor:
        """(B, n_outputs) or (B,) to (B,), or (B, C) for multiclass."""
        if self.n_outputs > 1:
            return self.shift + self.scale * raw
        return self.shift + self.scale * (raw[:, 0] if raw.ndim > 1 else raw)


def mean_of(target: Tensor, weight: Tensor | None) -> Tensor:
    """Float64 () mean of labels (rows,), weighted where there are weights."""
    return target.double().mean() if weight is None else (target * weight).sum() / weight.sum()


def variance_of(target: Tensor, weight: Tensor | None) -> Tensor:
    """Float64 () variance of labels (rows,) around their mean, divided by all the weight."""
    if weight is None:
        return target.double().var(correction=0)
    return mean_of((target - mean_of(target, weight)).square(), weight)

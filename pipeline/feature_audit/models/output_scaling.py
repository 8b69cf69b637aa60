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
    def fit(self, target: Tensor) -> None:
        """Set shift and scale from training labels, (rows,)."""
        target = target.to(self.shift.device)
        if self.task == "regression":
            self.shift.fill_(target.double().mean())
            self.scale.fill_(target.double().std(correction=0).clamp(min=1e-12))
        elif self.task == "binary":
            self.shift.fill_(torch.logit((target.double().sum() + 1) / (len(target) + 2)))
        else:
            counts = torch.bincount(target.long(), minlength=self.n_outputs).double() + 1
            self.shift.copy_(torch.log(counts / counts.sum()))

    def forward(self, raw: Tensor) -> Tensor:
        """(B, n_outputs) or (B,) to (B,), or (B, C) for multiclass."""
        if self.n_outputs > 1:
            return self.shift + self.scale * raw
        return self.shift + self.scale * (raw[:, 0] if raw.ndim > 1 else raw)

"""The last step of a model: from raw outputs to logits or target units."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from feature_audit.errors import UsageError
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
        self.outputs = schema.outputs
        self.n_outputs = len(schema.outputs) or (schema.n_classes if schema.task == "multiclass" else 1)
        self.register_buffer("shift", torch.zeros(self.n_outputs))
        self.register_buffer("scale", torch.ones(self.n_outputs))

    @torch.no_grad()
    def fit(self, target: Tensor, weight: Tensor | None = None) -> None:
        """Set shift and scale from training labels, (rows,), and row weights with mean 1; None = equal weights.

        With several targets the labels are (rows, targets), NaN where a row has none.
        """
        target = target.to(self.shift.device)
        weight = weight if weight is None else weight.to(self.shift.device)
        for place, one in enumerate(self.outputs):
            known = ~target[:, place].isnan()
            mine = None if weight is None else weight[known] / weight[known].mean()
            own = slice(place, place + 1)
            self._fit(self.shift[own], self.scale[own], one.task, target[known, place], mine)
        if not self.outputs:
            self._fit(self.shift, self.scale, self.task, target, weight)

    @staticmethod
    def _fit(shift: Tensor, scale: Tensor, task: Task, target: Tensor, weight: Tensor | None) -> None:
        if task == "regression":
            shift.fill_(mean_of(target, weight))
            scale.fill_(variance_of(target, weight).sqrt().clamp(min=1e-12))
        elif task == "binary":
            positives = target.sum(dtype=torch.float64) if weight is None else (target * weight).sum()
            shift.fill_(torch.logit((positives + 1) / (len(target) + 2)))
        else:
            counts = torch.bincount(target.long(), weight, minlength=len(shift)).double() + 1
            shift.copy_(torch.log(counts / counts.sum()))

    def forward(self, raw: Tensor) -> Tensor:
        """(B, n_outputs), or (B,) of one output, to (B,), (B, C) for multiclass, (B, targets) for several targets.

        Raises:
            UsageError: the model gives something else than a tensor.
        """
        if not isinstance(raw, Tensor):
            raise UsageError(
                f"predict returns {type(raw).__name__}, expected one tensor of logits or values: of several outputs, "
                "return the one of the target, or set `targets` and return (rows, targets)"
            )
        several = bool(self.outputs) or self.n_outputs > 1
        if raw.shape[1:] not in ({self.shift.shape} if several else {(), (1,)}):
            return raw  # unscaled, so that the model's check refuses its shape
        return self.shift + self.scale * (raw if several else raw.flatten())


def mean_of(target: Tensor, weight: Tensor | None) -> Tensor:
    """Float64 () mean of labels (rows,), weighted if there are weights."""
    return target.double().mean() if weight is None else (target * weight).sum() / weight.sum()


def variance_of(target: Tensor, weight: Tensor | None) -> Tensor:
    """Float64 () variance of labels (rows,) around their mean, divided by the total weight."""
    if weight is None:
        return target.double().var(correction=0)
    return mean_of((target - mean_of(target, weight)).square(), weight)

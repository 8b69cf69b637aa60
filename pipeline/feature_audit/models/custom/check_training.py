"""Checks that an audit can train a user's module: its outputs are logits, and its weights get gradients."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from feature_audit.batch import Batch
from feature_audit.models.custom.finding import ModelFinding
from feature_audit.schema import ModelSchema

#: Standard deviations of the noise that is added to all weights; each is drawn three times.
_NOISE = (1.0, 10.0, 100.0)


def outputs_are_logits(module: nn.Module, schema: ModelSchema, batch: Batch) -> ModelFinding:
    """Reject a module that outputs probabilities although the loss expects logits.

    Untrained logits can all be within [0, 1] by chance, so the weights are replaced at random several times. Logits
    then leave the interval; an output still within it after every draw is bounded by the module itself (a sigmoid, a
    softmax, a clamp), and the loss would read it as probabilities between 0.5 and 0.73 for any weights.

    Args:
        module: of the contract, untrained, whose deep copies are complete.
        schema: names the task, binary or multiclass.
        batch: rows of the check.
    """
    check, twin = "logits", copy.deepcopy(module).eval()
    draw = torch.Generator().manual_seed(0)
    for noise in (0.0, *_NOISE * 3):
        try:
            with torch.no_grad(), _disturbed(list(twin.parameters()), noise, draw):
                output = twin(batch)
        except Exception as error:  # a user's code may fail for such weights
            return ModelFinding(check, True, f"not checked: with other weights, {type(error).__name__}")
        if not torch.isfinite(output).all() or output.min() < 0 or output.max() > 1:
            return ModelFinding(check, True, "the output can be outside [0, 1], like logits")
    last = "softmax" if schema.task == "multiclass" else "sigmoid"
    return ModelFinding(
        check,
        False,
        f"the output stays within [0, 1] for any weights, like probabilities; return logits: remove the last {last}, "
        "which the loss already contains",
    )


def weights_are_trained(module: nn.Module, batch: Batch) -> ModelFinding:
    """Reject a module with a trainable weight that affects its output but gets no gradient from it.

    A frozen weight (``requires_grad=False``) is the user's choice, and a weight that affects no output needs no
    gradient. Any other weight without a gradient is cut off by mistake: ``detach``, ``no_grad``, ``.data``, NumPy.

    Args:
        module: of the contract, whose deep copies are complete.
        batch: rows of the check.
    """
    check, twin = "training", copy.deepcopy(module).train()
    trainable = {name: weight for name, weight in twin.named_parameters() if weight.requires_grad}
    twin.zero_grad(set_to_none=True)
    with torch.enable_grad():
        output = twin(batch)
        if output.requires_grad:
            (output * random_like(output)).sum().backward()
    cut = {name: weight for name, weight in trainable.items() if weight.grad is None}
    twin.eval()
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        before = twin(batch)
    for name, weight in cut.items():
        with _disturbed([weight], 1.0, draw):
            moved = not torch.equal(before, twin(batch))
        if moved:
            return ModelFinding(
                check,
                False,
                f"{_own_name(name)} affects the output but gets no gradient, so it is never trained; look for "
                "detach, no_grad or .data between it and the output, or freeze it on purpose with "
                "requires_grad_(False)",
            )
    with torch.enable_grad():
        frozen = not _embed(twin, batch).requires_grad
    note = "; the embeddings are frozen and are not trained" if frozen else ""
    return ModelFinding(check, True, f"every trainable weight that affects the output gets a gradient{note}")


def _embed(module: Any, batch: Batch) -> Tensor:
    return module.embed(batch)


def _own_name(name: str) -> str:
    """A weight's name in the user's module; the audit's wrapper stores that module as ``module``."""
    return name.removeprefix("module.")


def random_like(output: Tensor) -> Tensor:
    """Random weights of rows: a plain sum can cancel (a layer norm over the batch, a softmax over classes)."""
    return torch.randn(output.shape, generator=torch.Generator().manual_seed(0)).to(output.device)


@contextmanager
@torch.no_grad()
def _disturbed(weights: list[nn.Parameter], noise: float, draw: torch.Generator) -> Iterator[None]:
    """Within the context, normal noise of this standard deviation is added to the weights."""
    kept = [weight.detach().clone() for weight in weights]
    try:
        for weight in weights:
            if weight.is_floating_point():
                weight.add_(noise * torch.randn(weight.shape, generator=draw).to(weight))
        yield
    finally:
        for weight, before in zip(weights, kept, strict=True):
            weight.copy_(before)

"""AdamW that touches the rows of a batch alone where gradients are sparse: a step costs the same for any table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class LazyAdamW(torch.optim.AdamW):
    """``torch.optim.AdamW`` that also takes sparse gradients, such as those of ``nn.Embedding(sparse=True)``.

    A weight (R, d) with a sparse gradient of some rows is changed in these rows only. Every one of them then stands
    where the same gradients under ``AdamW(betas=(0, beta2))`` would have taken it:

    * Second moment and weight decay make up for the steps since the row was last touched, so that how far it moves does
      not depend on how it is stored. ``torch.optim.SparseAdam`` decays a moment when its row is touched alone: rare
      rows move 10 to 30 times less per gradient than under AdamW.
    * Momentum (beta1) would move a row on after its gradient is gone, which a lazy step cannot. AdamW spreads a
      gradient over about ten steps; here the row moves at once, as far as in these steps together. For small learning
      rates both follow the same trajectory (Malladi et al. 2022, arXiv 2205.10287: beta1 is not in the limit).
    * A row that no batch has stays as it is, without decay.

    It keeps one number per weight and one per row, where AdamW keeps two per weight. ``amsgrad`` and ``maximize`` are
    not for sparse gradients.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step along the gradients, which stay where they are.

        Args:
            closure: evaluates the loss anew; dense gradients alone.

        Raises:
            ValueError: a closure with sparse gradients.
        """
        lazy = [
            (weight, weight.grad, group)
            for group in self.param_groups
            for weight in group["params"]
            if touched_rows(weight) is not None
        ]
        if lazy and closure is not None:
            raise ValueError("closure: not with sparse gradients; call backward yourself, then step()")
        for weight, gradient, group in lazy:
            self._step_rows(weight, gradient, group)
            weight.grad = None  # AdamW passes over it
        loss = super().step(closure)
        for weight, gradient, _ in lazy:
            weight.grad = gradient
        return loss

    def _step_rows(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, beta = self.state[weight], group["betas"][1]
        if not state:
            state["steps"] = 0
            state["exp_avg_sq"] = torch.zeros_like(weight)
            state["last"] = torch.zeros(len(weight), dtype=torch.int32, device=weight.device)
        state["steps"] += 1
        rows, values = gradient.indices()[0], gradient.values()
        idle = (state["steps"] - state["last"].index_select(0, rows)).to(values.dtype).unsqueeze(1)
        second = state["exp_avg_sq"].index_select(0, rows).mul_(beta**idle).addcmul_(values, values, value=1 - beta)
        state["last"].index_fill_(0, rows, state["steps"])
        state["exp_avg_sq"].index_copy_(0, rows, second)
        scale = second.div_(1 - beta ** state["steps"]).sqrt_().add_(group["eps"])
        moved = weight.index_select(0, rows).mul_((1 - group["lr"] * group["weight_decay"]) ** idle)
        weight.index_copy_(0, rows, moved.addcdiv_(values, scale, value=-group["lr"]))


def touched_rows(weight: Tensor) -> Tensor | None:
    """The rows of a weight, int64 ascending, that its sparse gradient holds; None where the gradient is none or dense.

    Rows that a sparse gradient holds several times are merged in it; one that is sparse in other ways becomes dense.
    """
    gradient = weight.grad
    if gradient is None or not gradient.is_sparse:
        return None
    if gradient.sparse_dim() > 1 or gradient.dim() != 2:
        weight.grad = gradient.to_dense()
        return None
    if not gradient.is_coalesced():
        weight.grad = gradient.coalesce()
    return weight.grad.indices()[0]  # type: ignore[union-attr]

"""AdamW that updates only the rows of a batch if gradients are sparse; a step's cost is independent of table size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class LazyAdamW(torch.optim.AdamW):
    """``torch.optim.AdamW`` that also accepts sparse gradients, such as those of ``nn.Embedding(sparse=True)``.

    A step changes only those rows of a weight (R, d) that have a gradient. Afterwards each of them has the value that
    the same gradients under ``AdamW(betas=(0, beta2))`` would give:

    * Second moment and weight decay catch up on the steps since the row last had a gradient, so the size of an update
      does not depend on whether gradients are sparse. ``torch.optim.SparseAdam`` decays the moment only when its row
      has a gradient: rare rows then move 10 to 30 times less per gradient than under AdamW.
    * Momentum (beta1) would keep moving a row after its gradient, which a lazy step cannot do. AdamW spreads a gradient
      over about ten steps; here the row moves at once by the sum of these steps. For small learning rates both follow
      the same trajectory (Malladi et al. 2022, arXiv 2205.10287: beta1 is not in the limit).
    * A row that occurs in no batch does not change, not even by weight decay.

    It stores one number per weight and one per row, while AdamW stores two per weight. Sparse gradients do not support
    ``amsgrad`` and ``maximize``.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Perform one step; gradients are kept.

        Args:
            closure: re-evaluates the loss; for dense gradients only.

        Raises:
            ValueError: a closure was given with sparse gradients.
        """
        lazy = [
            (weight, weight.grad, group)
            for group in self.param_groups
            for weight in group["params"]
            if touched_rows(weight) is not None
        ]
        if lazy and closure is not None:
            raise ValueError("closure: not supported with sparse gradients; call backward(), then step() without it")
        for weight, gradient, group in lazy:
            self._step_rows(weight, gradient, group)
            weight.grad = None  # AdamW skips weights without a gradient
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
    """Rows with a sparse gradient, int64 ascending; None if the gradient is dense or missing.

    Duplicate rows of the gradient are merged in place. A sparse gradient of another layout is made dense.
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

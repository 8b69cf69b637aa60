"""Adam for the knots of numeric features, with one step size per feature instead of one per weight."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class FieldAdam(Optimizer):
    """Adam whose second moment is shared by all rows of a field: the largest of its rows'.

    Plain Adam divides every weight's gradient by that weight's own scale, so a knot that ten rows of the data pass
    moves as far as one that ten thousand pass, and rare values are learned by heart. With one scale per field a knot
    moves in proportion to how many rows pass it, as it would under plain gradient descent, while no field needs a step
    size of its own. One second moment per block of weights is the idea of Adam-mini (Zhang et al. 2024, arXiv
    2406.16793, algorithm 1), which takes the block's mean; the maximum keeps the frequent rows from overshooting.

    Args:
        tables: pairs of a table (fields * rows, d) and the rows that each field has in it, one field after the other.
        lr: step size of a field's most moved row.
        betas: decay of first and second moment.
        eps: added to the denominator.
    """

    def __init__(
        self,
        tables: Iterable[tuple[Tensor, int]],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        groups = [{"params": [table], "rows": rows} for table, rows in tables]
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every table that has a gradient."""
        for group in self.param_groups:
            (table,) = group["params"]
            if table.grad is not None:
                self._update(table, table.grad, group)

    def _update(self, table: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, shape = self.state[table], (-1, group["rows"], table.shape[1])
        if not state:
            state["steps"] = 0
            state["first"] = torch.zeros_like(table).view(shape)
            state["second"] = torch.zeros_like(state["first"][..., 0])  # (fields, rows): mean square over the d entries
        state["steps"] += 1
        beta1, beta2 = group["betas"]
        gradient = gradient.view(shape)
        state["first"].lerp_(gradient, 1 - beta1)
        state["second"].lerp_(gradient.square().mean(dim=2), 1 - beta2)
        largest = state["second"].amax(dim=1)
        scale = (largest / (1 - beta2 ** state["steps"])).sqrt_().add_(group["eps"])
        table.view(shape).addcdiv_(
            state["first"], scale[:, None, None], value=-group["lr"] / (1 - beta1 ** state["steps"])
        )

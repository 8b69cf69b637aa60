"""The same small model for every contender: one vector per field, concatenated, 128 and 64 hidden units, one logit."""

from __future__ import annotations

import torch
from torch import Tensor, nn

DIM, HIDDEN = 4, (128, 64)


class Plain(nn.Module):
    """Embeds a number as a weight vector times its value and a code as a row of a table, like FuxiCTR.

    Args:
        n_numeric: number of numeric fields.
        cardinalities: number of codes of each text field.
    """

    def __init__(self, n_numeric: int, cardinalities: list[int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_numeric, DIM) * 0.1)
        self.tables = nn.ModuleList(nn.Embedding(size, DIM) for size in cardinalities)
        width = (n_numeric + len(cardinalities)) * DIM
        self.deep = nn.Sequential(
            nn.Linear(width, HIDDEN[0]), nn.ReLU(), nn.Linear(HIDDEN[0], HIDDEN[1]), nn.ReLU(), nn.Linear(HIDDEN[1], 1)
        )

    def forward(self, numeric: Tensor, codes: Tensor) -> Tensor:
        """(B,) logits from (B, n_numeric) float32 and (B, n_codes) int64."""
        embedded = [(numeric.unsqueeze(-1) * self.weight).flatten(1)]
        embedded += [table(codes[:, place]) for place, table in enumerate(self.tables)]
        return self.deep(torch.cat(embedded, dim=1))[:, 0]

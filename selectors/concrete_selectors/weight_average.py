"""Exponential moving average of a training's weights, which is more stable than the last iterate."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from concrete_selectors.lazy_adam import touched_rows


class WeightAverage:
    """Exponential moving average of weights.

    It averages many iterates instead of using the last one (Izmailov et al. 2018), so that two seeds of the same
    training end closer together, and small batches are no noisier than large ones. Its window is about a third of the
    steps so far, and at most ``1 / (1 - decay)`` steps.

    If gradients are sparse, the cost of a step depends only on the rows in the batch. A row is constant between two
    updates, so its average catches up on these steps at once, before the row changes again or the average is read.

    Args:
        weights: weights to average; they must only be changed by ``step``.
        decay: maximum decay per step, in [0, 1).
    """

    def __init__(self, weights: Iterable[Tensor], *, decay: float) -> None:
        self.weights, self.decay, self.steps = list(weights), decay, 0
        self.averaged = [weight.detach().clone() for weight in self.weights]
        # Log of the product of all decays so far and, per weight with sparse gradients, an (R,) float64 tensor: the
        # value of that log when the average of a row was last updated.
        self._log_kept, self._behind = 0.0, dict[int, Tensor]()

    @torch.no_grad()
    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Step the optimiser and update the average."""
        for place, weight in enumerate(self.weights):
            rows = touched_rows(weight)
            if rows is not None:
                self._catch_up_rows(place, rows)
        optimizer.step()
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (4 + self.steps))
        self._log_kept += math.log(max(decay, sys.float_info.min))
        dense = [place for place in range(len(self.weights)) if place not in self._behind]
        if dense:
            averaged, weights = [self.averaged[place] for place in dense], [self.weights[place] for place in dense]
            get_ema_multi_avg_fn(decay)(averaged, weights, self.steps)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Context in which the weights are replaced by their average."""
        self.swap()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the weights and their average."""
        for place, behind in self._behind.items():
            averaged = self.averaged[place]
            share = torch.exp(self._log_kept - behind).to(averaged.dtype).unsqueeze(1)
            torch.lerp(self.weights[place], averaged, share, out=averaged)
            behind.fill_(self._log_kept)
        self._exchange()

    def _exchange(self) -> None:
        for weight, averaged in zip(self.weights, self.averaged, strict=True):
            weight.data, averaged.data = averaged.data, weight.data

    def _catch_up_rows(self, place: int, rows: Tensor) -> None:
        weight, averaged = self.weights[place], self.averaged[place]
        if place not in self._behind:
            self._behind[place] = torch.full((len(weight),), self._log_kept, dtype=torch.float64, device=weight.device)
        behind = self._behind[place]
        share = torch.exp(self._log_kept - behind.index_select(0, rows)).to(averaged.dtype).unsqueeze(1)
        behind.index_fill_(0, rows, self._log_kept)
        current = weight.index_select(0, rows)
        averaged.index_copy_(0, rows, torch.lerp(current, averaged.index_select(0, rows), share))

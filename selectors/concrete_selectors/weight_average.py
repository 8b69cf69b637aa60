"""An average of the weights that a training passes through, which is steadier than the last ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """Exponential moving average of weights.

    It stands for many iterates instead of the last one (Izmailov et al. 2018), so that two seeds of the same training
    end closer together, and small batches are no noisier than large ones. It looks back over about a third of the steps
    so far, and over ``1 / (1 - decay)`` steps at most.

    Args:
        weights: what is averaged; changed by whoever trains them.
        decay: slowest decay per step, in [0, 1).
    """

    def __init__(self, weights: Iterable[Tensor], *, decay: float) -> None:
        self.weights, self.decay, self.steps = list(weights), decay, 0
        self.averaged = [weight.detach().clone() for weight in self.weights]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (4 + self.steps))
        get_ema_multi_avg_fn(decay)(self.averaged, self.weights, self.steps)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the weights are their average."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    def swap(self) -> None:
        """Exchange the weights and their average."""
        for weight, averaged in zip(self.weights, self.averaged, strict=True):
            weight.data, averaged.data = averaged.data, weight.data

"""What a removal costs: the rise of the surrogate's held-out loss, against labels and against the trained model.

Against labels the rise is right on average and noisy: a thousand rows of a log hold a few dozen clicks. Against what
the trained model expects of the same rows it has no such noise, but all of the model's mistakes (what an embedding has
memorised, above all). The difference of the two, a unit's *correction*, is a sum over rows, so its noise is known. The
positive part of James and Stein's (1961) shrinkage factor over all units, ``1 - (U - 2) / sum z^2``, is the share of
the corrections that counts: nearly none where the model is good and labels are rare, nearly all where the model has
memorised its train rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from concrete_selectors.elimination.recalibration import fit_intercept
from concrete_selectors.elimination.surrogate import EmbeddingCache, Surrogate
from concrete_selectors.protocols import Loss

#: With fewer units the shrinkage factor is mostly chance; the one found with more of them stays.
ENOUGH_UNITS = 16


class RemovalCost:
    """Costs of removals on fixed held-out rows, while units are dropped one after the other.

    Args:
        surrogate: evaluated as it is.
        cache: R rows that neither the trained model nor the surrogate has learned from.
        loss: per-row loss.
        shrinkage: share of the corrections that counts until enough units were asked for.

    Attributes:
        shrinkage: the share found last; 0 = only the model's expectations count, 1 = only the labels.
        work: rows sent forward times weights, a third of them (a backward pass costs twice a forward one).
    """

    def __init__(self, surrogate: Surrogate, cache: EmbeddingCache, *, loss: Loss, shrinkage: float = 1.0) -> None:
        self.shrinkage = shrinkage
        self._surrogate, self._cache, self._loss = surrogate, cache, loss
        with torch.no_grad():
            self._entered = surrogate.enter(cache.inputs)
        self.work = len(cache.target) * surrogate.entry.numel() / 3
        # Later rows may lie at another level, which would cost more loss than any single feature is worth.
        self._intercept = fit_intercept(self._logits(self._entered), cache.target, loss)
        self._open = self._losses(self._entered)

    def costs(self, units: Sequence[int]) -> np.ndarray:
        """Rise of the summed loss on dropping each of the units alone, (u,) float64; settles the shrinkage."""
        by_model, correction, noise = np.array([self._summary(unit) for unit in units]).T
        if len(units) >= ENOUGH_UNITS:
            spread = float((correction**2 / np.maximum(noise, 1e-300)).sum())
            self.shrinkage = min(max(1.0 - (len(units) - 2) / max(spread, 1e-300), 0.0), 1.0)
        rises: np.ndarray = by_model + self.shrinkage * correction
        return rises

    def cost(self, unit: int) -> float:
        """The same for one unit, after others were dropped."""
        by_model, correction, _ = self._summary(unit)
        return by_model + self.shrinkage * correction

    def drop(self, unit: int) -> None:
        """Closes a unit for good."""
        self._entered = self._without(unit)
        self._open = self._losses(self._entered)

    def _summary(self, unit: int) -> tuple[float, float, float]:
        """Rise against the model, the correction, and its squared noise."""
        by_model, by_label = self._losses(self._without(unit)) - self._open
        correction = by_label - by_model
        noise = (correction - correction.mean()).square().sum()
        return tuple(torch.stack([by_model.sum(), correction.sum(), noise]).tolist())

    def _without(self, unit: int) -> Tensor:
        with torch.no_grad():
            return self._entered - self._cache.inputs[:, unit] @ self._surrogate.entry[unit]

    def _logits(self, entered: Tensor) -> Tensor:
        self.work += len(entered) * self._surrogate.n_head_weights / 3
        with torch.no_grad():
            return self._surrogate.head(entered)

    def _losses(self, entered: Tensor) -> Tensor:
        """Per-row losses (2, R) float64: against the model's expectations, against the labels."""
        logits = self._logits(entered)
        with torch.no_grad():
            by_label = self._loss(logits + self._intercept, self._cache.target).double()
            if self._cache.expected is None:
                return torch.stack([by_label, by_label])
            return torch.stack([self._loss(logits, self._cache.expected).double(), by_label])

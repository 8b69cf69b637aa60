"""Removal cost: the increase of the surrogate's held-out loss, estimated from labels and from the trained model.

Measured against labels, the increase is unbiased but noisy: a thousand rows of a log contain a few dozen clicks.
Measured against the trained model's predictions for the same rows, it has little noise but inherits all of the model's
errors (above all, what an embedding has overfitted). The difference of the two, a group's *correction*, is a sum over
rows, so its variance is known. The corrections are multiplied by the positive part of James and Stein's (1961)
shrinkage factor over all G groups, ``1 - (G - 2) / sum z^2``: near zero if the model is good and labels are rare, near
one if the model has overfitted its train rows, and exactly one for one group or two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from concrete_selectors.elimination.recalibration import fit_intercept
from concrete_selectors.elimination.surrogate import EmbeddingCache, Surrogate
from concrete_selectors.protocols import Loss
from concrete_selectors.row_weights import weighted, weighted_mean


class RemovalCost:
    """Removal costs on fixed held-out rows, while groups are removed one by one.

    Args:
        surrogate: fitted surrogate; not changed.
        cache: R rows that neither the trained model nor the surrogate was trained on.
        loss: per-row loss.

    Attributes:
        shrinkage: the shrinkage factor; 0 = only the model's predictions count, 1 = only the labels.
        compute: rows sent forward times weights, divided by 3 (a backward pass costs twice a forward pass).
    """

    def __init__(self, surrogate: Surrogate, cache: EmbeddingCache, *, loss: Loss) -> None:
        self.shrinkage = 1.0
        self._surrogate, self._cache, self._loss = surrogate, cache, loss
        with torch.no_grad():
            self._entered = surrogate.enter(cache.inputs)
        self.compute = len(cache.target) * surrogate.entry.numel() / 3
        # Later rows may have another base rate, which would increase the loss more than removing any single feature.
        self._intercept = fit_intercept(self._logits(self._entered), cache.target, loss, cache.weight)
        self._open = self._losses(self._entered)

    def costs(self, groups: Sequence[int]) -> np.ndarray:
        """Increase of the summed loss when each group is removed on its own, (g,) float64; also sets ``shrinkage``."""
        by_model, correction, noise = np.array([self._summary(group) for group in groups]).T
        spread = float((correction**2 / np.maximum(noise, 1e-300)).sum())
        self.shrinkage = min(max(1.0 - (len(groups) - 2) / max(spread, 1e-300), 0.0), 1.0)
        rises: np.ndarray = by_model + self.shrinkage * correction
        return rises

    def cost(self, group: int) -> float:
        """The same for one group, after others were removed; uses the current ``shrinkage``."""
        by_model, correction, _ = self._summary(group)
        return by_model + self.shrinkage * correction

    def drop(self, group: int) -> None:
        """Remove a group permanently."""
        self._entered = self._without(group)
        self._open = self._losses(self._entered)

    def mean_loss(self) -> float:
        """Mean loss against the labels with the remaining groups, after recalibrating the intercept.

        Raises:
            ValueError: it is NaN or inf.
        """
        logits, target, weight = self._logits(self._entered), self._cache.target, self._cache.weight
        losses = self._loss(logits + fit_intercept(logits, target, self._loss, weight), target)
        value = float(weighted_mean(losses, weight))
        if not np.isfinite(value):
            raise ValueError("validation: the loss is NaN or inf; check targets and features for NaN or inf")
        return value

    def _summary(self, group: int) -> tuple[float, float, float]:
        """Increase against the model, the correction, and the variance of the correction."""
        by_model, by_label = self._losses(self._without(group)) - self._open
        correction = by_label - by_model
        noise = (correction - correction.mean()).square().sum()
        return tuple(torch.stack([by_model.sum(), correction.sum(), noise]).tolist())

    def _without(self, group: int) -> Tensor:
        with torch.no_grad():
            own = self._cache.segments.span(group)
            return self._entered - self._cache.inputs[:, own] @ self._surrogate.entry[own]

    def _logits(self, entered: Tensor) -> Tensor:
        self.compute += len(entered) * self._surrogate.n_head_weights / 3
        with torch.no_grad():
            return self._surrogate.head(entered)

    def _losses(self, entered: Tensor) -> Tensor:
        """Per-row losses (2, R) float64, weighted: against the model's predictions, then against the labels."""
        logits = self._logits(entered)
        with torch.no_grad():
            by_label = self._loss(logits + self._intercept, self._cache.target).double()
            taught = self._cache.taught
            by_model = by_label if taught is None else self._loss(logits, taught).double()
            return weighted(torch.stack([by_model, by_label]), self._cache.weight)

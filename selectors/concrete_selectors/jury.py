"""Whose removal would cost least? Readers' losses on fixed rows, with and without trust in the trained model.

The rise of the loss on a removal can be taken against the labels, which is right on average and noisy (a thousand rows
of a log hold a few dozen clicks), or against what the trained model expects of the same rows, which has no such noise
but all of the model's mistakes. The difference between the two, a unit's *correction*, is a sum over rows, so its noise
is known. How far the corrections of all units stand out of their noise says how wrong the model is, and the positive
part of James and Stein's (1961) shrinkage factor, ``1 - (U - 2) / sum z^2``, is the share of them that counts: nearly
none where the model is good and labels are rare, nearly all where it has learned by heart or nothing at all.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor

from concrete_selectors.contract import Loss
from concrete_selectors.level import best_shift
from concrete_selectors.reader import Cache, Reader

#: With fewer units the shrinkage factor is mostly chance; the one found with more of them stays.
_ENOUGH_UNITS = 16


class Look:
    """A reader's losses on fixed rows while units are dropped one after the other; nothing is learned meanwhile.

    Args:
        reader: judged as it is.
        cache: R rows to judge on.
        loss: per-row loss.
        held_out: so many of the rows, the last ones, the trained model has not seen: against their labels, outputs are
            judged behind the shift that is best with all units open.

    Attributes:
        work: rows sent forward times the weights they met, a third of them (backward costs twice forward).
    """

    def __init__(self, reader: Reader, cache: Cache, *, loss: Loss, held_out: int = 0) -> None:
        self._reader, self._cache, self._loss, self._held_out = reader, cache, loss, held_out
        with torch.no_grad():
            self._entered = reader.enter(cache.inputs)
        self.work = len(cache.target) * reader.entry.numel() / 3
        self._shift = self._best_shift(self._logits(self._entered)) if held_out else None

    def losses(self) -> Tensor:
        """Losses behind the units still open, (2, R) float64: against the model's expectations, against the labels."""
        return self._both(self._logits(self._entered), self._shift)

    def without(self, unit: int) -> Tensor:
        """The same without one more unit."""
        return self._both(self._logits(self._entered - self._contribution(unit)), self._shift)

    def levelled_without(self, unit: int) -> Tensor:
        """The same behind the shift that is best without the unit, too."""
        logits = self._logits(self._entered - self._contribution(unit))
        return self._both(logits, self._best_shift(logits) if self._held_out else None)

    @property
    def n_rows(self) -> int:
        """Rows judged on."""
        return len(self._cache.target)

    def gain_per_value(self) -> float:
        """What a free number seems worth on the rows that it was fitted to, over others, times the number of rows.

        The trace of Takeuchi (1976), slopes' variance over curvature: 1 per logit of a calibrated log-loss, twice the
        mean of a squared error; infinite where the loss has no curvature.
        """
        logits = self._logits(self._entered).requires_grad_(True)
        with torch.enable_grad():
            loss = self._loss(logits, self._cache.target).sum()
            (slope,) = torch.autograd.grad(loss, logits, create_graph=True)
            if not slope.requires_grad:
                return math.inf
            gain = 0.0
            for number, column in enumerate(slope.view(len(slope), -1).unbind(dim=1)):
                (bend,) = torch.autograd.grad(column.sum(), logits, retain_graph=True)
                curvature = bend.view(len(bend), -1)[:, number].mean()
                gain += float((column.square().mean() / curvature).detach()) if curvature > 0 else math.inf
        return gain

    def drop(self, unit: int) -> None:
        """Closes a unit for good."""
        self._entered -= self._contribution(unit)

    def _contribution(self, unit: int) -> Tensor:
        with torch.no_grad():
            return self._cache.inputs[:, unit] @ self._reader.entry[unit]

    def _logits(self, entered: Tensor) -> Tensor:
        self.work += len(entered) * self._reader.n_head_weights / 3
        with torch.no_grad():
            return self._reader.head(entered)

    def _best_shift(self, logits: Tensor) -> Tensor:
        return best_shift(logits[-self._held_out :], self._cache.target[-self._held_out :], self._loss)

    def _both(self, logits: Tensor, shift: Tensor | None) -> Tensor:
        with torch.no_grad():
            levelled = logits
            if shift is not None:
                levelled = torch.cat([logits[: -self._held_out], logits[-self._held_out :] + shift])
            by_label = self._loss(levelled, self._cache.target).double()
            if self._cache.expected is None:
                return torch.stack([by_label, by_label])
            return torch.stack([self._loss(logits, self._cache.expected).double(), by_label])


class Jury:
    """Several looks that are asked together.

    Args:
        looks: one per reader.
        places: (R,) int64 per look, which row of the data each of its rows is; rows that several readers judge have
            one place, and count as one row for the noise of corrections.
        n_held_out: places below this one are of rows that the trained model has not seen, judged by all readers.
        by_heart: units that are judged on held-out rows alone.
        doubt: share of the corrections that counts until enough units were asked for.

    Attributes:
        doubt: the share found last; 0 = the model's expectations are all, 1 = the labels are.
    """

    def __init__(
        self,
        looks: Sequence[Look],
        places: Sequence[Tensor],
        *,
        n_held_out: int = 0,
        by_heart: Collection[int] = (),
        doubt: float | None = None,
    ) -> None:
        self.doubt = doubt
        self._looks = list(looks)
        self._place = torch.cat(list(places))
        self._n_places, self._n_held_out = int(self._place.max()) + 1, n_held_out
        self._by_heart = frozenset(by_heart)
        self._weight = len(self._place) / max(int((self._place < n_held_out).sum()), 1)
        self._open: Tensor | None = None

    @property
    def work(self) -> float:
        """Of all looks."""
        return sum(look.work for look in self._looks)

    def rises(self, units: Sequence[int]) -> np.ndarray:
        """Rise of the summed loss on dropping each of the units alone, (u,) float64; settles the doubt."""
        by_model, total, noise = np.array([self._summary(unit) for unit in units]).T
        if self.doubt is None or len(units) >= _ENOUGH_UNITS:
            spread = float((total**2 / np.maximum(noise, 1e-300)).sum())
            self.doubt = min(max(1.0 - (len(units) - 2) / max(spread, 1e-300), 0.0), 1.0)
        rises: np.ndarray = by_model + self.doubt * total
        return rises

    def _summary(self, unit: int) -> tuple[float, float, float]:
        """Rise as the model sees it; the correction, and its squared noise."""
        by_model, by_label = self._rise_by_row(unit)
        correction = by_label - by_model
        noise = (correction - correction.mean()).square().sum()
        return float(by_model.sum()), float(correction.sum()), float(noise)

    def rise(self, unit: int) -> float:
        """The same for one unit, now that others were dropped since."""
        by_model, by_label = self._rise_by_row(unit).sum(dim=1).tolist()
        return float(by_model + (self.doubt or 0.0) * (by_label - by_model))

    def drop(self, unit: int) -> None:
        """Closes a unit for good."""
        for look in self._looks:
            look.drop(unit)
        self._open = None

    def _rise_by_row(self, unit: int) -> Tensor:
        """Rises (2, rows) of the rows that may judge the unit, weighted to stand for all."""
        if self._open is None:
            self._open = self._sums(None)
        rises = self._sums(unit) - self._open
        return rises[:, : self._n_held_out] * self._weight if unit in self._by_heart else rises

    def _sums(self, without: int | None) -> Tensor:
        """Losses (2, places), summed over readers."""
        parts = [look.losses() if without is None else look.without(without) for look in self._looks]
        losses = torch.cat(parts, dim=1)
        sums = losses.new_zeros(2, self._n_places)
        return sums.index_add_(1, self._place, losses)

"""Which units does a network know by heart? They look precious on its train rows, and are not on others.

The embedding of a rare value (an id, a postal code) can hold the labels of the few train rows that have it. A selection
that asks train rows, or a network trained on them, then keeps such a unit; a model that is retrained with it learns by
heart again, and that is noise on every new row. Held-out rows tell: a unit whose removal costs train rows more than
held-out rows, by more than chance allows among so many units, is known by heart, at least in part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import norm

from concrete_selectors.jury import Look

#: Chance that any unit of a table without memorised ones is called so.
_CHANCE = 0.05


@dataclass(frozen=True)
class Worth:
    """What units are worth to readers, as rises of the mean loss against the labels on removing one.

    Attributes:
        train: (U,) float64, on train rows that the reader has not learned from, though the network has.
        held_out: (U,) float64, on rows that neither has seen.
        train_error, held_out_error: (U,) float64, their standard errors.
    """

    train: np.ndarray
    held_out: np.ndarray
    train_error: np.ndarray
    held_out_error: np.ndarray

    @property
    def _limit(self) -> float:
        """Standard errors that one of so many units exceeds by chance (Bonferroni)."""
        return float(norm.isf(_CHANCE / max(len(self.train), 1)))

    @property
    def by_heart(self) -> np.ndarray:
        """(U,) bool: is the unit worth something on train rows, and more than on others, beyond chance?"""
        surplus, noise = self.train - self.held_out, np.hypot(self.train_error, self.held_out_error)
        found: np.ndarray = (self.train > self._limit * self.train_error) & (surplus > self._limit * noise)
        return found

    @property
    def mostly_by_heart(self) -> np.ndarray:
        """(U,) bool: is less than half of it left on held-out rows, and that not beyond chance?

        A feature that is worth less from one month to the next is not known by heart: held-out rows miss it still.
        """
        unconfirmed = self.held_out < np.minimum(self.train / 2, self._limit * self.held_out_error)
        found: np.ndarray = self.by_heart & unconfirmed
        return found


def worth(train: Sequence[Look], held_out: Sequence[Look], n_units: int) -> Worth:
    """Asks readers for all units.

    Args:
        train: a look per reader at train rows of its own, R in all.
        held_out: a look per reader at the same R' rows, with and without a unit behind the shift that is best then.
        n_units: U, all open.
    """
    before = [torch.cat([look.losses()[1] for look in train]), _mean(held_out, None)]
    rows = []
    for unit in range(n_units):
        after = [torch.cat([look.without(unit)[1] for look in train]), _mean(held_out, unit)]
        rises = [new - old for new, old in zip(after, before, strict=True)]
        errors = [float(rise.var() / len(rise)) ** 0.5 for rise in rises]
        rows.append([*(float(rise.mean()) for rise in rises), *errors])
    return Worth(*np.array(rows).reshape(n_units, 4).T)


def _mean(looks: Sequence[Look], unit: int | None) -> torch.Tensor:
    losses = [(look.losses() if unit is None else look.levelled_without(unit))[1] for look in looks]
    return torch.stack(losses).mean(dim=0)

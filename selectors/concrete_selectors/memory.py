"""Which units does a network know by heart? They look precious on its train rows, and are not on others.

The embedding of a rare value (an id, a postal code) can hold the labels of the few train rows that have it. A selection
that asks train rows, or a network trained on them, then keeps such a unit; a model that is retrained with it learns by
heart again, and that is noise on every new row. Held-out rows tell: a unit whose removal costs train rows more than
held-out rows, by more than chance allows among so many units, is known by heart, at least in part.

Unless that is more than memory can hold: then the world has moved on. A feature of D values that says nothing gains D
free numbers at most, and n free numbers seem worth n / N nats more on the N rows that they were fitted to than on
others (Akaike 1974; for other losses Takeuchi 1976). Of an id of 3,000 values in 12,000 rows that is .25 nats, far more
than any network finds; of a count of six values it is .0005, and a count whose worth falls by .03 from one month to the
next has not been memorised.
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
        held_out: (U,) float64, on rows that neither has seen; may be NaN where train rows do not praise a unit.
        train_error, held_out_error: (U,) float64, their standard errors.
        memory: (U,) float64, the most that ``train`` may be above ``held_out`` because labels were memorised.
    """

    train: np.ndarray
    held_out: np.ndarray
    train_error: np.ndarray
    held_out_error: np.ndarray
    memory: np.ndarray

    @property
    def by_heart(self) -> np.ndarray:
        """(U,) bool: is the unit worth more on train rows than on others, beyond chance and as memory explains?"""
        surplus, noise = self.train - self.held_out, np.hypot(self.train_error, self.held_out_error)
        beyond_chance = surplus > _limit(len(self.train)) * noise
        return _praised(self.train, self.train_error) & beyond_chance & (surplus <= self.memory)

    @property
    def mostly_by_heart(self) -> np.ndarray:
        """(U,) bool: is less than half of it left on held-out rows, and that not beyond chance?

        A feature that is worth less from one month to the next is not known by heart: held-out rows miss it still.
        """
        chance = _limit(len(self.train)) * self.held_out_error
        found: np.ndarray = self.by_heart & (self.held_out < np.minimum(self.train / 2, chance))
        return found


def worth(train: Sequence[Look], held_out: Sequence[Look], values: np.ndarray) -> Worth:
    """Asks readers for all units at train rows, and for those that are worth something there at held-out rows, too.

    Args:
        train: a look per reader at train rows of its own, R in all.
        held_out: a look per reader at the same R' rows, with and without a unit behind the shift that is best then.
        values: (U,) int64, values that each unit has an embedding of its own for; all units are open.
    """
    n_units = len(values)
    before = torch.cat([look.losses()[1] for look in train])
    rises = (torch.cat([look.without(unit)[1] for look in train]) - before for unit in range(n_units))
    on_train, train_error = np.array([_mean(rise) for rise in rises]).reshape(n_units, 2).T
    on_others, others_error = np.full((2, n_units), np.nan)
    before = torch.stack([look.losses()[1] for look in held_out]).mean(dim=0)
    for unit in np.flatnonzero(_praised(on_train, train_error)).tolist():
        after = torch.stack([look.levelled_without(unit)[1] for look in held_out]).mean(dim=0)
        on_others[unit], others_error[unit] = _mean(after - before)
    memory = values * np.mean([look.gain_per_value() for look in train]) / sum(look.n_rows for look in train)
    return Worth(on_train, on_others, train_error, others_error, memory)


def _praised(train: np.ndarray, error: np.ndarray) -> np.ndarray:
    """(U,) bool: are units worth something on train rows, beyond chance?"""
    found: np.ndarray = train > _limit(len(train)) * error
    return found


def _limit(n_units: int) -> float:
    """Standard errors that one of so many units exceeds by chance (Bonferroni)."""
    return float(norm.isf(_CHANCE / max(n_units, 1)))


def _mean(rise: torch.Tensor) -> tuple[float, float]:
    """Mean and its standard error."""
    return float(rise.mean()), float(rise.var() / len(rise)) ** 0.5

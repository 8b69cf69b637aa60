"""Backward elimination: repeatedly remove the candidate whose removal increases the held-out loss least.

Removals are never judged on train rows. The embedding of a rare value (an id, a postal code) can memorise the labels of
the few train rows that have it, so that train rows would favour features that a retrained model would only overfit
again. Held-out rows show how useful a feature is on new rows.

Groups are removed in stages of about a third. A stage fits the surrogate to the sizes ahead, estimates the removal cost
of every group and removes the cheapest. The next cheapest is re-estimated until it stays the cheapest (the accelerated
greedy algorithm, Minoux 1978). Removing a group raises the cost of its substitutes, so two groups that substitute for
each other are never removed together.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np
import torch

from concrete_selectors.elimination.removal_cost import RemovalCost
from concrete_selectors.elimination.surrogate import HIDDEN, EmbeddingCache, Surrogate, batch_size, fit_surrogate
from concrete_selectors.protocols import Loss

#: Share of the groups that remains after a stage.
STAGE = 0.7
#: Batches of the surrogate's first training, and of its retraining in each further stage.
FIRST_STEPS, RENEWAL_STEPS = 300, 30


class BackwardElimination:
    """Backward elimination on a set of groups, one stage at a time.

    Args:
        train: cached rows for training the surrogate.
        held_out: cached rows on which removals are judged.
        fixed: (k,) bool, groups that are never removed, in the order of the caches' groups; the same order as
            ``prior``.
        loss: per-row loss.
        seed: seed of the surrogate and of the order of rows.
        distillation: weight of the teacher's predictions in the surrogate's loss, 0 to 1.
        prior: (k,) added to the cost of each group before groups are compared, in units of the median cost; negative
            for groups that should rather be removed (expensive ones). None = zero.

    Attributes:
        left: (k,) int64, groups that remain, with their initial numbers.
        dropped: groups removed so far, with their initial numbers, in order of removal.
        heldout_loss: number of groups left -> mean held-out loss with them, at the start and after every stage.
        compute: rows sent through the surrogate forward and backward, times its weights; forward only counts a third.
    """

    def __init__(
        self,
        train: EmbeddingCache,
        held_out: EmbeddingCache,
        *,
        fixed: np.ndarray,
        loss: Loss,
        seed: int,
        distillation: float = 0.0,
        prior: np.ndarray | None = None,
    ) -> None:
        self.left = np.arange(len(fixed))
        self.dropped: list[int] = []
        self.heldout_loss: dict[int, float] = {}
        self.compute = 0.0
        self._train, self._held_out, self._loss = train, held_out, loss
        self._fixed = fixed.copy()
        self._prior = np.zeros(len(fixed)) if prior is None else prior.astype(np.float64)
        self._distillation = distillation
        self._generator = torch.Generator(device=train.target.device).manual_seed(seed)
        self._surrogate = Surrogate(train, seed=seed)
        self._steps = FIRST_STEPS

    def shrink(self, down_to: int) -> None:
        """Fit the surrogate, then remove groups until ``down_to`` are left or only fixed groups are left."""
        self._fit(smallest=down_to / len(self.left))
        cost = RemovalCost(self._surrogate, self._held_out, loss=self._loss)
        self.heldout_loss[len(self.left)] = cost.mean_loss()
        gone = self._cheapest(cost, most=len(self.left) - down_to)
        self.compute += cost.compute
        self.dropped += self.left[gone].tolist()
        self._cut(np.setdiff1d(np.arange(len(self.left)), gone))
        self.heldout_loss[len(self.left)] = cost.mean_loss()

    def _fit(self, *, smallest: float) -> None:
        self.compute += self._steps * batch_size(len(self._train.target)) * self._surrogate.n_weights
        fit_surrogate(
            self._surrogate,
            self._train,
            loss=self._loss,
            steps=self._steps,
            fixed=self._fixed,
            smallest=smallest,
            distillation=self._distillation,
            generator=self._generator,
        )
        self._steps = RENEWAL_STEPS

    def _cheapest(self, cost: RemovalCost, *, most: int) -> list[int]:
        """Remove up to ``most`` groups, at each step the one that is cheapest given those already removed."""
        free = np.flatnonzero(~self._fixed)
        if not len(free):
            return []
        costs = cost.costs(free.tolist())
        offset = self._prior[free] * float(np.median(np.abs(costs)))
        queue = [(value, place, 0) for place, value in enumerate((costs + offset).tolist())]
        heapq.heapify(queue)
        gone: list[int] = []
        while queue and len(gone) < most:
            _, place, asked_after = queue[0]  # asked_after: number of groups removed when the cost was estimated
            group = int(free[place])
            if asked_after == len(gone):
                heapq.heappop(queue)
                cost.drop(group)
                gone.append(group)
            else:
                heapq.heapreplace(queue, (cost.cost(group) + float(offset[place]), place, len(gone)))
        return gone

    def _cut(self, keep: np.ndarray) -> None:
        columns = self._train.segments.columns(keep)
        self._surrogate.cut(torch.as_tensor(columns, device=self._train.target.device))
        self._train, self._held_out = self._train.groups(keep), self._held_out.groups(keep)
        self.left, self._fixed, self._prior = self.left[keep], self._fixed[keep], self._prior[keep]


def expected_compute(n_groups: int, width: float, rows: int, held_out_rows: int) -> float:
    """Expected cost of an elimination down to one group, in the unit of ``BackwardElimination.compute``.

    Args:
        n_groups: candidates.
        width: mean embedding width of a group.
        rows, held_out_rows: cached rows for training the surrogate, and for judging removals.
    """
    first, second = HIDDEN
    head = first * second + 2 * second + first
    sizes = [n_groups, *stages(n_groups, 1)][:-1]
    steps = [FIRST_STEPS, *[RENEWAL_STEPS] * (len(sizes) - 1)]
    fitted = sum(step * (size * width * first + head) for step, size in zip(steps, sizes, strict=True))
    # Every group is evaluated at the start of a stage, and about two more per removal.
    asked = sum(sizes) + 2 * n_groups
    return float(fitted * batch_size(rows) + asked * held_out_rows * head / 3)


def stages(k_max: int, k_min: int) -> Iterator[int]:
    """Decreasing sizes, each about ``STAGE`` times the previous; the last is ``k_min``. Empty if k_max equals k_min."""
    size = k_max
    while size > k_min:
        size = max(k_min, min(size - 1, int(size * STAGE)))
        yield size

"""Backward elimination among the candidates: whose removal costs the least held-out loss?

Train rows never judge. The embedding of a rare value (an id, a postal code) can hold the labels of the few train rows
that have it, so train rows would keep what a retrained model can only overfit again; held-out rows show what it is
worth on new rows.

Groups go in stages of about a third: the surrogate is fitted to the sizes ahead, all groups are asked what their
removal costs, and the cheapest goes. The next is asked again until it stays the cheapest (the accelerated greedy
algorithm, Minoux 1978). Removal costs rise as stand-ins go, so two groups that stand in for each other never go
together.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np
import torch

from concrete_selectors.elimination.removal_cost import RemovalCost
from concrete_selectors.elimination.surrogate import HIDDEN, EmbeddingCache, Surrogate, batch_size, fit_surrogate
from concrete_selectors.protocols import Loss

#: Share of the groups left that remains after a stage.
STAGE = 0.7
#: Batches of the surrogate's first training, and of its renewal at each further stage.
FIRST_STEPS, RENEWAL_STEPS = 300, 30


class BackwardElimination:
    """Shrinks a set of groups one stage at a time.

    Args:
        train: cached rows that the surrogate learns from.
        held_out: cached rows on which removals are judged.
        fixed: (k,) bool, groups that may not go; in the order of the caches' groups, as ``prior`` is.
        loss: per-row loss.
        seed: of the surrogate and of the order of rows.
        distillation: weight of the teacher's predictions in what the surrogate learns, 0 to 1.
        prior: (k,) added to a group's cost before groups are compared, in medians of the costs; below zero for groups
            that one would rather be without (expensive ones). None = zero.

    Attributes:
        left: (k,) int64, groups still open, numbered as at the start.
        dropped: groups that went, numbered as at the start, in the order they went.
        heldout_loss: number of groups left -> mean held-out loss with them, at the start and after every stage.
        compute: rows sent forward and backward through the surrogate times its weights, forward only a third.
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
        """Fits the surrogate, then drops groups until ``down_to`` are left or all that is left is fixed."""
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
        """Closes up to ``most`` groups, one after the other the one that is cheapest to drop then."""
        free = np.flatnonzero(~self._fixed)
        if not len(free):
            return []
        costs = cost.costs(free.tolist())
        offset = self._prior[free] * float(np.median(np.abs(costs)))
        queue = [(value, place, 0) for place, value in enumerate((costs + offset).tolist())]
        heapq.heapify(queue)
        gone: list[int] = []
        while queue and len(gone) < most:
            _, place, asked_after = queue[0]  # its cost when so many had gone
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
    """What an elimination down to one group is expected to cost, in the unit of ``BackwardElimination.compute``.

    Args:
        n_groups: candidates.
        width: numbers of a group's embedding, on average.
        rows, held_out_rows: cached rows that the surrogate learns from, and on which removals are judged.
    """
    first, second = HIDDEN
    head = first * second + 2 * second + first
    sizes = [n_groups, *stages(n_groups, 1)][:-1]
    steps = [FIRST_STEPS, *[RENEWAL_STEPS] * (len(sizes) - 1)]
    fitted = sum(step * (size * width * first + head) for step, size in zip(steps, sizes, strict=True))
    # Every group is asked at the start of a stage, and about two again for every one that goes.
    asked = sum(sizes) + 2 * n_groups
    return float(fitted * batch_size(rows) + asked * held_out_rows * head / 3)


def stages(k_max: int, k_min: int) -> Iterator[int]:
    """Falling sizes, each about ``STAGE`` of the one before; the last is ``k_min``. None where k_max is k_min."""
    size = k_max
    while size > k_min:
        size = max(k_min, min(size - 1, int(size * STAGE)))
        yield size

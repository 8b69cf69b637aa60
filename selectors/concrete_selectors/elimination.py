"""Backward elimination among the candidates: whose removal costs the least?

Judged by readers (see :mod:`concrete_selectors.reader`) on validation rows and on train rows, cross-fitted: a train row
is judged by a reader that was trained on other train rows, a validation row by all readers.

The embeddings of train rows may know their labels by heart, though (ids, rare codes; see
:mod:`concrete_selectors.memory`). So before anything else, units go that train rows praise and validation rows do not
confirm; others that are known by heart in part are judged on validation rows alone; and where readers still do visibly
better on train rows than on validation rows, train rows have no say at all. Validation rows may be of a later time,
which is not to be mistaken for that: on them, outputs are judged at their best level
(:mod:`concrete_selectors.level`).

Units go in stages of about a third, in rounds of a tenth of those that are left. All are asked for at the start of a
stage, those that were cheap then at the start of each further round, and in a round the cheapest is asked again until
it stays the cheapest (Minoux 1978, accelerated greedy): what a removal costs rises as stand-ins go, so two that stand
in for each other never go together.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from concrete_selectors.contract import Loss
from concrete_selectors.folds import make_folds
from concrete_selectors.jury import Jury, Look
from concrete_selectors.memory import worth
from concrete_selectors.reader import Cache, Lesson, batch_size, train_reader

#: Share of the units left that go in one round.
_ROUND = 0.1
#: Share of the units left that further rounds of a stage ask; all are asked where no more than so many are left.
_CHEAP, _FEW_UNITS = 1 / 3, 48
#: A reader's first training, and its renewal at each stage. 3.84 passes over 20,000 rows, the most that a reader learns
#: from by default, are 300 batches.
_FIRST = Lesson(rows=19_200, fewest_passes=3.84, most_passes=40.0)
_RENEWAL = Lesson(rows=1_920, fewest_passes=0.5, most_passes=4.0)
#: Standard errors by which the loss on train rows may lie below that on validation rows.
_BY_HEART = 2.0
#: Validation rows below which they cannot stand alone.
_FEWEST_HELD_OUT = 512


class Eliminator:
    """Shrinks a set of units one stage at a time.

    Args:
        train: cached train rows.
        validation: cached validation rows, possibly none.
        fixed: (k,) bool, units that may not go; in the order of the caches' units, as ``prior`` is.
        loss: per-row loss.
        judged_rows: most rows judged on, about half of them validation rows.
        n_masks: random subsets per training batch.
        seed: of readers, rows and subsets.
        trust: share of the trained model's expectations in what readers learn, 0 to 1.
        values: (k,) values that each unit has an embedding of its own for (codes, knots): the more there are, the more
            labels they can memorise. None = as many as there are different embeddings among the train rows.
        prior: (k,) added to a unit's rise of the loss before units are compared, in medians of their rises; below zero
            for units that one would rather be without (dear ones). None = zero.

    Attributes:
        left: (k,) int64, units still open, numbered as at the start.
        memorised: units that went because they are mostly known by heart, numbered as at the start.
        work: cost so far: rows sent forward and backward through a reader times its weights, forward only a third.
    """

    def __init__(
        self,
        train: Cache,
        validation: Cache | None,
        *,
        fixed: np.ndarray,
        loss: Loss,
        judged_rows: int,
        n_masks: int,
        seed: int,
        trust: float = 0.0,
        prior: np.ndarray | None = None,
        values: np.ndarray | None = None,
    ) -> None:
        self._random = np.random.default_rng(seed)
        self._loss, self._n_masks, self._trust = loss, n_masks, trust
        self.left = np.arange(len(fixed))
        self.memorised: list[int] = []
        self.work = 0.0
        self._fixed = fixed.copy()
        self._prior = np.zeros(len(fixed)) if prior is None else prior.astype(np.float64)
        self._by_heart = np.zeros(len(fixed), dtype=bool)
        # What every unit cost when all were asked last, and what the prior adds to it.
        self._asked, self._offset = np.zeros(len(fixed)), np.zeros(len(fixed))
        self._fresh = True
        self._doubt: float | None = None
        self._n_held_out = 0 if validation is None else min(len(validation.target), judged_rows // 2)
        held_out = None
        if validation is not None:
            held_out = validation.first(self._n_held_out)
        self._values = values
        if values is None and self._n_held_out >= _FEWEST_HELD_OUT:
            self._values = train.distinct()
        generator = torch.Generator().manual_seed(seed)
        self._folds = make_folds(train, held_out, max(judged_rows - self._n_held_out, 1), generator)

    def shrink(self, down_to: int) -> list[int]:
        """Trains the readers, then drops units until ``down_to`` are left or all that is left is fixed.

        Returns:
            The dropped units (numbered as at the start), in the order they went. ``left`` holds the others.
        """
        self._teach(_FIRST if self._fresh else _RENEWAL, smallest=down_to)
        dropped: list[int] = []
        if self._fresh and self._n_held_out >= _FEWEST_HELD_OUT:
            self._drop_memorised(down_to)
            dropped += self.memorised
            self._forget_memorised()
        self._fresh = False
        jury = self._jury()
        gone: list[int] = []
        while len(self.left) - len(gone) > down_to and not np.delete(self._fixed, gone).all():
            gone += self._drop_cheapest(jury, gone, len(self.left) - len(gone) - down_to)
        self.work += jury.work
        self._doubt = jury.doubt
        dropped += self.left[gone].tolist()
        self._cut(np.setdiff1d(np.arange(len(self.left)), gone))
        return dropped

    def _teach(self, lesson: Lesson, *, smallest: int) -> None:
        for fold in self._folds:
            rows = len(fold.learned.target)
            steps = lesson.steps(rows)
            self.work += steps * batch_size(rows) * fold.reader.n_weights
            train_reader(
                fold.reader,
                fold.learned,
                loss=self._loss,
                steps=steps,
                fixed=self._fixed,
                smallest=max(smallest, 1),
                n_masks=self._n_masks,
                random=self._random,
                trust=self._trust,
            )

    def _looks(self) -> list[Look]:
        """Each reader's at the rows it judges."""
        return [Look(fold.reader, fold.judged, loss=self._loss, held_out=self._n_held_out) for fold in self._folds]

    def _jury(self) -> Jury:
        looks = self._looks()
        by_heart = np.flatnonzero(self._by_heart).tolist()
        places = [fold.places for fold in self._folds]
        return Jury(looks, places, n_held_out=self._n_held_out, by_heart=by_heart, doubt=self._doubt)

    def _drop_memorised(self, down_to: int) -> None:
        """Drops what is mostly known by heart, the least confirmed first, and notes what is so in part."""
        assert self._values is not None
        # There are two readers: what one has learned from, the other has not seen.
        train = [
            Look(fold.reader, other.learned, loss=self._loss)
            for fold, other in zip(self._folds, self._folds[::-1], strict=True)
        ]
        held_out = [
            Look(fold.reader, fold.held_out(self._n_held_out), loss=self._loss, held_out=self._n_held_out)
            for fold in self._folds
        ]
        found = worth(train, held_out, self._values)
        self.work += sum(look.work for look in (*train, *held_out))
        self._by_heart = found.by_heart
        goes = np.flatnonzero(found.mostly_by_heart & ~self._fixed)
        goes = goes[np.argsort(found.held_out[goes], kind="stable")][: max(len(self.left) - down_to, 0)]
        self.memorised = self.left[goes].tolist()
        self._cut(np.setdiff1d(np.arange(len(self.left)), goes))

    def _forget_memorised(self) -> None:
        """Leaves train rows out of the judgement where readers know more about them than about validation rows."""
        looks = self._looks()
        losses = [look.losses()[1] for look in looks]
        self.work += sum(look.work for look in looks)
        train = torch.cat([each[: -self._n_held_out] for each in losses])
        validation = torch.stack([each[-self._n_held_out :] for each in losses]).mean(dim=0)
        noise = (train.var() / len(train) + validation.var() / len(validation)).sqrt()
        if bool(validation.mean() - train.mean() > _BY_HEART * noise):
            for fold in self._folds:
                fold.judged, fold.places = fold.held_out(self._n_held_out), fold.places[-self._n_held_out :]

    def _drop_cheapest(self, jury: Jury, gone: Sequence[int], most: int) -> list[int]:
        """One round: closes up to ``most`` units, one after the other the one that is cheapest to drop then."""
        free = np.setdiff1d(np.flatnonzero(~self._fixed), gone)
        if not gone or len(free) <= _FEW_UNITS:
            rises = jury.rises(free.tolist())
            self._offset = self._prior * float(np.median(np.abs(rises)))
            self._asked = np.full(len(self.left), np.inf)
            self._asked[free] = rises + self._offset[free]
        else:
            cheapest = np.argsort(self._asked[free], kind="stable")[: math.ceil(_CHEAP * len(free))]
            free = np.sort(free[cheapest])
            rises = np.array([jury.rise(unit) for unit in free.tolist()])
        offset = self._offset[free]
        queue = [(rise, place, 0) for place, rise in enumerate((rises + offset).tolist())]
        heapq.heapify(queue)
        count = min(max(1, int(_ROUND * (len(self.left) - len(gone)))), most)
        round_gone: list[int] = []
        while queue and len(round_gone) < count:
            _, place, asked_after = queue[0]  # what it costs, as asked after so many had gone in this round
            unit = int(free[place])
            if asked_after == len(round_gone):
                heapq.heappop(queue)
                jury.drop(unit)
                round_gone.append(unit)
            else:
                heapq.heapreplace(queue, (jury.rise(unit) + float(offset[place]), place, len(round_gone)))
        return round_gone

    def _cut(self, keep: np.ndarray) -> None:
        for fold in self._folds:
            fold.cut(torch.as_tensor(keep, device=fold.places.device))
        self.left, self._fixed, self._prior, self._by_heart = (
            each[keep] for each in (self.left, self._fixed, self._prior, self._by_heart)
        )


def stages(k_max: int, k_min: int, *, share: float = 0.7) -> Iterator[int]:
    """Falling sizes, each about ``share`` of the one before; the last is ``k_min``. None where k_max is k_min."""
    size = k_max
    while size > k_min:
        size = max(k_min, min(size - 1, int(size * share)))
        yield size

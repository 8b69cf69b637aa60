"""Backward elimination among the candidates: whose removal costs the least?

Judged by readers (see :mod:`concrete_selectors.reader`) on validation rows and on train rows, cross-fitted: a train row
is judged by a reader that was trained on other train rows, a validation row by all readers. The embeddings of train
rows may know their labels by heart, though (ids, rare codes): where readers do visibly better on train rows than on
validation rows, train rows have no say.
Large sets lose several units between two trainings of the readers, but never two that stand in for each other: each is
tried again with the others of its round gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from concrete_selectors.contract import Loss
from concrete_selectors.jury import Jury, Look
from concrete_selectors.reader import BATCH, Cache, Reader, train_reader

#: Readers, each trained on the rows that the others judge.
FOLDS = 2
#: Sets above this size lose several units per look, at most this share of them.
_ONE_BY_ONE = 48
_CHUNK = 0.1
#: A reader's first training, and its renewal at each stage: passes over its rows, but at least so many steps.
_FIRST, _RENEWAL = (3.0, 300), (0.5, 30)
#: Standard errors by which the loss on train rows may lie below that on validation rows.
_BY_HEART = 2.0
#: Validation rows below which they cannot stand alone.
_FEWEST_HELD_OUT = 512


@dataclass
class _Fold:
    """A reader with the rows it learns from and the rows it judges, with their places among all judged rows."""

    reader: Reader
    learned: Cache
    judged: Cache
    places: Tensor


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
        prior: (k,) added to a unit's rise of the loss before units are compared, in medians of their rises; below zero
            for units that one would rather be without (dear ones). None = zero.

    Attributes:
        left: (k,) int64, units still open, numbered as at the start.
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
    ) -> None:
        self._random = np.random.default_rng(seed)
        self._loss, self._n_masks, self._trust = loss, n_masks, trust
        self.left = np.arange(len(fixed))
        self.work = 0.0
        self._fixed = fixed.copy()
        self._prior = np.zeros(len(fixed)) if prior is None else prior.astype(np.float64)
        self._fresh = True
        self._doubt: float | None = None
        shared = 0 if validation is None else min(len(validation.target), judged_rows // 2)
        self._held_out = None
        if validation is not None:
            self._held_out = validation.rows(torch.arange(shared, device=validation.target.device))
        generator = torch.Generator().manual_seed(seed)
        self._folds = _folds(train, self._held_out, max(judged_rows - shared, 1), generator)

    def shrink(self, down_to: int) -> list[int]:
        """Trains the readers, then drops units until ``down_to`` are left or all that is left is fixed.

        Returns:
            The dropped units (numbered as at the start), in the order they went. ``left`` holds the others.
        """
        for fold in self._folds:
            steps = _steps(_FIRST if self._fresh else _RENEWAL, len(fold.learned.target))
            self.work += steps * min(BATCH, len(fold.learned.target)) * fold.reader.n_weights
            train_reader(
                fold.reader,
                fold.learned,
                loss=self._loss,
                steps=steps,
                fixed=self._fixed,
                smallest=max(down_to, 1),
                n_masks=self._n_masks,
                random=self._random,
                trust=self._trust,
            )
        if self._fresh:
            self._forget_memorised()
        self._fresh = False
        looks = [Look(fold.reader, fold.judged, loss=self._loss) for fold in self._folds]
        jury = Jury(looks, [fold.places for fold in self._folds], doubt=self._doubt)
        opened = list(range(len(self.left)))
        gone: list[int] = []
        while len(opened) > down_to and not self._fixed[opened].all():
            size = len(opened)
            count = 1 if size <= _ONE_BY_ONE else min(max(1, int(_CHUNK * size)), size - down_to)
            for unit in self._drop_cheapest(jury, opened, count):
                opened.remove(unit)
                gone.append(unit)
        self.work += jury.work
        self._doubt = jury.doubt
        dropped: list[int] = self.left[gone].tolist()
        self._cut(np.array(opened, dtype=np.int64))
        return dropped

    def _forget_memorised(self) -> None:
        """Leaves train rows out of the judgement where readers know more about them than about validation rows."""
        held_out = self._held_out
        if held_out is None or len(held_out.target) < _FEWEST_HELD_OUT:
            return
        shared = len(held_out.target)
        losses = [Look(fold.reader, fold.judged, loss=self._loss).losses()[1] for fold in self._folds]
        train = torch.cat([each[:-shared] for each in losses])
        validation = torch.stack([each[-shared:] for each in losses]).mean(dim=0)
        noise = (train.var() / len(train) + validation.var() / shared).sqrt()
        if bool(validation.mean() - train.mean() > _BY_HEART * noise):
            for fold in self._folds:
                fold.judged, fold.places = held_out, torch.arange(shared, device=fold.places.device)

    def _drop_cheapest(self, jury: Jury, opened: list[int], count: int) -> list[int]:
        """Closes up to ``count`` units that are cheap to drop, alone and together."""
        free = np.array([unit for unit in opened if not self._fixed[unit]])
        rises = jury.rises(free.tolist())
        offset = self._prior[free] * float(np.median(np.abs(rises)))
        alone = rises + offset
        order = np.argsort(alone, kind="stable")[: 2 * count]
        allowed = max(float(alone[order[min(count, len(order)) - 1]]), 0.0)
        gone: list[int] = []
        before = 0.0
        for place in order:
            unit = int(free[place])
            # What stands in for it may have gone since it was asked for alone.
            after = float(rises[place]) if not gone else jury.rise(unit)
            if gone and after - before + float(offset[place]) > allowed:
                continue
            before = after
            gone.append(unit)
            jury.drop(unit)
            if len(gone) == count:
                break
        return gone

    def _cut(self, keep: np.ndarray) -> None:
        self.left, self._fixed, self._prior = self.left[keep], self._fixed[keep], self._prior[keep]
        for fold in self._folds:
            index = torch.as_tensor(keep, device=fold.judged.inputs.device)
            fold.reader.cut(index)
            fold.learned, fold.judged = fold.learned.units(index), fold.judged.units(index)


def _steps(training: tuple[float, int], rows: int) -> int:
    epochs, fewest = training
    return max(fewest, round(epochs * rows / BATCH))


def _folds(train: Cache, held_out: Cache | None, train_rows: int, generator: torch.Generator) -> list[_Fold]:
    """Readers with their rows: for each the train rows that the others learn from, and all validation rows last."""
    device = train.target.device
    rows = torch.arange(len(train.target), device=device)
    shared = 0 if held_out is None else len(held_out.target)
    folds = []
    for number in range(FOLDS):
        own = rows[rows % FOLDS == number][: -(-train_rows // FOLDS)]
        judged, places = train.rows(own), shared + own
        if held_out is not None:
            judged, places = judged.join(held_out), torch.cat([places, torch.arange(shared, device=device)])
        others = rows[rows % FOLDS != number] if len(rows) >= FOLDS else rows
        folds.append(_Fold(Reader(train, generator=generator), train.rows(others), judged, places))
    return folds


def stages(k_max: int, k_min: int, *, share: float = 0.7) -> Iterator[int]:
    """Falling sizes, each about ``share`` of the one before; the last is ``k_min``. None where k_max is k_min."""
    size = k_max
    while size > k_min:
        size = max(k_min, min(size - 1, int(size * share)))
        yield size

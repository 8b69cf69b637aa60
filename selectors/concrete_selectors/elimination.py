"""Backward elimination among the candidates: whose removal costs the least?

Judged by readers (see :mod:`concrete_selectors.reader`), cross-fitted: train rows are judged by a reader that was
trained on other train rows, validation rows by all readers. Large sets lose several units between two trainings of the
readers, but never two that stand in for each other: each is tried again with the others of its round gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from concrete_selectors.contract import Loss
from concrete_selectors.reader import BATCH, Cache, Look, Reader, train_reader

#: Readers, each trained on the rows that the others judge.
FOLDS = 2
#: Sets above this size lose several units per look, at most this share of them.
_ONE_BY_ONE = 48
_CHUNK = 0.1
#: A reader's first training, and its renewal at each stage: passes over its rows, but at least so many steps.
_FIRST, _RENEWAL = (3.0, 300), (0.5, 30)


@dataclass
class _Fold:
    """A reader with the rows it learns from and the rows it judges."""

    reader: Reader
    learned: Cache
    judged: Cache


class Eliminator:
    """Shrinks a set of units one stage at a time.

    Args:
        train: cached train rows.
        validation: cached validation rows, possibly none.
        fixed: (k,) bool, units that may not go; both in the order of the caches' units.
        loss: per-row loss.
        judged_rows: most rows judged on, about half of them validation rows.
        n_masks: random subsets per training batch.
        seed: of readers, rows and subsets.

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
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._random = np.random.default_rng(seed)
        self._loss, self._n_masks = loss, n_masks
        self.left = np.arange(len(fixed))
        self._fixed = fixed.copy()
        self._fresh = True
        self.work = 0.0
        self._folds: list[_Fold] = []
        rows = torch.arange(len(train.target), device=train.target.device)
        for number in range(FOLDS):
            own = rows[rows % FOLDS == number][: judged_rows // (2 * FOLDS)]
            others = rows[rows % FOLDS != number] if len(rows) >= FOLDS else rows
            judged = train.rows(own)
            if validation is not None:
                judged = _joined(judged, validation.rows(torch.arange(len(validation.target))[: judged_rows // 2]))
            self._folds.append(_Fold(Reader(train, generator=generator), train.rows(others), judged))

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
            )
        self._fresh = False
        looks = [Look(fold.reader, fold.judged, loss=self._loss) for fold in self._folds]
        opened = list(range(len(self.left)))
        gone: list[int] = []
        while len(opened) > down_to and not self._fixed[opened].all():
            size = len(opened)
            count = 1 if size <= _ONE_BY_ONE else min(max(1, int(_CHUNK * size)), size - down_to)
            for unit in self._drop_cheapest(looks, opened, count):
                opened.remove(unit)
                gone.append(unit)
        self.work += sum(look.work for look in looks)
        dropped: list[int] = self.left[gone].tolist()
        self._cut(np.array(opened, dtype=np.int64))
        return dropped

    def _drop_cheapest(self, looks: list[Look], opened: list[int], count: int) -> list[int]:
        """Closes up to ``count`` units that are cheap to drop, alone and together."""
        free = [unit for unit in opened if not self._fixed[unit]]
        alone = np.array([_total(looks, unit) for unit in free])
        order = np.argsort(alone, kind="stable")[: 2 * count]
        before = sum(look.loss() for look in looks) if count > 1 else 0.0
        allowed = max(alone[order[min(count, len(order)) - 1]] - before, 0.0)
        gone: list[int] = []
        for place in order:
            value = alone[place] if not gone else _total(looks, free[place])
            if not gone or value - before <= allowed:
                gone.append(free[place])
                before = value
                for look in looks:
                    look.drop(free[place])
            if len(gone) == count:
                break
        return gone

    def _cut(self, keep: np.ndarray) -> None:
        self.left, self._fixed = self.left[keep], self._fixed[keep]
        for fold in self._folds:
            index = torch.as_tensor(keep, device=fold.judged.inputs.device)
            fold.reader.cut(index)
            fold.learned, fold.judged = fold.learned.units(index), fold.judged.units(index)


def _total(looks: list[Look], without: int) -> float:
    return sum(look.without(without) for look in looks)


def _steps(training: tuple[float, int], rows: int) -> int:
    epochs, fewest = training
    return max(fewest, round(epochs * rows / BATCH))


def _joined(first: Cache, second: Cache) -> Cache:
    inputs, target = torch.cat([first.inputs, second.inputs]), torch.cat([first.target, second.target])
    return replace(first, inputs=inputs, target=target)


def stages(k_max: int, k_min: int, *, share: float = 0.7) -> Iterator[int]:
    """Falling sizes, each about ``share`` of the one before; the last is ``k_min``. None where k_max is k_min."""
    size = k_max
    while size > k_min:
        size = max(k_min, min(size - 1, int(size * share)))
        yield size

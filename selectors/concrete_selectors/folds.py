"""Cross-fitting: readers, each with the rows it learns from and the rows it judges."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from concrete_selectors.reader import Cache, Reader

#: Readers, each trained on the rows that the other judges.
FOLDS = 2


@dataclass
class Fold:
    """A reader with the rows it learns from and the rows it judges.

    Attributes:
        reader: changed in place.
        learned: rows it learns from.
        judged: rows it judges, held-out rows last.
        places: (R,) int64, places of ``judged`` among the rows that any reader judges; held-out rows have the first.
    """

    reader: Reader
    learned: Cache
    judged: Cache
    places: Tensor

    def cut(self, keep: Tensor) -> None:
        """Removes all other units for good; exact, for a closed unit contributes zero."""
        self.reader.cut(keep)
        self.learned, self.judged = self.learned.units(keep), self.judged.units(keep)

    def held_out(self, rows: int) -> Cache:
        """The last of the judged rows, which are held out."""
        last = len(self.judged.target)
        return self.judged.rows(torch.arange(last - rows, last, device=self.places.device))


def make_folds(train: Cache, held_out: Cache | None, train_rows: int, generator: torch.Generator) -> list[Fold]:
    """Readers with their rows: for each the train rows that the others learn from, and all held-out rows last.

    Args:
        train: cached train rows.
        held_out: cached rows that no network was trained on, possibly none.
        train_rows: most train rows that are judged, by all readers together.
        generator: of the readers' initial weights.
    """
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
        folds.append(Fold(Reader(train, generator=generator), train.rows(others), judged, places))
    return folds

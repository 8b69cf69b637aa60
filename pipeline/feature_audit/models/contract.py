"""What a training needs of others: a store to read batches from, rows that fit into memory, a device.

The store is a structural type, so a team's own one joins without importing anything from here. The model contract
(``embed``, ``predict``) is ``concrete_selectors.protocols.EmbeddingModel``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import torch

from feature_audit.batch import Batch
from feature_audit.schema import ModelSchema, SplitName


class TrainingStore(Protocol):
    """Encoded rows of the three splits (``train``, ``validation``, ``test``)."""

    def rows(self, split: SplitName) -> int:
        """Rows in a split."""
        ...

    def batches(
        self, split: SplitName, size: int, *, seed: int | None = None, schema: ModelSchema | None = None
    ) -> Iterable[Batch]:
        """Batches of at most ``size`` rows, in the split's order where ``seed`` is None, else shuffled by it."""
        ...

    def target(self, split: SplitName) -> Any:
        """Labels of a split as an array of shape (rows,); of several targets the decision target's."""
        ...

    def targets(self, split: SplitName) -> Any:
        """Labels of all of several targets, (rows, targets), NaN where a row has none; of one target never asked."""
        ...

    def weight(self, split: SplitName) -> Any:
        """How many rows each row counts as, (rows,) > 0 in any unit; None = all alike.

        Batches have the same in units of the mean over train (``Batch.weight``).
        """
        ...


#: Cells (rows x features) of a batch, at most: bounds memory on wide tables, whose embeddings are the largest tensors.
_MOST_CELLS = 2_000_000


def rows_that_fit(wanted: int, schema: ModelSchema) -> int:
    """Rows of a batch: as many as wanted, fewer where the table is so wide that they would fill the memory."""
    return min(wanted, max(32, _MOST_CELLS // max(len(schema.fields), 1)))


def resolve_device(device: str) -> torch.device:
    """``auto`` becomes CUDA where there is one, else the CPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)

"""What training requires of others: a store to read batches from, batches that fit into memory, a device.

The store is a structural type, so a custom store needs no import from this package. The model contract (``embed``,
``predict``) is ``concrete_selectors.protocols.EmbeddingModel``.
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
        """Batches of at most ``size`` rows, in the split's order if ``seed`` is None, otherwise shuffled."""
        ...

    def target(self, split: SplitName) -> Any:
        """Labels of a split as an array of shape (rows,); with several targets those of the decision target."""
        ...

    def targets(self, split: SplitName) -> Any:
        """Labels of all targets, (rows, targets), NaN where a row has none; only called with several targets."""
        ...

    def weight(self, split: SplitName) -> Any:
        """Row weights, (rows,) > 0 in any unit; None = equal weights.

        Batches contain them divided by their train mean (``Batch.weight``).
        """
        ...


#: Maximum number of cells (rows x features) in a batch: bounds memory on wide tables, where embeddings dominate.
_MOST_CELLS = 2_000_000


def rows_that_fit(wanted: int, schema: ModelSchema) -> int:
    """Batch size: as many rows as wanted, fewer if the table is so wide that they would not fit into memory."""
    return min(wanted, max(32, _MOST_CELLS // max(len(schema.fields), 1)))


def resolve_device(device: str) -> torch.device:
    """Resolve ``auto`` to CUDA if available, else the CPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)

"""The input of a selection: a trained model, its data and the constraints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from concrete_selectors.protocols import Batches, EmbeddingModel, Loss, TeacherProtocol, Weights


@dataclass(frozen=True)
class SelectionTask:
    """A trained model, its train and validation rows, and the constraints of a selection.

    Features are numbered 0 to N - 1, in the order in which the model embeds them.

    Attributes:
        model: trained torch module that follows the contract; deep copies of it are trained, it is not changed.
        train: train batches per epoch number.
        validation: validation batches, on which removals are judged.
        loss: per-row loss of the task.
        steps_per_epoch: batches of one train epoch.
        protected: features that are always kept, with their whole group.
        excluded: features that are never kept, with their whole group; they always enter as their mean embedding.
        groups: group id per feature; a group is kept or dropped as a whole, and K counts groups. None = no groups.
        prior: (N,) added to the selector's logits: relevance, or a negative cost; a group takes its mean. The
            elimination adds it in units of the median removal cost of a single group. None = no prior.
        teacher: predictions of the trained model as targets of the loss. None = labels only.
        weight: row weights of a batch, in every loss; rankers of the table ignore them. None = equal weights.

    Raises:
        ValueError: an epoch has no batch.
    """

    model: EmbeddingModel
    train: Batches
    validation: Batches
    loss: Loss
    steps_per_epoch: int
    protected: Sequence[int] = ()
    excluded: Sequence[int] = ()
    groups: Sequence[int] | None = None
    prior: Tensor | None = None
    teacher: TeacherProtocol | None = None
    weight: Weights | None = None

    def __post_init__(self) -> None:
        if self.steps_per_epoch < 1:
            raise ValueError(f"steps_per_epoch={self.steps_per_epoch}: give at least 1")

"""What to select from: a trained model, its data, and what may be kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from concrete_selectors.protocols import Batches, EmbeddingModel, Loss, TeacherProtocol, Weights


@dataclass(frozen=True)
class SelectionTask:
    """A trained model, the rows it learned from, and the constraints of a selection.

    Features are numbered as the model embeds them, 0 to N - 1.

    Attributes:
        model: trained torch module of the contract; deep copies of it are trained, it is left as it is.
        train: train batches per epoch number.
        validation: validation batches, on which removals are judged.
        loss: per-row loss of the task.
        steps_per_epoch: batches of one train epoch.
        protected: features that are always kept, with their whole group.
        excluded: features that are never kept, with their whole group; they are fed as their mean embedding throughout.
        groups: group id per feature; a group is kept or dropped as one, and K counts groups. None = no groups.
        prior: (N,) added to the selector's logits: relevance, or a negative cost; a group takes its mean. The
            elimination adds it, in medians of what single groups are worth. None = none.
        teacher: predictions of the trained model as targets of the loss. None = labels alone.
        weight: of the rows of a batch, in every loss; rankers of the table read none. None = all rows count alike.

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
            raise ValueError(f"steps_per_epoch={self.steps_per_epoch}: an epoch has at least 1 batch")

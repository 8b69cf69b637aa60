"""The task and criterion of a selection, as plain values without the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from feature_audit.selection.k.rule import Criterion
from feature_audit.selection.study import SearchSpace


@dataclass(frozen=True)
class FullModel:
    """The trained full model.

    Attributes:
        model: follows the model contract, over the store's fields.
        train_scores, validation_scores: scores of these rows, in the form of ``feature_audit.models.predict``.
        active_parameters: parameters that one row uses (see ``feature_audit.fitting``).
        compared_with: validation scores of the full model with which retrainings are compared; None = this one's.
    """

    model: nn.Module
    train_scores: Any
    validation_scores: Any
    active_parameters: int
    compared_with: Any = None


@dataclass(frozen=True)
class SelectionPlan:
    """Settings of the selection.

    Attributes:
        selector: ``ip_cae``, ``cae``, or a baseline, which has one trial and no settings.
        trials: number of selection runs whose rankings are combined.
        space: ranges of the trials' settings; there are more slots than the largest K.
        criterion: criterion of the verdict.
        seed: seed of all random numbers.
        batch_size: rows of a train batch.
        epochs: train epochs of a concrete training.
        learning_rate: learning rate of the network, which is trained together with the selector.
        further: further target -> metric and margin, for those that a pass requires.
    """

    selector: str
    trials: int
    space: SearchSpace
    criterion: Criterion
    seed: int
    batch_size: int
    epochs: float
    learning_rate: float
    further: Mapping[str, tuple[str, float]] = field(default_factory=dict)

    @property
    def searches(self) -> bool:
        """False for a baseline."""
        return self.selector in ("ip_cae", "cae")

"""What a selection is asked to do, and by what its result will be judged: plain values, no configuration."""

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
        model: of the model contract, over the store's fields.
        train_scores, validation_scores: of these rows, as ``feature_audit.models.predict`` gives them.
        active_parameters: parameters that one row passes through (see ``feature_audit.fitting``).
        compared_with: validation scores of the full model that retrainings are compared with; None = of this one.
    """

    model: nn.Module
    train_scores: Any
    validation_scores: Any
    active_parameters: int
    compared_with: Any = None


@dataclass(frozen=True)
class SelectionPlan:
    """How the selection goes about it.

    Attributes:
        selector: ``ip_cae``, ``cae``, or a baseline, which has one trial and no settings.
        trials: selection runs that rank together.
        space: settings that the trials draw; more slots than the largest K.
        criterion: of the verdict.
        seed: start of all random numbers.
        batch_size: rows of a train batch.
        epochs: passes over train of a concrete training.
        learning_rate: of the network, which is trained along.
        further: further target -> metric and margin, of those that a pass needs.
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

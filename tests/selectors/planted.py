"""Selections of the planted task, as the tests of the two faces and of the card ask for them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from concrete_selectors import PathSettings, SelectionPath, learn_path, rank_with


def learn(task: SimpleNamespace, *, settings: dict[str, Any] | None = None, **arguments: Any) -> SelectionPath:
    """A path from six features down."""
    return learn_path(
        task.model,
        task.train,
        task.validation,
        loss=task.loss,
        steps_per_epoch=task.steps_per_epoch,
        settings=PathSettings(**{"k_max": 6, "epochs": 3, "finetune_epochs": 1, **(settings or {})}),
        **arguments,
    )


def rank(name: str, task: SimpleNamespace, *, matrix: Any = None, **arguments: Any) -> SelectionPath:
    """A selector by name."""
    return rank_with(
        name,
        task.model,
        task.train,
        task.validation,
        loss=task.loss,
        steps_per_epoch=task.steps_per_epoch,
        settings=PathSettings(k_max=6, epochs=4, finetune_epochs=0.5),
        matrix=task.matrix if matrix is None else matrix,
        **arguments,
    )

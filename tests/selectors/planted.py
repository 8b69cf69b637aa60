"""Selections of the planted task for the tests of the model interface, the baselines and CUDA."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from concrete_selectors import NestedModel, PathSettings, SelectionPath, SelectionTask, fit_nested, fit_path, rank_with


def task_of(task: SimpleNamespace, **constraints: Any) -> SelectionTask:
    """The library's task for a planted one."""
    return SelectionTask(task.model, task.train, task.validation, task.loss, task.steps_per_epoch, **constraints)


def settings_of(**changes: Any) -> PathSettings:
    """From six features down, in a short training."""
    return PathSettings(**{"k_max": 6, "epochs": 3, "finetune_epochs": 1, **changes})


def learn(
    task: SimpleNamespace,
    *,
    settings: dict[str, Any] | None = None,
    progress: Any = None,
    should_stop: Any = None,
    **constraints: Any,
) -> SelectionPath:
    """A path from six features down."""
    return fit_path(
        task_of(task, **constraints), settings_of(**(settings or {})), progress=progress, should_stop=should_stop
    )


def nest(task: SimpleNamespace, ranking: Any, ks: Any, *, settings: Any = None, **constraints: Any) -> NestedModel:
    """A network fine-tuned on prefixes of a ranking."""
    return fit_nested(task_of(task, **constraints), ranking, ks, settings_of(**(settings or {})))


def rank(name: str, task: SimpleNamespace, *, matrix: Any = None, **constraints: Any) -> SelectionPath:
    """A selector by name."""
    return rank_with(
        name, task_of(task, **constraints), settings_of(epochs=4), matrix=task.matrix if matrix is None else matrix
    )


def signals(rows: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Ten columns, of which 2 and 5 determine the class."""
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, 10))
    return x, (x[:, 2] + x[:, 5] + 0.1 * random.normal(size=rows) > 0).astype(int)

"""State shared by all selections on a trained model: a gated copy of it, the data, and counts of rows processed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import islice
from typing import Any

import torch
from torch import nn

from concrete_selectors.embeddings import FlatModel
from concrete_selectors.gates.evaluation import GatedEvaluator, collect
from concrete_selectors.gates.feature_groups import FeatureGroups
from concrete_selectors.gates.gating import FieldMeans, device_of
from concrete_selectors.gates.training import GatedNetwork, endless
from concrete_selectors.lazy_adam import LazyAdamW
from concrete_selectors.settings import PathSettings
from concrete_selectors.task import SelectionTask

#: Number of batches for the exact mean embeddings, before and after training.
_MEAN_BATCHES = 8

#: Called with a dict that contains at least ``phase``, ``step`` and ``steps``.
Progress = Callable[[dict[str, Any]], None]


class SelectionContext:
    """A gated copy of a trained model, its data, and the number of rows sent through it.

    Args:
        task: model, rows and constraints.
        settings: sizes, rates, seed.
        progress: called at every step; None = not called.

    Attributes:
        groups: the feature groups.
        network: the gated copy.
        stream: endless train batches.
        generator: random number generator on the network's device.
        k_max, k_min: range of K among the usable groups; every set contains the protected groups.

    Raises:
        ValueError: K or a constraint does not fit the model.
    """

    def __init__(self, task: SelectionTask, settings: PathSettings, progress: Progress | None = None) -> None:
        module: Any = copy.deepcopy(task.model)
        device = device_of(module) if isinstance(module, nn.Module) else torch.device("cpu")
        means = FieldMeans(enabled=settings.mean_replacement)
        module.eval()
        flat = FlatModel(module)
        means.refresh(flat, islice(task.train(0), _MEAN_BATCHES))
        n_features = len(flat.segments)
        self.task, self.settings, self._progress = task, settings, progress
        self.groups = FeatureGroups(n_features, groups=task.groups, protected=task.protected, excluded=task.excluded)
        weights = [parameter for parameter in module.parameters() if parameter.requires_grad]
        optimizer = LazyAdamW(weights, lr=settings.network_learning_rate, weight_decay=0.0)
        teacher = task.teacher if settings.distillation else None
        self.network = GatedNetwork(
            module, flat, task.loss, self.groups, means, optimizer, device, teacher, task.weight
        )
        self._asked_before = 0 if teacher is None else teacher.rows_asked
        self._validation_rows: int | None = None
        self.stream = endless(task.train)
        self.generator = torch.Generator(device=device).manual_seed(settings.seed)
        usable, kept = self.groups.n_usable, int(self.groups.protected.sum())
        if settings.k_min > usable:
            raise ValueError(f"k_min={settings.k_min}: only {usable} features are usable; give at most {usable}")
        if settings.k_max < kept:
            raise ValueError(f"k_max={settings.k_max}: {kept} features are always kept; raise k_max to at least {kept}")
        self.k_max = min(settings.k_max, usable)
        self.k_min = min(max(settings.k_min, kept, 1), self.k_max)

    @property
    def training_steps(self) -> int:
        """Optimiser steps of the concrete training."""
        return max(self.settings.fewest_steps, round(self.settings.epochs * self.task.steps_per_epoch))

    @property
    def finetuning_steps(self) -> int:
        """Optimiser steps of fine-tuning a network on nested sets."""
        steps = round(self.settings.finetune_epochs * self.task.steps_per_epoch)
        return max(self.settings.fewest_steps // 2, steps, 1)

    @property
    def row_passes(self) -> dict[str, int]:
        """Rows sent through the network so far, ``forward_backward`` and ``forward`` only, including the teacher's."""
        asked = 0 if self.network.teacher is None else self.network.teacher.rows_asked - self._asked_before
        return {"forward_backward": self.network.backward_rows, "forward": self.network.forward_rows + asked}

    def report(self, phase: str, **values: Any) -> None:
        """Forward progress to the callback."""
        if self._progress is not None:
            self._progress({"phase": phase, **values})

    def refresh_means(self) -> None:
        """Recompute the mean embeddings with the current weights."""
        self.network.module.eval()
        self.network.means.refresh(self.network.flat, islice(self.task.train(0), _MEAN_BATCHES))

    def train_rows(self, most: int) -> GatedEvaluator:
        """The network on at most ``most`` train rows."""
        return GatedEvaluator(self.network, collect(self.task.train(self.settings.seed), rows=most))

    def held_out(self, most: int | None = None) -> GatedEvaluator:
        """The network on at most ``most`` validation rows (None = ``judged_rows``), spread evenly over all of them.

        Raises:
            ValueError: there is no validation row.
        """
        if self._validation_rows is None:
            self._validation_rows = sum(len(target) for _, target in self.task.validation(0))
        if not self._validation_rows:
            raise ValueError("validation: contains no row; at least one is needed to judge removals")
        most = self.settings.judged_rows if most is None else most
        return GatedEvaluator(self.network, collect(self.task.validation(0), rows=most, of=self._validation_rows))

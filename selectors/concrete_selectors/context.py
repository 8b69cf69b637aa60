"""What every selection on a trained model starts with: a gated copy of it, the rows, and what they cost."""

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

#: Batches from which mean embeddings are taken exactly, before and after training.
_MEAN_BATCHES = 8

#: Called with a dict that holds ``phase``, ``step`` and ``steps`` at least.
Progress = Callable[[dict[str, Any]], None]


class SelectionContext:
    """A gated copy of a trained model, its data, and the account of the rows sent through it.

    Args:
        task: model, rows and constraints.
        settings: sizes, rates, seed.
        progress: told of every step, or None.

    Attributes:
        groups: of features.
        network: the copy.
        stream: endless train batches.
        generator: of random numbers on the network's device.
        k_max, k_min: range of K among the usable groups; protected ones are in every set.

    Raises:
        ValueError: an argument does not fit the model.
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
            raise ValueError(f"k_min={settings.k_min}: only {usable} features may be kept; give at most as many")
        if settings.k_max < kept:
            raise ValueError(f"k_max={settings.k_max}: {kept} features are always kept; raise k_max to at least {kept}")
        self.k_max = min(settings.k_max, usable)
        self.k_min = min(max(settings.k_min, kept, 1), self.k_max)

    @property
    def training_steps(self) -> int:
        """Optimiser steps of a concrete training."""
        return max(self.settings.fewest_steps, round(self.settings.epochs * self.task.steps_per_epoch))

    @property
    def finetuning_steps(self) -> int:
        """Optimiser steps that fit a network to nested sets."""
        steps = round(self.settings.finetune_epochs * self.task.steps_per_epoch)
        return max(self.settings.fewest_steps // 2, steps, 1)

    @property
    def row_passes(self) -> dict[str, int]:
        """Rows sent through the network so far, ``forward_backward`` and ``forward`` only, the teacher's included."""
        asked = 0 if self.network.teacher is None else self.network.teacher.rows_asked - self._asked_before
        return {"forward_backward": self.network.backward_rows, "forward": self.network.forward_rows + asked}

    def report(self, phase: str, **values: Any) -> None:
        """Passes progress on."""
        if self._progress is not None:
            self._progress({"phase": phase, **values})

    def refresh_means(self) -> None:
        """Takes the mean embeddings anew, with the network as it is now."""
        self.network.module.eval()
        self.network.means.refresh(self.network.flat, islice(self.task.train(0), _MEAN_BATCHES))

    def train_rows(self, most: int) -> GatedEvaluator:
        """The network on train rows, at most so many."""
        return GatedEvaluator(self.network, collect(self.task.train(self.settings.seed), rows=most))

    def held_out(self, most: int | None = None) -> GatedEvaluator:
        """The network on validation rows, at most so many (None = ``judged_rows``), from the whole of ordered data.

        Raises:
            ValueError: there is no validation row.
        """
        if self._validation_rows is None:
            self._validation_rows = sum(len(target) for _, target in self.task.validation(0))
        if not self._validation_rows:
            raise ValueError("validation: gave no row; removals are judged on at least one")
        most = self.settings.judged_rows if most is None else most
        return GatedEvaluator(self.network, collect(self.task.validation(0), rows=most, of=self._validation_rows))

"""What every selection on a trained model shares, concrete or peer: the copied network, rows to judge on, the curve."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from concrete_selectors.gates.evaluation import GatedEvaluator, collect
from concrete_selectors.gates.feature_groups import FeatureGroups
from concrete_selectors.gates.gating import FieldMeans, device_of
from concrete_selectors.gates.training import GatedNetwork, Stream, finetune, network_optimizer
from concrete_selectors.protocols import Batches, EmbeddingModel, Loss, TeacherProtocol
from concrete_selectors.selection_path import SelectionPath
from concrete_selectors.settings import PathSettings

#: Batches from which field means are taken exactly, before and after training.
MEAN_BATCHES = 8
#: Every K up to this one is measured where the path begins below ``_WIDE``; else only the sizes at which stages ended.
_DENSE_KS, _WIDE = 8, 64
#: The trained network is asked about its units' saliency on so many rows at most, and at least.
_SALIENCY_ROWS, _FEWEST_SALIENCY_ROWS = 8_192, 2_048


class SelectionStopped(Exception):
    """``should_stop`` asked for an end; nothing of the path is returned but what it has cost.

    Attributes:
        row_passes, solver_work: as in :class:`concrete_selectors.SelectionPath`.
    """

    def __init__(self, message: str, row_passes: dict[str, int], solver_work: float) -> None:
        super().__init__(message)
        self.row_passes, self.solver_work = row_passes, solver_work


@dataclass(frozen=True)
class Diagnosis:
    """How a ranking came about: scores per unit (higher is better), state of the selector, who carries whom."""

    scores: np.ndarray
    carried_by: np.ndarray
    converged: bool = True
    n_duplicate_argmax: int = 0
    mean_max_probability: float = 1.0


class Run:
    """One selection on a copy of a trained model.

    Args:
        model, train, validation, loss, steps_per_epoch, settings, protected, groups, progress, should_stop, expect:
            as in :func:`concrete_selectors.learn_path`.

    Raises:
        ValueError: an argument does not fit the model.
    """

    def __init__(
        self,
        model: EmbeddingModel,
        train: Batches,
        validation: Batches,
        *,
        loss: Loss,
        steps_per_epoch: int,
        settings: PathSettings,
        protected: Sequence[int] = (),
        groups: Sequence[int] | None = None,
        progress: Callable[[dict[str, Any]], None] | None = None,
        should_stop: Callable[[int, float], bool] | None = None,
        expect: TeacherProtocol | None = None,
    ) -> None:
        if steps_per_epoch < 1:
            raise ValueError(f"steps_per_epoch={steps_per_epoch}: an epoch has at least 1 batch")
        module: Any = copy.deepcopy(model)
        device = device_of(module) if isinstance(module, nn.Module) else torch.device("cpu")
        means = FieldMeans(enabled=settings.mean_replacement)
        module.eval()
        n_features = len(means.refresh(module, islice(train(0), MEAN_BATCHES)))
        optimizer = network_optimizer(module, settings.network_learning_rate)
        self.settings, self.steps_per_epoch = settings, steps_per_epoch
        self.units = FeatureGroups(n_features, groups=groups, protected=protected)
        self.network = GatedNetwork(module, loss, self.units, means, optimizer, device)
        if settings.trust:
            self.network.expected = expect
        self.train, self.validation = train, validation
        self.stream = Stream(train)
        self.generator = torch.Generator(device=device).manual_seed(settings.seed)
        self.random = np.random.default_rng(settings.seed)
        self.forward_rows = self.backward_rows = 0
        self._asked_before = 0 if expect is None else expect.rows_asked
        self.solver_work = 0.0
        self._validation_rows: int | None = None
        self._progress, self._should_stop = progress, should_stop
        if settings.k_min > self.units.n_units:
            raise ValueError(
                f"k_min={settings.k_min}: the model embeds {self.units.n_units} units; give at most as many"
            )
        self.k_max = min(settings.k_max, self.units.n_units)
        kept = int(self.units.protected.sum())
        if self.k_max < kept:
            raise ValueError(f"k_max={settings.k_max}: {kept} features are always kept; raise k_max to at least {kept}")
        self.k_min = min(max(settings.k_min, kept, 1), self.k_max)

    @property
    def training_steps(self) -> int:
        """Optimiser steps of a concrete training."""
        return max(self.settings.fewest_steps, round(self.settings.epochs * self.steps_per_epoch))

    @property
    def finetuning_steps(self) -> int:
        """Optimiser steps that fit the network to nested sets; 0 where the settings want none."""
        epochs = self.settings.finetune_epochs
        return max(self.settings.fewest_steps // 2, round(epochs * self.steps_per_epoch), 1) if epochs > 0 else 0

    def report(self, phase: str, **values: Any) -> None:
        """Passes progress on."""
        if self._progress is not None:
            self._progress({"phase": phase, **values})

    def ask_to_stop(self, step: int, alive: np.ndarray) -> None:
        """Offers the validation loss behind ``alive`` to the caller.

        Raises:
            SelectionStopped: the caller had enough.
        """
        if self._should_stop is None:
            return
        with self.curve_judge() as judge:
            value = float(judge.losses(self.units.mask(alive, self.network.device).unsqueeze(0))[0])
        if self._should_stop(step, value):
            message = f"stopped with {len(alive)} features open at validation loss {value:.5f}"
            raise SelectionStopped(message, self.row_passes, self.solver_work)

    @property
    def row_passes(self) -> dict[str, int]:
        """Rows sent through the network so far, ``forward_backward`` and ``forward`` only."""
        asked = 0 if self.network.expected is None else self.network.expected.rows_asked - self._asked_before
        return {"forward_backward": self.stream.rows + self.backward_rows, "forward": self.forward_rows + asked}

    def judge(self, *, train_rows: int) -> GatedEvaluator:
        """Train rows to look at, at most so many."""
        return GatedEvaluator(self.network, collect(self.train(self.settings.seed), rows=train_rows), done=self._count)

    def held_out_judge(self, most_rows: int) -> GatedEvaluator:
        """Validation rows to look at, at most so many, from the whole of ordered data.

        Raises:
            ValueError: there is no validation row.
        """
        if self._validation_rows is None:
            self._validation_rows = sum(len(target) for _, target in self.validation(0))
        if not self._validation_rows:
            raise ValueError("validation: gave no row; removals and the curve are judged on at least one")
        every = max(1, self._validation_rows // most_rows)
        return GatedEvaluator(self.network, collect(self.validation(0), rows=most_rows, every=every), done=self._count)

    def saliency_judge(self) -> GatedEvaluator:
        """Rows for questions to the trained network: validation rows, and train rows where these are few.

        A network overrates what it has memorised of train rows, so they are only asked where there is no choice.
        """
        judge = self.held_out_judge(_SALIENCY_ROWS)
        missing = _FEWEST_SALIENCY_ROWS - judge.rows
        if missing <= 0:
            return judge
        return GatedEvaluator(
            self.network, [*judge.parts, *collect(self.train(self.settings.seed), rows=missing)], done=self._count
        )

    def curve_judge(self) -> GatedEvaluator:
        """The held-out rows on which removals are judged."""
        return self.held_out_judge(self.settings.judged_rows)

    def _count(self, judge: GatedEvaluator) -> None:
        self.forward_rows += judge.forward_rows
        self.backward_rows += judge.backward_rows

    def fit_nested(self, order: np.ndarray, *, steps: int) -> None:
        """Fine-tunes one network for all K: groups of rows see the first k units of the order, k log-uniform.

        The user's model as teacher keeps it from overfitting the labels, which it has seen often by now.
        """
        device = self.network.device
        rank = torch.empty(len(order), device=device)
        rank[torch.as_tensor(order, device=device)] = torch.arange(len(order), device=device).float()

        def draw() -> Tensor:
            logs = self.random.uniform(math.log(self.k_min), math.log(self.k_max + 1), size=self.settings.noise_masks)
            sizes = torch.as_tensor(np.clip(np.exp(logs).astype(np.int64), self.k_min, self.k_max), device=device)
            return (rank.unsqueeze(0) < sizes.unsqueeze(1)).float()

        for step in range(steps):
            loss = finetune(self.network, self.stream, draw(), trust=self.settings.trust)
            self.report("finetune", step=step + 1, steps=steps, loss=loss)
        self.network.module.eval()
        self.network.means.refresh(self.network.module, islice(self.train(0), MEAN_BATCHES))

    def path(self, order: np.ndarray, diagnosis: Diagnosis, *, grid: Sequence[int]) -> SelectionPath:
        """Measures the curve, where wanted, and puts everything together.

        Args:
            order: (U,) units, best first.
            diagnosis: scores and state of the selector.
            grid: K of the curve; of a narrow table, the small ones as well.
        """
        dense = range(self.k_min, min(_DENSE_KS, self.k_max) + 1) if self.k_max < _WIDE else ()
        ks = tuple(sorted({k for k in (*grid, *dense, self.k_max) if self.k_min <= k <= self.k_max}))
        losses = self._losses(order, ks) if self.settings.measure_curve else {}
        self.network.optimizer.zero_grad(set_to_none=True)
        return SelectionPath(
            ranking=self.units.features(order),
            scores=diagnosis.scores[self.units.of_feature],
            ks=ks,
            loss_at=losses,
            converged=diagnosis.converged,
            n_duplicate_argmax=diagnosis.n_duplicate_argmax,
            mean_max_probability=diagnosis.mean_max_probability,
            carried_by=diagnosis.carried_by[self.units.of_feature],
            row_passes=self.row_passes,
            solver_work=self.solver_work,
            _order=order,
            _units=self.units,
            _module=self.network.module,
            _means=self.network.field_means(),
        )

    def _losses(self, order: np.ndarray, ks: Sequence[int]) -> dict[int, float]:
        with self.curve_judge() as judge:
            losses = judge.losses(torch.stack([self.units.mask(order[:k], self.network.device) for k in ks]))
        return dict(zip(ks, losses.tolist(), strict=True))

"""A trial: one run of the selector on the trained model, which ranks all features."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from concrete_selectors import (
    Matrix,
    NestedModel,
    PathSettings,
    SelectionPath,
    SelectionStopped,
    SelectionTask,
    fit_nested,
    fit_path,
    rank_with,
)
from torch import Tensor

from feature_audit.data import Store
from feature_audit.models import FORWARD_SHARE, row_loss
from feature_audit.models.contract import rows_that_fit
from feature_audit.selection.constraints import Constraints
from feature_audit.selection.plan import FullModel, SelectionPlan
from feature_audit.selection.study import Draw, TrialResult
from feature_audit.selection.teacher import KnownTeacher

log = logging.getLogger(__name__)

#: Rows of a validation batch, unless the table is so wide that fewer fit.
_EVALUATION_ROWS = 4096


class SelectionObjective:
    """The study's objective: maps settings to a ranking and its value.

    A trial's value is minus the surrogate's held-out loss along the path, averaged over log K up to the largest K:
    measured on rows on which neither the model nor the surrogate was trained. Its notes contain ``order`` (features,
    best first), ``scores``, ``compute`` and ``convergence``.

    Args:
        full: the trained full model.
        store: the encoded rows; its device is used for training.
        constraints: constraints on the kept features.
        plan: selector and settings.
        progress: called at every step of a concrete training.
    """

    def __init__(
        self,
        full: FullModel,
        store: Store,
        constraints: Constraints,
        plan: SelectionPlan,
        progress: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.store, self.constraints, self.plan, self.progress = store, constraints, plan, progress
        self._active_parameters = full.active_parameters
        prior = None if constraints.prior is None else torch.tensor(constraints.prior)
        model: Any = full.model.to(store.device)
        self.task = SelectionTask(
            model,
            self._train,
            self._validation,
            loss=row_loss(store.schema.task, store.schema.outputs),
            steps_per_epoch=math.ceil(store.rows("train") / plan.batch_size),
            protected=constraints.protected,
            excluded=constraints.excluded,
            groups=constraints.groups,
            prior=prior,
            teacher=KnownTeacher(full.train_scores, full.validation_scores, store),
            weight=None if store.weight("train") is None else attrgetter("weight"),
        )

    def __call__(self, draw: Draw) -> TrialResult:
        """Run one trial of a study; the result does not depend on when, or in which process, it runs."""
        seed, started = self.plan.seed + draw.number, time.perf_counter()
        early: list[float] = []

        def should_stop(_: int, loss: float) -> bool:
            assert draw.stop_below is not None
            early.append(-loss)
            return -loss < draw.stop_below

        devices = [self.store.device] if self.store.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices=devices):
                torch.manual_seed(seed)  # for the network's dropout
                settings = self._settings(seed, **draw.settings)
                path = self._select(settings, None if draw.stop_below is None else should_stop)
        except SelectionStopped as stopped:
            log.info("select: %s", stopped)
            return TrialResult(None, early[0], time.perf_counter() - started, {"compute": self.compute(stopped)})
        scores = [float(value) if math.isfinite(value) else None for value in path.scores]
        notes = {
            "order": path.ranking.tolist(),
            "scores": scores,
            "compute": self.compute(path),
            "convergence": describe_convergence(path),
            "threads": torch.get_num_threads(),  # needed to interpret the seconds
        }
        value = path_value(path.heldout_loss, self.constraints.max_k)
        return TrialResult(value, early[0] if early else None, time.perf_counter() - started, notes)

    def nested(self, order: np.ndarray, ks: tuple[int, ...]) -> NestedModel:
        """One network fine-tuned on prefixes of a ranking, for the curve over K."""
        settings = self._settings(self.plan.seed, **self.plan.space.point(0, self.plan.seed))
        with torch.random.fork_rng(devices=[self.store.device] if self.store.device.type == "cuda" else []):
            torch.manual_seed(self.plan.seed)
            return fit_nested(self.task, order, ks, settings, progress=self.progress)

    def validation_batches(self) -> Iterator[tuple[Any, Tensor]]:
        """The validation rows, in order."""
        return self._validation(0)

    def compute(self, spent: SelectionPath | SelectionStopped | NestedModel) -> float:
        """Compute of a selection, finished or stopped, in the unit of ``feature_audit.fitting``."""
        passes = spent.row_passes
        rows = passes["forward_backward"] + FORWARD_SHARE * passes["forward"]
        beyond = 0.0 if isinstance(spent, NestedModel) else spent.gate_compute + spent.surrogate_compute
        return float(rows * self._active_parameters + beyond)

    def forward_compute(self, rows: int) -> float:
        """Compute of rows that are only scored."""
        return FORWARD_SHARE * rows * self._active_parameters

    def _settings(self, seed: int, *, slots: float, **schedule: Any) -> PathSettings:
        grouped = self.constraints.groups is not None  # the path counts groups, while the audit counts features
        return PathSettings(
            k_max=int(slots),
            k_min=1 if grouped else self.constraints.min_k,
            selector="cae" if self.plan.selector == "cae" else "ip_cae",
            epochs=self.plan.epochs,
            network_learning_rate=self.plan.learning_rate,
            seed=seed,
            **schedule,
        )

    def _select(self, settings: PathSettings, should_stop: Callable[[int, float], bool] | None) -> SelectionPath:
        if not self.plan.searches:
            return rank_with(self.plan.selector, self.task, settings, matrix=self._matrix)
        return fit_path(self.task, settings, progress=self.progress, should_stop=should_stop)

    def _train(self, epoch: int) -> Iterator[tuple[Any, Tensor]]:
        seed = self.plan.seed * 7919 + epoch + 1
        for batch in self.store.batches("train", self.plan.batch_size, seed=seed):
            yield batch, batch.target

    def _validation(self, _: int) -> Iterator[tuple[Any, Tensor]]:
        for batch in self.store.batches("validation", rows_that_fit(_EVALUATION_ROWS, self.store.schema)):
            yield batch, batch.target

    def _matrix(self) -> Matrix:
        return Matrix(
            self.store.matrix("train"),
            self.store.target("train"),
            categorical=np.array([field.form == "code" for field in self.store.schema.fields]),
            x_validation=self.store.matrix("validation"),
            y_validation=self.store.target("validation"),
        )


def path_value(heldout_loss: dict[int, float], max_k: int) -> float:
    """Minus the held-out loss along a path, averaged over log K; 0 for a ranking without measured losses.

    Args:
        heldout_loss: K -> mean loss.
        max_k: end of the averaging range, so that trials with different numbers of slots are comparable.
    """
    if not heldout_loss:
        return 0.0
    ks = sorted(heldout_loss)
    grid = np.linspace(math.log(ks[0]), math.log(max(max_k, ks[0])), 64)
    return -float(np.interp(grid, np.log(ks), [heldout_loss[k] for k in ks]).mean())


def describe_convergence(path: SelectionPath) -> str:
    """One sentence for the report."""
    state = "converged" if path.converged else "did not fully converge"
    shared = path.n_duplicate_argmax
    slots = "1 slot" if shared == 1 else f"{shared} slots"
    return (
        f"The selector {state}: mean largest selection probability {path.mean_max_probability:.3f}; {slots} shared a "
        "feature with another slot (resolved by maximum-weight assignment)."
    )

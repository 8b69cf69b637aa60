"""One training of a model: early stopping on validation, averaged weights, reproducible by seed."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from concrete_selectors.lazy_adam import LazyAdamW
from concrete_selectors.row_weights import weighted
from concrete_selectors.weight_average import WeightAverage
from torch import nn

from feature_audit.batch import Batch
from feature_audit.config.sections import TrainingConfig
from feature_audit.errors import AuditError
from feature_audit.models.contract import TrainingStore, resolve_device, rows_that_fit
from feature_audit.models.loss import row_loss
from feature_audit.models.output_scaling import OutputScaling, variance_of
from feature_audit.models.prediction import mean_loss
from feature_audit.models.ranks import Ranks
from feature_audit.schema import ModelSchema, Task

#: The batch size of a small table is reduced until an epoch has about this many batches, down to the smallest size.
_BATCHES_PER_EPOCH, _SMALLEST_BATCH = 48, 32
#: If an epoch has fewer steps than this, ``max_epochs`` is raised to as many steps as that many epochs of this length.
_STEPS_PER_EPOCH = 200
#: With fewer train rows, validation rows are few as well, and the validation loss worsens by chance more often.
_FEW_ROWS = 20_000
#: Minimum number of steps between two evaluations of the validation loss.
_STEPS_PER_LOOK = 40


@dataclass(frozen=True)
class TrainResult:
    """Result and cost of a training.

    Attributes:
        model: the given module, with the weights of the best epoch, in eval mode.
        best_epoch, epochs: counted from 1; the best one and how many were run.
        history: per validation: epoch, train_loss, validation_loss, seconds (since the start).
        validation_loss: mean loss of the best epoch, nats or squared target units.
        seconds: wall time; ``examples``: rows passed forward and backward; ``parameters``: trainable parameters.
    """

    model: nn.Module
    best_epoch: int
    epochs: int
    history: list[dict[str, float]]
    validation_loss: float
    seconds: float
    examples: int
    parameters: int


def train(
    model: nn.Module,
    store: TrainingStore,
    schema: ModelSchema,
    *,
    config: TrainingConfig,
    task: Task,
    seed: int,
    device: str = "auto",
    progress: Callable[[dict[str, Any]], None] | None = None,
    ranks: Ranks | None = None,
) -> TrainResult:
    """Train in place on the train split until the validation loss stops falling; the test split is never read.

    Args:
        model: follows the contract; training starts from its current weights (a warm start is possible).
        store: encoded rows.
        schema: the fields of the model.
        config: optimiser and stopping.
        task: chooses the loss.
        seed: seed of the order of rows and of dropout.
        device: ``cpu``, ``cuda`` or ``auto``.
        progress: called with epoch, epochs, batch, batches and loss after every batch.
        ranks: the processes that train this model together, all with the same arguments; None = only this one. Steps,
            losses and the end are the same on all; take the weights from rank 0.

    Raises:
        AuditError: the loss is not finite, or a split is empty.
    """
    started = time.perf_counter()
    place = resolve_device(device)
    model.to(place)
    for split in ("train", "validation"):
        if store.rows(split) == 0:
            raise AuditError(f"split {split} has no rows; change split, test_share or validation_share")
    scale = _fit_scaling(model, store, schema, task)
    run = _Run(
        model, store, schema, task=task, config=config, place=place, loss_scale=scale, progress=progress, ranks=ranks
    )
    history: list[dict[str, float]] = []
    best_loss, best_epoch, best_state, unimproved = math.inf, 0, None, 0
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        torch.manual_seed(ranks.seed(seed) if ranks else seed)
        for epoch in range(1, run.pace.epochs + 1):
            train_loss = run.epoch(epoch, _epoch_seed(seed, epoch))
            if epoch % run.pace.epochs_per_look and epoch < run.pace.epochs:
                continue
            if ranks:
                ranks.align(model)
            with run.average.applied():
                loss = mean_loss(model, store, "validation", schema, task=task, device=str(place), ranks=ranks)
                if not math.isfinite(loss):
                    raise _not_finite(loss, f"on validation after epoch {epoch}")
                if loss < best_loss:
                    best_state = None  # freed before the new copy: tables of millions of codes are large
                    best_loss, best_epoch, best_state, unimproved = loss, epoch, copy.deepcopy(model.state_dict()), -1
            seconds = time.perf_counter() - started
            history.append({"epoch": epoch, "train_loss": train_loss, "validation_loss": loss, "seconds": seconds})
            unimproved += 1
            if unimproved >= run.pace.patience:
                break
    assert best_state is not None  # the first epoch's loss is finite, so it was the best at least once
    model.load_state_dict(best_state)
    model.eval()
    return TrainResult(
        model=model,
        best_epoch=best_epoch,
        epochs=int(history[-1]["epoch"]),
        history=history,
        validation_loss=best_loss,
        seconds=time.perf_counter() - started,
        examples=run.examples,
        parameters=sum(weight.numel() for weight in run.weights),
    )


@dataclass(frozen=True)
class Pace:
    """Batch size, epochs and validation schedule of a training.

    Small tables get smaller batches and more epochs; otherwise training would end after a few steps. The validation
    loss is evaluated after every epoch, or after enough epochs for some progress. The number of epochs that a table
    needs varies by a factor of ten, so the limit is generous and the validation loss stops the training.

    Attributes:
        batch_size: rows of a full batch.
        batches: per epoch, the last one possibly smaller.
        epochs: maximum number of passes over the train split.
        epochs_per_look: number of passes between two validations.
        patience: number of consecutive validations without improvement after which training stops.
    """

    batch_size: int
    batches: int
    epochs: int
    epochs_per_look: int
    patience: int

    @classmethod
    def of(cls, rows: int, config: TrainingConfig, schema: ModelSchema) -> Pace:
        """Pace for a train split of ``rows`` rows; the configured values apply to large ones."""
        size = rows_that_fit(min(config.batch_size, batch_rows(rows, _BATCHES_PER_EPOCH)), schema)
        batches = math.ceil(rows / size)
        epochs = max(config.max_epochs, math.ceil(config.max_epochs * _STEPS_PER_EPOCH / batches))
        patience = config.patience + (rows < _FEW_ROWS)
        return cls(size, batches, epochs, max(1, math.ceil(_STEPS_PER_LOOK / batches)), patience)


def batch_rows(rows: float, steps: int) -> int:
    """Batch size with which about ``steps`` steps cover ``rows`` rows: a power of two, at least 32."""
    return max(_SMALLEST_BATCH, 2 ** round(math.log2(max(rows / steps, 1))))


class _Run:
    """State of one training that persists across batches."""

    def __init__(
        self,
        model: nn.Module,
        store: TrainingStore,
        schema: ModelSchema,
        *,
        config: TrainingConfig,
        task: Task,
        place: torch.device,
        loss_scale: float,
        progress: Callable[[dict[str, Any]], None] | None,
        ranks: Ranks | None,
    ) -> None:
        if ranks:
            ranks.align(model)
        self.ranks = ranks
        self.model, self.store, self.schema = model, store, schema
        self.place, self.loss_scale, self.progress = place, loss_scale, progress
        self.loss = row_loss(task, schema.outputs)
        self.pace = Pace.of(store.rows("train"), config, schema)
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        self.optimiser = LazyAdamW(
            self.weights, lr=config.learning_rate, weight_decay=config.weight_decay, foreach=True
        )
        self.average = WeightAverage(self.weights, decay=config.average_decay)
        self.examples = 0

    def epoch(self, epoch: int, seed: int) -> float:
        """One pass over the train split; returns the mean loss per row."""
        self.model.train()
        total, rows = 0.0, 0
        batches = self.store.batches("train", self.pace.batch_size, seed=seed, schema=self.schema)
        for number, batch in enumerate(batches, start=1):
            loss = self._step(batch.to(self.place)) if self.ranks is None else self._step_together(batch, self.ranks)
            if not math.isfinite(loss):
                raise _not_finite(loss, f"in epoch {epoch}, batch {number}")
            total, rows = total + loss * len(batch), rows + len(batch)
            if self.progress:
                self.progress(
                    {
                        "epoch": epoch,
                        "epochs": self.pace.epochs,
                        "batch": number,
                        "batches": self.pace.batches,
                        "loss": total / rows,
                    }
                )
        self.examples += rows
        return total / rows

    def _step(self, batch: Batch) -> float:
        loss = weighted(self.loss(self.model(batch), batch.target), batch.weight).mean()
        for weight in self.weights:
            weight.grad = None
        (loss / self.loss_scale).backward()
        self.average.step(self.optimiser)
        return loss.item()

    def _step_together(self, batch: Batch, ranks: Ranks) -> float:
        """The same step, of which this rank computes its part."""
        for weight in self.weights:
            weight.grad = None
        part, loss = ranks.part(batch).to(self.place), torch.zeros((), device=self.place)
        if len(part):
            loss = weighted(self.loss(self.model(part), part.target), part.weight).sum()
            (loss / self.loss_scale).backward()
        mean = ranks.mean_gradients(self.weights, loss.detach(), len(part))
        self.average.step(self.optimiser)
        return mean


def _fit_scaling(model: nn.Module, store: TrainingStore, schema: ModelSchema, task: Task) -> float:
    """Fit the output scaling; returns the loss of the best constant (regression), so that scaled losses are near 1."""
    labels = store.targets("train") if schema.outputs else store.target("train")
    target, given = torch.as_tensor(np.asarray(labels)), store.weight("train")
    weight = None if given is None else torch.as_tensor(np.asarray(given, dtype=np.float64) / np.mean(given))
    scaling = getattr(model, "scaling", None)
    if isinstance(scaling, OutputScaling):
        scaling.fit(target, weight)
    if schema.outputs or task != "regression":
        return 1.0  # with several targets, each loss is already scaled
    return max(float(variance_of(target, weight)), 1e-24)


def _epoch_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


def _not_finite(value: float, where: str) -> AuditError:
    return AuditError(
        f"training loss is {value} {where}; lower training.learning_rate or check the data for extreme values"
    )

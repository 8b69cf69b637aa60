"""A model trained on a store, and the files kept of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store, local_copy
from feature_audit.disk import require_room, whole
from feature_audit.fitting.cache import StageFolder
from feature_audit.fitting.compute import active_parameters
from feature_audit.fitting.progress import training_bar
from feature_audit.models import Ranks, build_model, predict, resolve_device, train
from feature_audit.noninferiority import metric
from feature_audit.schema import ModelSchema


@dataclass(frozen=True)
class TrainingFacts:
    """Facts about one training.

    Attributes:
        metric: the decision metric on the validation rows.
        validation_loss: mean loss of the best epoch, nats or squared target units.
        epochs, best_epoch: counted from 1; the number of epochs run and the best one.
        examples: rows passed forward and backward.
        seconds: wall time.
        parameters: number of trainable parameters.
        compute: see ``fitting.compute``.
        history: see ``models.training.TrainResult``.
        seed: seed of initial weights, order of rows and dropout.
    """

    metric: float
    validation_loss: float
    epochs: int
    best_epoch: int
    examples: int
    seconds: float
    parameters: int
    compute: float
    history: list[dict[str, float]]
    seed: int


@dataclass(frozen=True)
class Trained:
    """One trained model on disk.

    Attributes:
        folder: contains ``<name>.npy`` (scores of the validation rows) and, for the built-in loop, ``<name>.pt``
            (weights).
        schema: its fields.
        facts: facts about the training.
        name: name of the training in the folder.
    """

    folder: StageFolder
    schema: ModelSchema
    facts: TrainingFacts
    name: str

    @property
    def weights(self) -> Path:
        """Path of its weights; the file does not exist if an external job trained the model."""
        return self.folder.path / f"{self.name}.pt"

    def validation_scores(self) -> np.ndarray:
        """Scores of the validation rows, in the store's order, in the form of ``models.predict``."""
        return np.load(self.folder.path / f"{self.name}.npy")


def fresh_model(config: AuditConfig, schema: ModelSchema, seed: int) -> nn.Module:
    """An untrained model for the given fields; its initial weights depend only on the seed."""
    return build_model(
        config.model,
        schema,
        embedding_dim=config.training.embedding_dim,
        params=config.model_params,
        attach=config.attach,
        seed=seed,
    )


def active(config: AuditConfig, schema: ModelSchema) -> int:
    """Parameters that a row uses in a model of these fields; builds a model to count them."""
    return active_parameters(fresh_model(config, schema, 0), schema)


def load_model(config: AuditConfig, trained: Trained) -> nn.Module:
    """The trained model, in eval mode on the CPU."""
    return load_weights(config, trained.schema, trained.weights)


def load_weights(config: AuditConfig, schema: ModelSchema, path: Path) -> nn.Module:
    """A model of the given fields with the weights from ``save_weights``, in eval mode on the CPU."""
    model = fresh_model(config, schema, 0)
    model.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    return model.eval()


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a model's weights, to be read by ``load_model``.

    Raises:
        DiskFullError: there is not enough disk space.
    """
    state = model.state_dict()
    needed = sum(value.nbytes for value in state.values() if isinstance(value, torch.Tensor))
    require_room(path.parent, needed, f"the weights {path.name}")
    with whole(path) as file:
        torch.save(state, file)


def weight_bytes(path: Path) -> int:
    """Bytes of the tensors written by ``save_weights``."""
    state = torch.load(path, weights_only=True, map_location="cpu")
    return sum(value.nbytes for value in state.values() if isinstance(value, torch.Tensor))


def open_store(config: AuditConfig, prepared: Prepared, sample: Path | None = None) -> Store:
    """The encoded rows, or those of a sample's folder, with batches on the audit's device.

    Raises:
        AuditError: ``local_dir`` is set and the rows cannot be copied there.
    """
    directory = sample or prepared.directory
    directory = local_copy(directory, config.local_dir) if config.local_dir else directory
    return Store.open(directory, device=resolve_device(config.device))


def train_one(
    config: AuditConfig,
    store: Store,
    schema: ModelSchema,
    *,
    seed: int,
    label: str,
    progress: Callable[[dict[str, Any]], None] | None = None,
    ranks: Ranks | None = None,
) -> tuple[nn.Module, np.ndarray, TrainingFacts]:
    """Train from scratch and score the validation rows.

    Args:
        config, store, schema, seed: define the training.
        label: label of the bar.
        progress: callback that replaces the bar.
        ranks: the processes that train the model together; see ``models.train``.

    Returns:
        model, validation scores, facts.
    """
    model = fresh_model(config, schema, seed)
    with nullcontext(progress) if progress else training_bar(label) as watch:
        result = train(
            model,
            store,
            schema,
            config=config.training,
            task=schema.task,
            seed=seed,
            device=config.device,
            progress=watch,
            ranks=ranks,
        )
    scores = predict(result.model, store, "validation", schema, task=schema.task, device=config.device)
    active = active_parameters(result.model, schema)
    facts = TrainingFacts(
        metric=quality(config, store, scores),
        validation_loss=result.validation_loss,
        epochs=result.epochs,
        best_epoch=result.best_epoch,
        examples=result.examples,
        seconds=result.seconds,
        parameters=result.parameters,
        compute=float(result.examples) * active,
        history=result.history,
        seed=seed,
    )
    return result.model, scores, facts


def quality(config: AuditConfig, store: Store, scores: np.ndarray) -> float:
    """The decision metric on the validation rows."""
    assert config.metric is not None  # the audit resolves metric and task before the first training
    assert config.task is not None
    return metric(config.metric, config.task).value(
        store.target("validation"), store.schema.decision(scores), store.group("validation"), store.weight("validation")
    )

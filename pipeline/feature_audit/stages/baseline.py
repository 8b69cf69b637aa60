"""baseline: train the full model once, or load it, and compare it with gradient boosting and with chance.

If an external job trains the models, a built-in model is trained as well, because the selection needs a model with
gates on its features.
"""

from __future__ import annotations

import logging
import math
import shutil
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store
from feature_audit.engine import Engine, LocalEngine
from feature_audit.fitting.boosting import against_boosting
from feature_audit.fitting.cache import StageFolder, write_marker
from feature_audit.fitting.checkpoint import ENCODERS, load_checkpoint
from feature_audit.fitting.own_training import has_own_training, job_name
from feature_audit.fitting.soundness import References
from feature_audit.fitting.trained import Trained, TrainingFacts, active, open_store, quality, save_weights
from feature_audit.fitting.trainings import Trainings
from feature_audit.models import FORWARD_SHARE, Pace, mean_loss, predict
from feature_audit.noninferiority.chance import Chance, against_chance
from feature_audit.stages.load import locate

log = logging.getLogger(__name__)

KEYS = ("model", "model_params", "attach", "training", "trainer", "command", "seed", "device", "metric")
#: Names of the trainings in the stage's folder.
_FULL, _REFERENCE = "full", "reference"


@dataclass(frozen=True)
class Baseline(Trained):
    """The full model.

    Attributes:
        references: results of its comparisons on validation.
        trainings: its cost in full trainings: 1, or 0 if it was loaded.
        seconds: time for training, or for loading and scoring it.
        origin: how it was obtained, for the cost table.
        reference: a built-in model trained for the selection if an external job trains the models; else None.
    """

    references: References
    trainings: float
    seconds: float
    origin: str
    reference: Trained | None

    @property
    def gated(self) -> Trained:
        """The model to whose features the selection applies gates."""
        return self.reference or self

    @property
    def rate(self) -> float:
        """Compute per second of its training; converts the time of an external training to compute."""
        return self.facts.compute / self.facts.seconds

    @property
    def spent(self) -> float:
        """Cost of this model and the reference in full trainings."""
        return self.trainings + self.reference_cost

    @property
    def reference_cost(self) -> float:
        """Cost of the reference in full trainings."""
        return self.reference.facts.compute / self.facts.compute if self.reference else 0.0


def baseline(config: AuditConfig, prepared: Prepared, folder: StageFolder, engine: Engine | None = None) -> Baseline:
    """Train the full model on every usable feature, load it from the checkpoint, or open an earlier result."""
    store = open_store(config, prepared)
    trainings = Trainings(locate(config), prepared, folder, engine=engine or LocalEngine())
    made = None if folder.done else _make(config, prepared, store, trainings)
    full = trainings.trained(prepared.schema, _FULL)
    scores = prepared.schema.decision(full.validation_scores())
    boosting = against_boosting(config, store, scores, folder)
    if made is not None:
        folder.finish(made)
    result = folder.result()
    # Chance is recomputed, because the confidence is not part of this stage's key: changing it must not retrain.
    chance = _chance(config, store, scores)
    return Baseline(
        folder,
        prepared.schema,
        full.facts,
        _FULL,
        References(chance, boosting),
        result["trainings"],
        result["seconds"],
        result["origin"],
        trainings.trained(prepared.schema, _REFERENCE) if has_own_training(config) else None,
    )


def _make(config: AuditConfig, prepared: Prepared, store: Store, trainings: Trainings) -> dict[str, Any]:
    """Train or load the full model; returns the content of the stage's marker."""
    folder, schema = trainings.folder, prepared.schema
    shutil.copy(prepared.directory / ENCODERS, folder.path / ENCODERS)  # for later users of the weights
    count, started = 1.0, time.perf_counter()
    if config.checkpoint:
        count, origin = 0.0, f"loaded from {config.checkpoint}"
        facts = _load(config, prepared, store, folder)
        seconds = time.perf_counter() - started
    else:
        if has_own_training(config):
            shipped = trainings.with_shipped_loop()
            reference = shipped.fit(
                schema, _REFERENCE, seed=config.seed, label="baseline: reference model for the selection"
            )
            trainings = replace(trainings, rate=reference.compute / reference.seconds)
        facts = trainings.fit(schema, _FULL, seed=config.seed, label="baseline")
        seconds = facts.seconds
        origin = job_name(config) if has_own_training(config) else f"{facts.epochs} epochs"
    log.info("baseline: %s, %.0f s", origin, seconds)
    return {"trainings": count, "seconds": seconds, "origin": origin}


def _load(config: AuditConfig, prepared: Prepared, store: Store, folder: StageFolder) -> TrainingFacts:
    """Store the checkpoint's model as if it had been trained here.

    The cost of its training is unknown, but it is the unit of all other costs. It is set to the geometric mean of the
    minimum and maximum number of epochs that early stopping allows, at the speed at which the model scores.
    """
    schema, task = prepared.schema, prepared.schema.task
    model = load_checkpoint(config, prepared)
    started = time.perf_counter()
    pace = Pace.of(store.rows("train"), config.training, schema)
    size = pace.batch_size  # as in a training, whose speed is estimated here
    scores = predict(model, store, "validation", schema, task=task, device=config.device, batch_size=size)
    seconds, parameters = time.perf_counter() - started, active(config, schema)
    fewest, most = pace.epochs_per_look * (1 + pace.patience), pace.epochs
    examples = store.rows("train") * math.sqrt(fewest * most)
    facts = TrainingFacts(
        metric=quality(config, store, scores),
        validation_loss=mean_loss(model, store, "validation", schema, task=task, device=config.device),
        epochs=0,
        best_epoch=0,
        examples=0,
        seconds=seconds * examples / (FORWARD_SHARE * store.rows("validation")),
        parameters=sum(weight.numel() for weight in model.parameters()),
        compute=examples * parameters,
        history=[],
        seed=config.seed,
    )
    weights, validation = folder.path / f"{_FULL}.pt", folder.path / f"{_FULL}.npy"
    save_weights(model, weights)
    np.save(validation, scores)
    content = {"features": list(schema.names), "facts": asdict(facts)}
    write_marker(folder.path / f"{_FULL}.json", content, [weights, validation])
    return facts


def _chance(config: AuditConfig, store: Store, scores: np.ndarray) -> Chance:
    """The full model against the best constant, on validation."""
    return against_chance(
        store.target("validation"),
        scores[None],
        task=store.schema.task,
        metric=str(config.metric),
        cluster=store.group("validation"),
        confidence=config.confidence,
        weight=store.weight("validation"),
    )

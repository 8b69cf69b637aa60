"""baseline: train the full model once, and compare it with gradient boosting and with chance."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import numpy as np
import torch

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store
from feature_audit.fitting import soundness
from feature_audit.fitting.cache import StageFolder
from feature_audit.fitting.soundness import References
from feature_audit.fitting.trained import Trained, TrainingFacts, open_store, quality, train_one
from feature_audit.models import boosting_scores
from feature_audit.parity import metric, paired_delta
from feature_audit.parity.chance import against_chance
from feature_audit.schema import ModelSchema

log = logging.getLogger(__name__)

KEYS = ("model", "model_params", "attach", "training", "seed", "device", "metric")


@dataclass(frozen=True)
class Baseline(Trained):
    """The full model.

    Attributes:
        references: what its quality on validation is compared with.
    """

    references: References


def baseline(config: AuditConfig, prepared: Prepared, folder: StageFolder) -> Baseline:
    """Train the full model on every usable feature, or open the one trained before."""
    if not folder.done:
        _train(config, prepared, folder)
    result = folder.result()
    facts, references = TrainingFacts.from_dict(result["training"]), References.from_dict(result["references"])
    log.info("baseline: %s", soundness.line(config, facts.metric, references))
    return Baseline(folder, prepared.schema, facts, references)


def _train(config: AuditConfig, prepared: Prepared, folder: StageFolder) -> None:
    store = open_store(config, prepared)
    model, scores, facts = train_one(config, store, prepared.schema, seed=config.seed, label="baseline")
    torch.save(model.state_dict(), folder.path / "weights.pt")
    np.save(folder.path / "validation.npy", scores)
    log.info("baseline: %d epochs, %.0f s", facts.epochs, facts.seconds)
    references = _references(config, store, prepared.schema, scores)
    folder.finish({"training": facts.to_dict(), "references": references.to_dict()})


def _references(config: AuditConfig, store: Store, schema: ModelSchema, full: np.ndarray) -> References:
    """Chance, and gradient boosting on the same encoded rows: parity with a weak baseline would be worth nothing."""
    started = time.perf_counter()
    target, group = store.target("validation"), store.group("validation")
    boosted = boosting_scores(
        store.matrix("train", schema),
        store.target("train"),
        store.matrix("validation", schema),
        task=schema.task,
        categorical=np.array([field.form == "code" for field in schema.fields]),
        seed=config.seed,
    )
    seconds = time.perf_counter() - started
    chosen = metric(str(config.metric), schema.task)
    _, error = paired_delta(chosen, y=target, baseline=full, pruned=boosted, cluster=group)
    chance = against_chance(
        target, full[None], task=schema.task, metric=str(config.metric), cluster=group, confidence=config.confidence
    )
    return References(chance, quality(config, store, boosted), error, seconds)

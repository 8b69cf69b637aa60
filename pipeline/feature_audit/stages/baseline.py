"""baseline: train the full model once, and compare it with gradient boosting and with chance."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass

import numpy as np

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store
from feature_audit.fitting.cache import StageFolder
from feature_audit.fitting.soundness import BOOSTING_REMEDY, References
from feature_audit.fitting.trained import Trained, TrainingFacts, open_store, save_weights, train_one
from feature_audit.models import boosting_scores
from feature_audit.parity import metric
from feature_audit.parity.chance import Chance, against_chance
from feature_audit.parity.references import Reference, against_reference
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
    store = open_store(config, prepared)
    if not folder.done:
        _train(config, store, prepared.schema, folder)
    result = folder.result()
    facts = TrainingFacts.from_dict(result["training"])
    # Chance anew each time: the confidence is no part of this stage's key, because it must not cost a training.
    chance = _chance(config, store, np.load(folder.path / "validation.npy"))
    references = References(chance, Reference(**result["boosting"]), result["boosting_seconds"])
    return Baseline(folder, prepared.schema, facts, references)


def _train(config: AuditConfig, store: Store, schema: ModelSchema, folder: StageFolder) -> None:
    model, scores, facts = train_one(config, store, schema, seed=config.seed, label="baseline")
    save_weights(model, folder.path / "weights.pt")
    np.save(folder.path / "validation.npy", scores)
    log.info("baseline: %d epochs, %.0f s", facts.epochs, facts.seconds)
    started = time.perf_counter()
    boosting = _boosting(config, store, schema, scores)
    seconds = time.perf_counter() - started
    folder.finish({"training": facts.to_dict(), "boosting": asdict(boosting), "boosting_seconds": seconds})


def _boosting(config: AuditConfig, store: Store, schema: ModelSchema, full: np.ndarray) -> Reference:
    """Gradient boosting on the same encoded rows: parity with a weak baseline would be worth nothing.

    Validation rows are enough for it: the full model's training was stopped by them, which is in its favour.
    """
    boosted = boosting_scores(
        store.matrix("train", schema),
        store.target("train"),
        store.matrix("validation", schema),
        task=schema.task,
        categorical=np.array([field.form == "code" for field in schema.fields]),
        seed=config.seed,
        weight=store.weight("train"),
    )
    return against_reference(
        metric(str(config.metric), schema.task),
        y=store.target("validation"),
        full=full[None],
        other=boosted,
        cluster=store.group("validation"),
        name="a quick gradient boosting",
        remedy=f"{BOOSTING_REMEDY[0].upper()}{BOOSTING_REMEDY[1:]}.",
        split="validation",
        weight=store.weight("validation"),
    )


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

"""baseline: train the full model once, and a quick boosting yardstick beside it."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store
from feature_audit.fitting import soundness
from feature_audit.fitting.cache import StageFolder
from feature_audit.fitting.trained import Trained, open_store, quality, train_one
from feature_audit.models import boosting_scores
from feature_audit.parity import metric, paired_delta
from feature_audit.parity.chance import against_chance
from feature_audit.schema import ModelSchema

log = logging.getLogger(__name__)

KEYS = ("model", "model_params", "attach", "training", "seed", "device", "metric")


def baseline(config: AuditConfig, prepared: Prepared, folder: StageFolder) -> Trained:
    """Train the full model on every usable feature, or open the one trained before."""
    if folder.done:
        log.info("baseline: %s", soundness.line(config, folder.result()))
        return Trained(folder, prepared.schema, folder.result())
    store = open_store(config, prepared)
    model, scores, facts = train_one(config, store, prepared.schema, seed=config.seed, label="baseline")
    torch.save(model.state_dict(), folder.path / "weights.pt")
    np.save(folder.path / "validation.npy", scores)
    facts["yardstick"] = _yardstick(config, store, prepared.schema, scores)
    facts["chance"] = _chance(config, store, scores)
    log.info("baseline: %d epochs, %.0f s", facts["epochs"], facts["seconds"])
    log.info("baseline: %s", soundness.line(config, facts))
    folder.finish(facts)
    return Trained(folder, prepared.schema, facts)


def _yardstick(config: AuditConfig, store: Store, schema: ModelSchema, full: np.ndarray) -> dict[str, float]:
    """Gradient boosting on the same encoded rows: parity with a weak baseline would be worth nothing.

    Returns:
        Its metric on validation, the standard error of its difference from the full model's, and seconds.
    """
    started = time.perf_counter()
    categorical = np.array([field.form == "code" for field in schema.fields])
    target = store.target("validation")
    scores = boosting_scores(
        store.matrix("train", schema),
        store.target("train"),
        store.matrix("validation", schema),
        task=schema.task,
        categorical=categorical,
        seed=config.seed,
    )
    chosen = metric(str(config.metric), schema.task)
    _, error = paired_delta(chosen, y=target, baseline=full, pruned=scores, unit=store.group("validation"))
    return {"metric": quality(config, store, scores), "std_error": error, "seconds": time.perf_counter() - started}


def _chance(config: AuditConfig, store: Store, scores: np.ndarray) -> dict[str, Any]:
    """The full model beside the best constant, on validation."""
    found = against_chance(
        store.target("validation"),
        scores[None],
        task=store.schema.task,
        metric=str(config.metric),
        unit=store.group("validation"),
        confidence=config.confidence,
    )
    return asdict(found)

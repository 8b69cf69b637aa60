"""baseline: train the full model once, and a quick boosting yardstick beside it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store
from feature_audit.models import boosting_scores, build_model, predict, resolve_device, train
from feature_audit.parity import metric, paired_delta
from feature_audit.parity.chance import against_chance
from feature_audit.schema import ModelSchema
from feature_audit.stages import soundness
from feature_audit.stages.cache import StageFolder
from feature_audit.stages.cost import touched_parameters, work
from feature_audit.stages.progress import training_bar

log = logging.getLogger(__name__)

KEYS = ("model", "model_params", "attach", "training", "seed", "device", "metric")


@dataclass(frozen=True)
class Trained:
    """One trained model on disk.

    Attributes:
        folder: holds ``weights.pt`` and ``validation.npy`` (scores of the validation rows).
        schema: its fields.
        facts: JSON facts: validation value of the decision metric, epochs, examples, seconds, work, history.
    """

    folder: StageFolder
    schema: ModelSchema
    facts: dict[str, Any]

    @property
    def work(self) -> float:
        """Work of this training (see ``stages.cost``)."""
        return float(self.facts["work"])

    def validation_scores(self) -> np.ndarray:
        """Scores of the validation rows, in the store's order."""
        return np.load(self.folder.path / "validation.npy")


def fresh_model(config: AuditConfig, schema: ModelSchema, seed: int) -> nn.Module:
    """An untrained model for the given fields; its initial weights depend on the seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_model(
            config.model,
            schema,
            embedding_dim=config.training.embedding_dim,
            params=config.model_params,
            attach=config.attach,
        )


def touched(config: AuditConfig, schema: ModelSchema) -> int:
    """Parameters that a row touches in a model of these fields; builds one to count them."""
    return touched_parameters(fresh_model(config, schema, 0), len(schema.fields), config.training.embedding_dim)


def touched_share(config: AuditConfig, full: ModelSchema, pruned: ModelSchema) -> float:
    """Parameters that a row touches in a pruned model, as a share of those in the full one."""
    return touched(config, pruned) / touched(config, full)


def load_model(config: AuditConfig, trained: Trained, name: str = "weights.pt") -> nn.Module:
    """The trained model, in eval mode on the CPU."""
    model = fresh_model(config, trained.schema, 0)
    model.load_state_dict(torch.load(trained.folder.path / name, weights_only=True, map_location="cpu"))
    return model.eval()


def open_store(config: AuditConfig, prepared: Prepared) -> Store:
    """The encoded rows, whose batches lie where the audit computes."""
    return Store.open(prepared.directory, device=resolve_device(config.device))


def train_one(
    config: AuditConfig,
    store: Store,
    schema: ModelSchema,
    *,
    seed: int,
    label: str,
    progress: Callable[[dict[str, Any]], None] | None = None,
) -> tuple[nn.Module, np.ndarray, dict[str, Any]]:
    """Train from scratch and score the validation rows.

    Args:
        config, store, schema, seed: what is trained, on what.
        label: of the bar.
        progress: takes the place of the bar.

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
        )
    scores = predict(result.model, store, "validation", schema, task=schema.task, device=config.device)
    touched = touched_parameters(result.model, len(schema.fields), config.training.embedding_dim)
    facts = {
        "metric": quality(config, store, scores),
        "validation_loss": result.validation_loss,
        "epochs": result.epochs,
        "best_epoch": result.best_epoch,
        "examples": result.examples,
        "seconds": result.seconds,
        "parameters": result.parameters,
        "work": work(result.examples, touched),
        "history": result.history,
        "seed": seed,
    }
    return result.model, scores, facts


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


def quality(config: AuditConfig, store: Store, scores: np.ndarray) -> float:
    """The decision metric's own value on the validation rows."""
    assert config.metric is not None  # the audit resolves metric and task before the first training
    assert config.task is not None
    return metric(config.metric, config.task).value(store.target("validation"), scores, store.group("validation"))

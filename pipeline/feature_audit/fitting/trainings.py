"""Trainings by name in a stage's folder: done once each, by our own loop or a team's, and scored from there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared
from feature_audit.fitting.cache import StageFolder, read_marker, write_marker
from feature_audit.fitting.own_training import has_own_training, job_name, run_job
from feature_audit.fitting.trained import (
    Trained,
    TrainingFacts,
    load_weights,
    open_store,
    quality,
    save_weights,
    train_one,
)
from feature_audit.models import predict
from feature_audit.noninferiority import metric
from feature_audit.schema import ModelSchema

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trainings:
    """The trainings of one stage.

    Attributes:
        config: with ``data`` as a path, glob or URI.
        prepared: the log.
        folder: holds ``<name>.json`` (facts, written last), ``<name>.npy`` (validation scores) and, of our own loop,
            ``<name>.pt`` (weights) or, of a team's, ``<name>.test.npy`` (test scores) and ``<name>.job``.
        rate: compute per second at which a team's own training counts.
    """

    config: AuditConfig
    prepared: Prepared
    folder: StageFolder
    rate: float = 0.0

    def with_shipped_loop(self) -> Trainings:
        """The same with our own loop, whatever the configuration says."""
        return replace(self, config=self.config.model_copy(update={"trainer": None, "command": None}))

    def fit(
        self,
        schema: ModelSchema,
        name: str,
        *,
        seed: int,
        label: str,
        progress: Callable[[dict[str, Any]], None] | None = None,
    ) -> TrainingFacts:
        """Train from scratch on the fields of a schema, unless that was done under this name before.

        Args:
            schema, seed: what is trained.
            name: of the training in this folder.
            label, progress: see ``train_one``; a team's own loop shows no bar.
        """
        marker = self._place(name, "json")
        known = read_marker(marker)
        if known is not None and known["features"] == list(schema.names):
            return TrainingFacts.from_dict(known["facts"])
        marker.unlink(missing_ok=True)
        train = self._train_outside if has_own_training(self.config) else self._train
        facts, files = train(schema, name, seed, label, progress)
        write_marker(marker, {"features": list(schema.names), "facts": facts.to_dict()}, files)
        log.info("%s, validation %s %.4f", label, self.config.metric, facts.metric)
        return facts

    def facts(self, name: str) -> TrainingFacts:
        """Of a training that ``fit`` has done."""
        content = read_marker(self._place(name, "json"))
        assert content is not None, "it was trained before it is asked for"
        return TrainingFacts.from_dict(content["facts"])

    def trained(self, schema: ModelSchema, name: str) -> Trained:
        """A training that ``fit`` has done."""
        return Trained(self.folder, schema, self.facts(name), name)

    def validation_scores(self, name: str) -> np.ndarray:
        """Scores of the validation rows, in the store's order."""
        return np.load(self._place(name, "npy"))

    def test_scores(self, schema: ModelSchema, name: str) -> np.ndarray:
        """Scores of the test rows, in the store's order."""
        kept = self._place(name, "test.npy")
        if kept.is_file():
            return np.load(kept)
        model = load_weights(self.config, schema, self._place(name, "pt"))
        store = open_store(self.config, self.prepared)
        return predict(model, store, "test", schema, task=schema.task, device=self.config.device)

    def _train(
        self,
        schema: ModelSchema,
        name: str,
        seed: int,
        label: str,
        progress: Callable[[dict[str, Any]], None] | None,
    ) -> tuple[TrainingFacts, list[Path]]:
        store = open_store(self.config, self.prepared)
        model, scores, facts = train_one(self.config, store, schema, seed=seed, label=label, progress=progress)
        weights, validation = self._place(name, "pt"), self._place(name, "npy")
        save_weights(model, weights)
        np.save(validation, scores)
        return facts, [weights, validation]

    def _train_outside(
        self, schema: ModelSchema, name: str, seed: int, label: str, _: object
    ) -> tuple[TrainingFacts, list[Path]]:
        log.info("%s, %s, %d features, seed %d", label, job_name(self.config), len(schema.fields), seed)
        found = run_job(self.config, self.prepared, schema, self._place(name, "job"), seed=seed)
        store, scores = open_store(self.config, self.prepared), found.scores["validation"]
        loss = metric("rmse" if schema.task == "regression" else "logloss", schema.task)
        facts = TrainingFacts(
            metric=quality(self.config, store, scores),
            validation_loss=loss.value(store.target("validation"), scores, None, store.weight("validation")),
            epochs=0,
            best_epoch=0,
            examples=0,
            seconds=found.seconds,
            parameters=0,
            compute=found.seconds * self.rate,
            history=[],
            seed=seed,
        )
        validation, test = self._place(name, "npy"), self._place(name, "test.npy")
        np.save(validation, scores)
        np.save(test, found.scores["test"])
        model = [] if found.model is None else [file for file in found.model.rglob("*") if file.is_file()]
        return facts, [validation, test, *model]

    def _place(self, name: str, kind: str) -> Path:
        return self.folder.path / f"{name}.{kind}"

"""One data set of the search benchmark: store, full model, and the measures that every method shares."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from feature_audit.audit.run import KEYS
from feature_audit.config import AuditConfig
from feature_audit.config_files import load_config
from feature_audit.data import Prepared, Store
from feature_audit.fitting.cache import StageFolder, open_folder, stage_key
from feature_audit.fitting.compute import touched_parameters
from feature_audit.fitting.trained import Trained, load_model, train_one
from feature_audit.models import predict
from feature_audit.parity import metric
from feature_audit.schema import ModelSchema
from feature_audit.search import KChoice, KPoint, choose_k
from feature_audit.stages import baseline as baseline_stage
from feature_audit.stages import load as load_stage
from feature_audit.stages.cost import AUTO_SEEDS
from feature_audit.stages.judge import ValidationJudge, error_ratio
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = {
    "santander": "conf/santander.yaml",
    "ml-100k": "conf/movielens.yaml",
    "criteo": "conf/criteo.yaml",
    "demo": "conf/demo.yaml",
}


@dataclass(frozen=True)
class Spent:
    """Cost of a piece of work: in the pipeline's units, and CPU seconds of this process."""

    work: float
    seconds: float


class Case:
    """A data set with its full model.

    Args:
        name: of the table.
        config: of the audit; ``work_dir`` holds stores and finished stages between runs.
    """

    def __init__(self, name: str, config: AuditConfig) -> None:
        self.name = name
        config = load_stage.complete(config)
        if config.seeds == "auto":  # as many for every method: the audit would give the dearer ones fewer
            config = config.model_copy(update={"seeds": AUTO_SEEDS})
        self.config = config
        folder = self.folder("load", {"data": load_stage.digest(config)})
        self.prepared: Prepared = load_stage.load(config, folder)
        task = self.prepared.schema.task
        if task != "binary":
            raise ValueError(f"data={name}: the target is {task}; this benchmark's RFECV is for binary targets")
        usable = len(self.prepared.schema.fields)
        budget = usable if config.k == "auto" else min(config.k, usable)
        self.config = config.model_copy(update={"task": task, "metric": config.metric or "auc", "k": budget})
        self.low, self.high = load_stage.budget(self.config, self.prepared)
        self.store = Store.open(self.prepared.directory)
        self.full, self.baseline = self._train_full(folder)
        self.judge = ValidationJudge(self.config, self.store, self.full.validation_scores())

    def folder(self, stage: str, inputs: dict[str, str]) -> StageFolder:
        """Folder of a stage below the benchmark's own working directory."""
        values = self.config.model_dump(mode="json")
        key = stage_key(stage, config={name: values[name] for name in KEYS[stage]}, inputs=inputs)
        return open_folder(Path(self.config.work_dir).resolve(), key)

    @cached_property
    def select_folder(self) -> StageFolder:
        """Of the select stage; its key stands for everything that a search depends on."""
        return self.folder("select", {"baseline": self.full.folder.key.digest})

    def _train_full(self, loaded: StageFolder) -> tuple[Trained, Spent]:
        folder = self.folder("baseline", {"store": self.prepared.digest, "load": loaded.key.digest})
        kept = folder.path / "cpu_seconds.json"
        started = time.process_time()
        full = baseline_stage.baseline(self.config, self.prepared, folder)
        if not kept.is_file():
            # the stage trains a boosting yardstick as well: its share of the time is not the baseline's
            share = full.facts["seconds"] / (full.facts["seconds"] + full.facts["yardstick"]["seconds"])
            kept.write_text(json.dumps((time.process_time() - started) * share), encoding="utf-8")
        return full, Spent(full.work, json.loads(kept.read_text(encoding="utf-8")))

    def full_model(self) -> nn.Module:
        return load_model(self.config, self.full)

    @cached_property
    def touched(self) -> int:
        """Parameters that one row of the full model touches."""
        return touched_parameters(self.full_model(), len(self.schema.fields), self.config.training.embedding_dim)

    @property
    def schema(self) -> ModelSchema:
        return self.prepared.schema

    def names(self, places: Iterable[int]) -> tuple[str, ...]:
        """Field names of indices, in schema order."""
        return tuple(self.schema.names[place] for place in sorted(int(place) for place in places))

    def confirm(self, names: tuple[str, ...], seed: int) -> tuple[KPoint, float]:
        """Retrain on some features and compare on validation: what the audit's own confirmation does."""
        _, scores, facts = train_one(
            self.config, self.store, self.schema.keep(names), seed=seed, label=f"{self.name}, K = {len(names)}"
        )
        return self.judge.point(len(names), scores), float(facts["work"])

    def choose(self, points: list[KPoint]) -> KChoice:
        """The audit's rule for K on retrained points."""
        return choose_k(
            points if len(points) > 1 else points * 2,
            margin=self.config.margin,
            confidence=self.config.confidence,
            metric=str(self.config.metric),
            test_ratio=error_ratio(self.prepared),
        )

    def value(self, split: Any, scores: np.ndarray) -> float:
        """The decision metric of a split's rows."""
        measure = metric(str(self.config.metric), self.schema.task)
        return measure.value(self.store.target(split), scores, self.store.group(split))

    def test_value(self, model: nn.Module, schema: Any) -> float:
        """The metric on test: called at the very end of a method, and nowhere else."""
        scores = predict(model, self.store, "test", schema, task=schema.task, device=self.config.device)
        return self.value("test", scores)


@dataclass(frozen=True)
class Finals:
    """The downstream model retrained on a method's features, once per retrain seed."""

    validation: tuple[float, ...]
    test: tuple[float, ...]


def finals(case: Case, names: tuple[str, ...]) -> Finals:
    """Retrain with the audit's retrain seeds; the test split is read when all of them are trained."""
    schema = case.schema.keep(names)
    trained = [
        train_one(case.config, case.store, schema, seed=case.config.seed + 1 + number, label=f"{case.name}, retrain")
        for number in range(case.config.seeds)
    ]
    return Finals(
        tuple(facts["metric"] for _, _, facts in trained),
        tuple(case.test_value(model, schema) for model, _, _ in trained),
    )


def open_case(
    name: str, *, k: int, work_dir: Path, profile: str = "default", trials: int | None = None, **more: Any
) -> Case:
    """A case by the name of its table, or by the path of a configuration file; ``more`` are parameters of the audit."""
    given: dict[str, Any] = {"k": k, "work_dir": str(work_dir), "threads": 1, "trials": trials, "profile": profile}
    given |= more
    if profile == "quick":
        given["seeds"] = 2
    return Case(name, load_config(str(ROOT / CONFIGS.get(name, name)), given))  # an absolute path stays itself

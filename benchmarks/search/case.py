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
from feature_audit.config import AuditConfig
from feature_audit.config.files import load_config
from feature_audit.data import Prepared
from feature_audit.fitting.cache import StageFolder, open_folder, stage_key
from feature_audit.fitting.trained import active, load_model, open_store, train_one
from feature_audit.models import predict
from feature_audit.noninferiority import metric
from feature_audit.orchestration.stage_run import KEYS
from feature_audit.results import CurvePoint
from feature_audit.schema import ModelSchema
from feature_audit.selection import FullModel, KChoice, choose_k
from feature_audit.selection.k.comparison import ValidationComparison
from feature_audit.selection.trial import SelectionObjective
from feature_audit.stages import baseline as baseline_stage
from feature_audit.stages import load as load_stage
from feature_audit.stages.select import constraints_of, plan_of
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
        self.config = load_stage.complete(config)
        folder = self.folder("load", {"data": load_stage.digest(self.config)})
        self.prepared: Prepared = load_stage.load(self.config, folder)
        task = self.prepared.schema.task
        if task != "binary":
            raise ValueError(f"data={name}: the target is {task}; this benchmark's RFECV is for binary targets")
        self.config = self.config.model_copy(update={"task": task, "metric": self.config.metric or "auc"})
        self.constraints = constraints_of(self.config, self.prepared)
        self.store = open_store(self.config, self.prepared)
        self.plan = plan_of(self.config, self.store, self.constraints)
        self.full, self.baseline = self._train_full(folder)
        self._comparison = ValidationComparison(self.plan.criterion.metric, self.store, self.full.validation_scores())

    @property
    def low(self) -> int:
        """The smallest allowed K; ``high`` is the largest."""
        return self.constraints.min_k

    @property
    def high(self) -> int:
        return self.constraints.max_k

    def folder(self, stage: str, inputs: dict[str, str]) -> StageFolder:
        """Folder of a stage below the benchmark's own working directory."""
        values = self.config.model_dump(mode="json")
        key = stage_key(stage, config={name: values[name] for name in KEYS[stage]}, inputs=inputs)
        return open_folder(Path(self.config.work_dir).resolve(), key)

    @cached_property
    def select_folder(self) -> StageFolder:
        """Key of the select stage, which covers all inputs of a search."""
        return self.folder("select", {"baseline": self.full.folder.key.digest})

    def _train_full(self, loaded: StageFolder) -> tuple[baseline_stage.Baseline, Spent]:
        folder = self.folder("baseline", {"store": self.prepared.digest, "load": loaded.key.digest})
        kept = folder.path / "cpu_seconds.json"
        started = time.process_time()
        full = baseline_stage.baseline(self.config, self.prepared, folder)
        if not kept.is_file():
            # the stage also trains the boosting reference, whose time does not belong to the baseline
            share = full.facts.seconds / (full.facts.seconds + full.references.boosting.seconds)
            kept.write_text(json.dumps((time.process_time() - started) * share), encoding="utf-8")
        return full, Spent(full.facts.compute, json.loads(kept.read_text(encoding="utf-8")))

    def full_model(self) -> nn.Module:
        return load_model(self.config, self.full)

    @cached_property
    def objective(self) -> SelectionObjective:
        """Concrete trainings on the full model, and their cost."""
        model, schema = self.full_model(), self.schema
        train = predict(model, self.store, "train", schema, task=schema.task, device=self.config.device)
        full = FullModel(model, train, self.full.validation_scores(), active(self.config, schema))
        return SelectionObjective(full, self.store, self.constraints, self.plan)

    @property
    def schema(self) -> ModelSchema:
        return self.prepared.schema

    def names(self, places: Iterable[int]) -> tuple[str, ...]:
        """Field names of indices, in schema order."""
        return tuple(self.schema.names[place] for place in sorted(int(place) for place in places))

    def confirm(self, names: tuple[str, ...], seed: int) -> tuple[CurvePoint, float]:
        """Retrain on some features and compare on validation, as the audit's confirmation does."""
        _, scores, facts = train_one(
            self.config, self.store, self.schema.keep(names), seed=seed, label=f"{self.name}, K = {len(names)}"
        )
        return self._comparison.point(len(names), scores, "retrained"), facts.compute

    def choose(self, points: list[CurvePoint]) -> KChoice:
        """The audit's rule for K on retrained points."""
        return choose_k(points, self.plan.criterion, retrained=True)

    def value(self, split: Any, scores: np.ndarray) -> float:
        """The decision metric on a split's rows."""
        measure = metric(str(self.config.metric), self.schema.task)
        return measure.value(self.store.target(split), scores, self.store.group(split))

    def test_value(self, model: nn.Module, schema: Any) -> float:
        """The metric on test rows; called only at the very end of a method."""
        scores = predict(model, self.store, "test", schema, task=schema.task, device=self.config.device)
        return self.value("test", scores)


@dataclass(frozen=True)
class Finals:
    """The downstream model retrained on a method's features, once per retrain seed."""

    validation: tuple[float, ...]
    test: tuple[float, ...]


def finals(case: Case, names: tuple[str, ...]) -> Finals:
    """Retrain with the audit's retrain seeds; the test split is read after the last of these trainings."""
    schema = case.schema.keep(names)
    trained = [
        train_one(case.config, case.store, schema, seed=case.config.seed + 1 + number, label=f"{case.name}, retrain")
        for number in range(case.config.seeds)
    ]
    return Finals(
        tuple(facts.metric for _, _, facts in trained),
        tuple(case.test_value(model, schema) for model, _, _ in trained),
    )


def open_case(
    name: str, *, k: int, work_dir: Path, profile: str = "default", trials: int | None = None, **more: Any
) -> Case:
    """A case by the name of its table, or by the path of a configuration file; ``more`` are parameters of the audit."""
    given: dict[str, Any] = {"k": k, "work_dir": str(work_dir), "threads": 1, "trials": trials, "profile": profile}
    given |= {"seeds": 2 if profile == "quick" else 5, "baseline_seeds": 1}  # the same for every method
    given |= more
    return Case(name, load_config(str(ROOT / CONFIGS.get(name, name)), given))  # an absolute path stays unchanged

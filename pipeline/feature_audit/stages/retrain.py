"""retrain: train the pruned model from scratch on exactly the K kept features, several times; the full model, too.

How often is planned here (``fitting/allocation.py``), unless the configuration says it. Training number i is the same
however many there are, so the stage's key leaves the numbers out: a larger plan goes on where a smaller one ended.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store
from feature_audit.fitting.allocation import allocate, most_affordable
from feature_audit.fitting.cache import StageFolder
from feature_audit.fitting.trained import Trained, TrainingFacts, open_store, train_one
from feature_audit.results import PowerPlan
from feature_audit.schema import ModelSchema
from feature_audit.selection import Selection

log = logging.getLogger(__name__)

#: What a training depends on. The plan reads more, each time anew.
KEYS = ("model", "model_params", "attach", "training", "device", "metric", "seed")

#: Seeds of the full model's further trainings start here, away from the pruned models'.
_FULL_SEED = 50_000


@dataclass(frozen=True)
class Retrained:
    """The pruned models.

    Attributes:
        folder: holds ``pruned_<i>.pt`` and ``full_<i>.pt``.
        schema: the K kept fields.
        facts: of each training, one per seed.
        full_facts: the same for the full model's further trainings.
        plan: what they can be expected to decide.
    """

    folder: StageFolder
    schema: ModelSchema
    facts: list[TrainingFacts]
    full_facts: list[TrainingFacts]
    plan: PowerPlan

    @property
    def compute(self) -> float:
        """Compute of all trainings."""
        return float(sum(facts.compute for facts in self.facts + self.full_facts))

    @property
    def seconds(self) -> float:
        """Seconds of all trainings."""
        return float(sum(facts.seconds for facts in self.facts + self.full_facts))

    def describe(self) -> str:
        """What was trained, for the table of costs."""
        return f"{len(self.facts)} pruned, {len(self.full_facts)} full"

    @property
    def best_seed(self) -> int:
        """Index of the training with the lowest validation loss: the one that is registered."""
        return int(np.argmin([facts.validation_loss for facts in self.facts]))


def retrain(
    config: AuditConfig, prepared: Prepared, full: Trained, selection: Selection, folder: StageFolder
) -> Retrained:
    """Train pruned and full models, as many as are planned or asked for; those that are there already are kept."""
    schema = prepared.schema.keep(np.asarray(prepared.schema.names)[selection.kept])
    store = open_store(config, prepared)

    def train(pruned: int, others: int) -> tuple[list[np.ndarray], np.ndarray]:
        # The baseline's seed is config.seed: no other training shares its randomness.
        for number in range(pruned):
            _train(config, store, schema, folder, f"pruned_{number}", seed=config.seed + 1 + number)
        for number in range(others - 1):
            _train(config, store, prepared.schema, folder, f"full_{number}", seed=config.seed + _FULL_SEED + number)
        more = [_scores(folder, f"full_{number}") for number in range(others - 1)]
        small = [_scores(folder, f"pruned_{number}") for number in range(pruned)]
        return [np.stack(small)], np.stack([full.validation_scores(), *more])

    def price() -> float:
        return _facts(folder, "pruned_0").compute / full.facts.compute

    plan = allocate(
        config,
        store,
        train=train,
        price=price,
        most=most_affordable(sum(prepared.rows.values()), 1 + selection.work / full.facts.compute),
        estimate=_estimate(selection),
    )
    if not folder.done:
        folder.finish({"plan": asdict(plan)})
    return Retrained(
        folder,
        schema,
        [_facts(folder, f"pruned_{number}") for number in range(plan.pruned)],
        [_facts(folder, f"full_{number}") for number in range(plan.full - 1)],
        plan,
    )


def _estimate(selection: Selection) -> tuple[float, float] | None:
    """What the selection measured at K, by a retraining if there was one; with other seeds than this stage's."""
    points = [point for point in selection.curve if point.k == selection.k]
    points.sort(key=lambda point: point.source == "retrained")
    return (points[-1].delta, points[-1].std_error) if points else None


def _train(
    config: AuditConfig, store: Store, schema: ModelSchema, folder: StageFolder, name: str, *, seed: int
) -> None:
    """Train one model unless that was done before; its facts are written last."""
    if _place(folder, name, "json").is_file():
        return
    model, scores, facts = train_one(config, store, schema, seed=seed, label=f"retrain {name}")
    torch.save(model.state_dict(), _place(folder, name, "pt"))
    np.save(_place(folder, name, "npy"), scores)
    _place(folder, name, "json").write_text(json.dumps(facts.to_dict()), encoding="utf-8")
    log.info("retrain: %s, validation %s %.4f", name, config.metric, facts.metric)


def _place(folder: StageFolder, name: str, kind: str) -> Path:
    return folder.path / f"{name}.{kind}"


def _scores(folder: StageFolder, name: str) -> np.ndarray:
    """Of the validation rows."""
    return np.load(_place(folder, name, "npy"))


def _facts(folder: StageFolder, name: str) -> TrainingFacts:
    return TrainingFacts.from_dict(json.loads(_place(folder, name, "json").read_text(encoding="utf-8")))

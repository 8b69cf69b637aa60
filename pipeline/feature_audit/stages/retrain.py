"""retrain: train the pruned model from scratch on exactly the K kept features, once per seed.

Where ``baseline_seeds`` asks for it, the full model is trained again here, too: only the verdict uses these trainings.
"""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass

import numpy as np
import torch

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store
from feature_audit.fitting.cache import StageFolder, finished_beside
from feature_audit.fitting.trained import TrainingFacts, open_store, train_one
from feature_audit.schema import ModelSchema
from feature_audit.selection import Selection

log = logging.getLogger(__name__)

KEYS = ("model", "model_params", "attach", "training", "device", "metric", "seeds", "baseline_seeds", "seed")

#: Seeds of the full model's further trainings start here, away from the pruned models'.
_FULL_SEED = 50_000


@dataclass(frozen=True)
class Retrained:
    """The pruned models.

    Attributes:
        folder: holds ``pruned_<i>.pt`` and ``full_<i>.pt``.
        schema: the K kept fields.
        facts: of each training, one per seed.
        full_facts: the same for the full model's further trainings; empty by default.
    """

    folder: StageFolder
    schema: ModelSchema
    facts: list[TrainingFacts]
    full_facts: list[TrainingFacts]

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


def retrain(config: AuditConfig, prepared: Prepared, selection: Selection, folder: StageFolder) -> Retrained:
    """Train ``config.seeds`` pruned models; a killed stage keeps those that had finished."""
    schema = prepared.schema.keep(np.asarray(prepared.schema.names)[selection.kept])
    if not folder.done:
        _take_over(folder)
        store = open_store(config, prepared)
        # The baseline's seed is config.seed: no other training shares its randomness.
        for number in range(config.seeds):
            _train(config, store, schema, folder, f"pruned_{number}", seed=config.seed + 1 + number)
        for number in range(config.baseline_seeds - 1):
            _train(config, store, prepared.schema, folder, f"full_{number}", seed=config.seed + _FULL_SEED + number)
        folder.finish({"seeds": config.seeds, "baseline_seeds": config.baseline_seeds})
    return Retrained(
        folder,
        schema,
        [_facts(folder, f"pruned_{number}") for number in range(config.seeds)],
        [_facts(folder, f"full_{number}") for number in range(config.baseline_seeds - 1)],
    )


def _take_over(folder: StageFolder) -> None:
    """Copy the trainings of the same models in another number: a training's seed is the same whatever their number."""
    for other in finished_beside(folder, apart_from=("config.seeds", "config.baseline_seeds")):
        names = [path.stem for kind in ("pruned", "full") for path in sorted(other.glob(f"{kind}_*.json"))]
        new = [name for name in names if not (folder.path / f"{name}.json").is_file()]
        for name in new:
            shutil.copy(other / f"{name}.pt", folder.path)
            shutil.copy(other / f"{name}.json", folder.path)
        if new:
            log.info("retrain: %s reused from an audit with other numbers of trainings", ", ".join(new))


def _train(
    config: AuditConfig,
    store: Store,
    schema: ModelSchema,
    folder: StageFolder,
    name: str,
    *,
    seed: int,
) -> None:
    """Train one model unless it was trained before the stage was interrupted; its facts are written last."""
    if (folder.path / f"{name}.json").is_file():
        return
    model, _, facts = train_one(config, store, schema, seed=seed, label=f"retrain {name}")
    torch.save(model.state_dict(), folder.path / f"{name}.pt")
    (folder.path / f"{name}.json").write_text(json.dumps(facts.to_dict()), encoding="utf-8")
    log.info("retrain: %s, validation %s %.4f", name, config.metric, facts.metric)


def _facts(folder: StageFolder, name: str) -> TrainingFacts:
    return TrainingFacts.from_dict(json.loads((folder.path / f"{name}.json").read_text(encoding="utf-8")))

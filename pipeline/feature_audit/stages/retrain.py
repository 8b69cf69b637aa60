"""retrain: train pruned models from scratch on exactly the kept features of every K to test, once per seed.

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

#: Seeds of the pruned models of one K start so far after those of the K before it in the order of testing.
_RUNG_SEEDS = 10_000
#: Seeds of the full model's further trainings start here, away from the pruned models'.
_FULL_SEED = 50_000


@dataclass(frozen=True)
class PrunedModels:
    """The trainings on the features of one K.

    Attributes:
        schema: the K kept fields.
        facts: of each training, one per seed.
    """

    schema: ModelSchema
    facts: list[TrainingFacts]

    @property
    def k(self) -> int:
        """Number of features."""
        return len(self.schema.fields)

    @property
    def weights(self) -> list[str]:
        """Files of the weights in the stage's folder, one per training."""
        return [f"{_pruned(self.k, number)}.pt" for number in range(len(self.facts))]

    @property
    def best_seed(self) -> int:
        """Index of the training with the lowest validation loss: the one that is registered."""
        return int(np.argmin([facts.validation_loss for facts in self.facts]))


@dataclass(frozen=True)
class Retrained:
    """The pruned models of every K to test, and further trainings of the full model.

    Attributes:
        folder: holds ``pruned_<k>_<i>.pt`` and ``full_<i>.pt``.
        rungs: the pruned models of each K, in the order of testing.
        full_facts: of the full model's further trainings; empty by default.
    """

    folder: StageFolder
    rungs: list[PrunedModels]
    full_facts: list[TrainingFacts]

    def at(self, k: int) -> PrunedModels:
        """The pruned models of one K."""
        return next(rung for rung in self.rungs if rung.k == k)

    @property
    def facts(self) -> list[TrainingFacts]:
        """Of all trainings."""
        return [*(facts for rung in self.rungs for facts in rung.facts), *self.full_facts]

    @property
    def compute(self) -> float:
        """Compute of all trainings."""
        return float(sum(facts.compute for facts in self.facts))

    @property
    def seconds(self) -> float:
        """Seconds of all trainings."""
        return float(sum(facts.seconds for facts in self.facts))

    def describe(self) -> str:
        """What was trained, for the table of costs."""
        pruned = ", ".join(f"{len(rung.facts)} pruned (K = {rung.k})" for rung in self.rungs)
        return f"{pruned}, {len(self.full_facts)} full"


def features_of(prepared: Prepared, selection: Selection) -> list[list[str]]:
    """Names of the kept features at every K to test, in the order of testing."""
    names = np.asarray(prepared.schema.names)
    return [names[selection.at(k).kept].tolist() for k in selection.rungs]


def retrain(config: AuditConfig, prepared: Prepared, selection: Selection, folder: StageFolder) -> Retrained:
    """Train ``config.seeds`` pruned models at every K to test; a killed stage keeps those that had finished."""
    schemas = [prepared.schema.keep(names) for names in features_of(prepared, selection)]
    if not folder.done:
        _take_over(folder)
        store = open_store(config, prepared)
        # The baseline's seed is config.seed: no other training shares its randomness.
        for place, schema in enumerate(schemas):
            for number in range(config.seeds):
                seed = config.seed + 1 + number + place * _RUNG_SEEDS
                _train(config, store, schema, folder, _pruned(len(schema.fields), number), seed=seed)
        for number in range(config.baseline_seeds - 1):
            _train(config, store, prepared.schema, folder, f"full_{number}", seed=config.seed + _FULL_SEED + number)
        folder.finish({"seeds": config.seeds, "baseline_seeds": config.baseline_seeds})
    counts = folder.result()
    return Retrained(
        folder,
        [
            PrunedModels(
                schema, [_facts(folder, _pruned(len(schema.fields), number)) for number in range(counts["seeds"])]
            )
            for schema in schemas
        ],
        [_facts(folder, f"full_{number}") for number in range(counts["baseline_seeds"] - 1)],
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


def _pruned(k: int, number: int) -> str:
    return f"pruned_{k}_{number}"


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

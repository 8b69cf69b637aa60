"""retrain: train the pruned model from scratch on exactly the K kept features, once per seed.

Where ``baseline_seeds`` asks for it, the full model is trained again here, too: only the verdict uses these trainings.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store
from feature_audit.models import Pace
from feature_audit.schema import ModelSchema
from feature_audit.stages.baseline import Trained, if_cut, open_store, touched_share, train_one
from feature_audit.stages.cache import StageFolder
from feature_audit.stages.cost import AUTO_SEEDS, FEWEST_SEEDS, most_epochs, work_left
from feature_audit.stages.select import Selection

log = logging.getLogger(__name__)

KEYS = ("model", "model_params", "attach", "training", "device", "metric", "seeds", "baseline_seeds", "seed")

#: A pruned model may train longer than any before it: so much dearer may retrainings be than they are expected to be.
_SLACK = 1.25
#: Seeds of the full model's further trainings start here, away from the pruned models'.
_FULL_SEED = 50_000


@dataclass(frozen=True)
class Retrained:
    """The pruned models.

    Attributes:
        folder: holds ``pruned_<i>.pt`` and ``full_<i>.pt``.
        schema: the K kept fields.
        facts: one dict of facts per seed (see ``baseline.Trained``).
        full_facts: the same for the full model's further trainings; empty by default.
    """

    folder: StageFolder
    schema: ModelSchema
    facts: list[dict[str, Any]]
    full_facts: list[dict[str, Any]]

    @property
    def work(self) -> float:
        """Work of all trainings."""
        return float(sum(facts["work"] for facts in self.facts + self.full_facts))

    @property
    def seconds(self) -> float:
        """Seconds of all trainings."""
        return float(sum(facts["seconds"] for facts in self.facts + self.full_facts))

    @property
    def cut_after(self) -> list[int]:
        """Epochs of each pruned model that the profile's limit cut."""
        return [facts["epochs"] for facts in self.facts if facts["cut"]]

    def describe(self) -> str:
        """What was trained, for the table of costs."""
        cut = self.cut_after
        short = f", {len(cut)} of them cut after {max(cut)} epochs to keep to the limit" if cut else ""
        return f"{len(self.facts)} pruned{short}, {len(self.full_facts)} full"

    @property
    def best_seed(self) -> int:
        """Index of the training with the lowest validation loss: the one that is registered."""
        return int(np.argmin([facts["validation_loss"] for facts in self.facts]))


@dataclass(frozen=True)
class Plan:
    """What the profile's limit leaves to the retrainings.

    Attributes:
        seeds: pruned models.
        most_epochs: of each of them; None = as many as it wants.
    """

    seeds: int
    most_epochs: int | None = None


def plan(config: AuditConfig, prepared: Prepared, full: Trained, selection: Selection) -> Plan:
    """What ``seeds = auto`` comes to, and how long the pruned models may train.

    Five seeds, fewer where the audit would be expected to cost more than its profile allows, but at least three: with
    two, nobody could tell the luck of a seed from a difference. What turns out longer than that is cut: see
    ``cost.most_epochs``.
    """
    left = work_left(config, full.work, selection.work)
    seeds = config.seeds
    if seeds == "auto":
        each = _SLACK * max(selection.choice.retraining_work, 1e-12)
        seeds = int(np.clip(left / each, FEWEST_SEEDS, AUTO_SEEDS))
        if seeds < AUTO_SEEDS:
            log.info("retrain: %d seeds, for %d would make the audit too dear (seeds=auto)", seeds, AUTO_SEEDS)
    if config.seeds != "auto" or config.trials != "auto":
        return Plan(seeds)  # numbers that were given are run, whatever they cost
    share = touched_share(config, prepared.schema, prepared.schema.keep(selection.names))
    epochs = full.facts["epochs"]
    limit = most_epochs(left=left, trainings=seeds, epoch=share * full.work / epochs, fewest=epochs)
    wanted = Pace.plan(prepared.rows["train"], config.training, prepared.schema).epochs
    return Plan(seeds, None if limit is None or limit >= wanted else limit)


def retrain(
    config: AuditConfig, prepared: Prepared, selection: Selection, folder: StageFolder, limit: int | None = None
) -> Retrained:
    """Train ``config.seeds`` pruned models, ``limit`` epochs at most; a killed stage keeps those that had finished.

    ``config.seeds`` is a number: see ``plan``.
    """
    assert config.seeds != "auto"
    schema = prepared.schema.keep(selection.names)
    assert len(schema.fields) == selection.choice.k
    if not folder.done:
        store = open_store(config, prepared)
        # The baseline's seed is config.seed: no other training shares its randomness.
        for number in range(config.seeds):
            _train(config, store, schema, folder, f"pruned_{number}", seed=config.seed + 1 + number, limit=limit)
        for number in range(config.baseline_seeds - 1):
            _train(config, store, prepared.schema, folder, f"full_{number}", seed=config.seed + _FULL_SEED + number)
        folder.finish({"seeds": config.seeds, "baseline_seeds": config.baseline_seeds})
    return Retrained(
        folder,
        schema,
        [_facts(folder, f"pruned_{number}") for number in range(config.seeds)],
        [_facts(folder, f"full_{number}") for number in range(config.baseline_seeds - 1)],
    )


def _train(
    config: AuditConfig,
    store: Store,
    schema: ModelSchema,
    folder: StageFolder,
    name: str,
    *,
    seed: int,
    limit: int | None = None,
) -> None:
    """Train one model unless it was trained before the stage was interrupted; its facts are written last."""
    if (folder.path / f"{name}.json").is_file():
        return
    model, _, facts = train_one(config, store, schema, seed=seed, label=f"retrain {name}", most_epochs=limit)
    torch.save(model.state_dict(), folder.path / f"{name}.pt")
    (folder.path / f"{name}.json").write_text(json.dumps(facts), encoding="utf-8")
    log.info("retrain: %s, validation %s %.4f%s", name, config.metric, facts["metric"], if_cut(facts))


def _facts(folder: StageFolder, name: str) -> dict[str, Any]:
    return dict(json.loads((folder.path / f"{name}.json").read_text(encoding="utf-8")))

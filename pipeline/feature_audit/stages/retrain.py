"""retrain: train the pruned model from scratch on exactly the K kept features, once per seed."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store
from feature_audit.schema import ModelSchema
from feature_audit.stages.baseline import train_one
from feature_audit.stages.cache import StageFolder
from feature_audit.stages.select import Selection

log = logging.getLogger(__name__)

KEYS = ("seeds", "seed")


@dataclass(frozen=True)
class Retrained:
    """The pruned models.

    Attributes:
        folder: holds ``weights_<i>.pt``.
        schema: the K kept fields.
        facts: one dict of facts per seed (see ``baseline.Trained``).
    """

    folder: StageFolder
    schema: ModelSchema
    facts: list[dict[str, Any]]

    @property
    def work(self) -> float:
        """Work of all seeds."""
        return float(sum(facts["work"] for facts in self.facts))

    @property
    def best_seed(self) -> int:
        """Index of the training with the lowest validation loss: the one that is registered."""
        return int(np.argmin([facts["validation_loss"] for facts in self.facts]))


def retrain(config: AuditConfig, prepared: Prepared, selection: Selection, folder: StageFolder) -> Retrained:
    """Train ``config.seeds`` pruned models; a killed stage keeps the seeds that had finished."""
    schema = prepared.schema.keep(selection.names)
    assert len(schema.fields) == selection.choice.k
    if not folder.done:
        store = Store.open(prepared.directory)
        for number in range(config.seeds):
            if (folder.path / f"facts_{number}.json").is_file():
                continue
            # The baseline's seed is config.seed: pruned models never share their randomness with it.
            model, scores, facts = train_one(
                config, store, schema, seed=config.seed + 1 + number, label=f"retrain {number + 1}/{config.seeds}"
            )
            torch.save(model.state_dict(), folder.path / f"weights_{number}.pt")
            np.save(folder.path / f"validation_{number}.npy", scores)
            (folder.path / f"facts_{number}.json").write_text(json.dumps(facts), encoding="utf-8")
            log.info(
                "retrain: seed %d of %d, validation %s %.4f", number + 1, config.seeds, config.metric, facts["metric"]
            )
        folder.finish({"seeds": config.seeds})
    every = [
        json.loads((folder.path / f"facts_{number}.json").read_text(encoding="utf-8")) for number in range(config.seeds)
    ]
    return Retrained(folder, schema, every)

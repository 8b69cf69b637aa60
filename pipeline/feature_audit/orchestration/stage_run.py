"""One stage of an audit: its key, folder, nested run and cost."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from feature_audit.config import AuditConfig
from feature_audit.data import RULES, Prepared, read_consumers
from feature_audit.disk import room_in
from feature_audit.fitting.cache import StageFolder, StageKey, own_folder, stage_key
from feature_audit.fitting.checkpoint import checkpoint_digest
from feature_audit.fitting.own_training import own_training_digest
from feature_audit.importing import users_code
from feature_audit.masking import masked_values
from feature_audit.memory import memory_for
from feature_audit.models import own_code_digest
from feature_audit.results import StageCost
from feature_audit.stages import baseline, load, parity, retrain, select
from feature_audit.tracking import Run

#: The configuration keys that each stage reads.
KEYS = {
    "load": load.KEYS,
    "baseline": baseline.KEYS,
    "select": select.KEYS,
    "retrain": retrain.KEYS,
    "parity": parity.KEYS,
}

#: Settings that affect only cost, storage and exit of an audit, not its question.
_NOT_ASKED = (
    "threads",
    "workers",
    "ranks",
    "engine",
    "work_dir",
    "local_dir",
    "experiment",
    "gate",
    "looks",
    "command_timeout",
    "checkpoint",
)

Result = TypeVar("Result")


@dataclass(frozen=True)
class StageRun(Generic[Result]):
    """A finished stage.

    Attributes:
        name: name of the stage.
        result: its result.
        digest: digest of everything that it depends on; an input of later stages.
        seconds: running time when it was computed.
        cached: True if it was reused from an earlier run.
        folder: folder of its results.
    """

    name: str
    result: Result
    digest: str
    seconds: float
    cached: bool
    folder: Path

    def cost(self, full_trainings: float, detail: str, *, seconds: float | None = None) -> StageCost:
        """A row of the cost table; a cached stage counts its cost when it was computed.

        Args:
            full_trainings: compute in units of the full model's training.
            detail: description of the work.
            seconds: time of the part to count; None = the whole stage.
        """
        detail = "; ".join(filter(None, (detail, "reused from an earlier run" if self.cached else "")))
        return StageCost(self.name, self.seconds if seconds is None else seconds, full_trainings, detail)


def run_stage(
    parent: Run, config: AuditConfig, name: str, inputs: dict[str, str], work: Callable[[StageFolder, Run], Result]
) -> StageRun[Result]:
    """Run one stage in a nested run; its folder is named after everything it depends on.

    Args:
        parent: the audit's run.
        config: the stage's own keys are used.
        name: name of the stage.
        inputs: name -> digest of each input.
        work: the stage, called with its folder (finished or not) and its run.
    """
    key = key_of(name, config, inputs)
    with own_folder(Path(config.work_dir).resolve(), key) as folder:
        cached = folder.done
        with parent.child(name, {"audit.stage": name, "audit.cached": cached}) as run:
            with users_code(), memory_for(f"the {name} stage"), room_in(folder.path, f"the {name} stage"):
                result = work(folder, run)
            run.metrics({"cost/seconds": folder.seconds})
    return StageRun(name, result, key.digest, folder.seconds, cached, folder.path)


def question_digest(config: AuditConfig, data: str) -> str:
    """Digest of everything that an audit's answer depends on: an equal digest means an equal verdict.

    Args:
        config: before the data set task and metric.
        data: digest of the data, ``load.digest``.
    """
    values = masked_values(config.model_dump(mode="json"))
    asked = {key: value for key, value in values.items() if key not in _NOT_ASKED and (value or key != "targets")}
    files = {"checkpoint": checkpoint_digest(config), "job": own_training_digest(config)}
    inputs = {"data": data, **files}
    if config.consumers is not None:
        inputs["consumers"] = json.dumps(read_consumers(config.consumers))
    return stage_key("audit", config=asked, inputs=inputs).digest


def asked_of_test(config: AuditConfig, retrain_inputs: dict[str, str], inputs: dict[str, str]) -> str:
    """Digest of the question to the test rows, before the numbers of trainings are known.

    Args:
        config: the audit's configuration.
        retrain_inputs: inputs of the retrain stage.
        inputs: inputs of the parity stage, without the trainings.
    """
    inputs = {**inputs, "retrain": key_of("retrain", config, retrain_inputs).digest}
    numbers = {"seeds": str(config.seeds), "baseline_seeds": str(config.baseline_seeds)}
    return parity.question_digest({**key_of("parity", config, inputs).parts, **numbers})


def load_key(config: AuditConfig) -> StageKey:
    """Key of the load stage."""
    return key_of("load", config, {"data": load.digest(config)})


def training_inputs(config: AuditConfig, prepared: Prepared) -> dict[str, str]:
    """Inputs of a training: only the encoded features, so that a rule about columns does not cause another training."""
    plain = AuditConfig()
    without_rules = config.model_copy(update={key: getattr(plain, key) for key in RULES})
    loaded = key_of("load", without_rules, {}).digest
    model, job = own_code_digest(config.model), own_training_digest(config)
    return {"store": prepared.content, "load": loaded, "model": model, "job": job}


def key_of(name: str, config: AuditConfig, inputs: dict[str, str]) -> StageKey:
    """Key of a stage: its keys of the configuration, and the digests of its inputs."""
    values = masked_values(config.model_dump(mode="json"))  # masked, as markers and messages of the cache show them
    return stage_key(name, config={key: values[key] for key in KEYS[name]}, inputs=inputs)

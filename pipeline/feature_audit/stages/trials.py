"""The trials of a selection as jobs: each writes a file to the stage's folder, so that no trial is run twice."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store, origin
from feature_audit.disk import whole
from feature_audit.engine import Engine, Job
from feature_audit.fitting.cache import MARKER, StageFolder, read_marker, write_marker
from feature_audit.fitting.trained import Trained, active, load_model, open_store
from feature_audit.models import predict
from feature_audit.plurals import counted
from feature_audit.selection import Constraints, Draw, FullModel, SelectionObjective, SelectionPlan, TrialResult

log = logging.getLogger(__name__)

#: Scores of the train rows by the gated model, in the stage's folder while the selection runs.
TRAIN_SCORES = "train.npy"
#: Name of a trial's file.
_TRIALS = "trial_{}.json"


@dataclass(frozen=True)
class Trials:
    """Inputs of a trial, as files: small enough to be sent to another process.

    Attributes:
        config, prepared, constraints, plan: of the selection.
        full: the gated model.
        active: parameters of it that a row uses.
        folder: folder of the stage.
        sample: folder of the store for the selection; None = the audit's store.
    """

    config: AuditConfig
    prepared: Prepared
    full: Trained
    constraints: Constraints
    plan: SelectionPlan
    active: int
    folder: Path
    sample: Path | None = None

    @classmethod
    def of(
        cls,
        config: AuditConfig,
        prepared: Prepared,
        full: Trained,
        constraints: Constraints,
        plan: SelectionPlan,
        folder: Path,
        sample: Store | None = None,
    ) -> Trials:
        """Trials on a trained model; its scores of the train rows are computed once for all trials."""
        scores = folder / TRAIN_SCORES
        parameters, where = active(config, prepared.schema), None if sample is None else sample.directory
        trials = cls(config, prepared, full, constraints, plan, parameters, folder, where)
        if not scores.is_file():
            schema, model = prepared.schema, load_model(config, full)
            found = predict(model, trials.store(), "train", schema, task=schema.task, device=config.device)
            with whole(scores) as file:
                np.save(file, found)
        return trials

    def store(self) -> Store:
        """The store for the selection."""
        return open_store(self.config, self.prepared, self.sample)

    def model(self) -> FullModel:
        """The gated model, loaded from its files."""
        validation = self.full.validation_scores()
        return FullModel(
            load_model(self.config, self.full),
            np.load(self.folder / TRAIN_SCORES),
            validation if self.sample is None else validation[origin(self.store(), "validation")],
            self.active,
        )

    def run(
        self,
        draws: Sequence[Draw],
        engine: Engine,
        on_result: Callable[[Draw, TrialResult, bool], None],
        watch: Callable[[dict[str, Any]], None],
    ) -> list[TrialResult]:
        """Run the trials of a round; finished ones are loaded.

        Args:
            draws: the round.
            engine: runs the trials.
            on_result: called for every trial as soon as it is available; its last argument says whether it was loaded.
            watch: called at every step of a trial in this process.
        """
        found = {draw.number: self._known(draw) for draw in draws}
        for draw in draws:
            if (known := found[draw.number]) is not None:
                on_result(draw, known, True)
        missing = [draw for draw in draws if found[draw.number] is None]
        jobs = [Job(run_trial, (self, draw), self.marker(draw), f"trial {draw.number}", watch) for draw in missing]
        ran = engine.run(jobs, lambda place, result: on_result(missing[place], result, False))
        found |= {draw.number: result for draw, result in zip(missing, ran, strict=True)}
        return [result for draw in draws if (result := found[draw.number]) is not None]

    def marker(self, draw: Draw) -> Path:
        """The file that a trial writes."""
        return self.folder / _TRIALS.format(draw.number)

    def _known(self, draw: Draw) -> TrialResult | None:
        content = read_marker(self.marker(draw))
        return None if content is None or content["draw"] != asdict(draw) else TrialResult(**content["result"])


def adopt_trials(folder: StageFolder) -> None:
    """Copy the trials of a finished selection that differs only in how K is chosen: margin and confidence.

    Trials rank the features and do not know either. Copies are complete or, after a kill, run again.
    """
    wanted = _rankings(folder.key.parts)
    for marker in folder.path.parent.glob(f"*/{MARKER}"):
        content = read_marker(marker)
        if content is not None and _rankings(content["parts"]) == wanted:
            files = sorted(marker.parent.glob(_TRIALS.format("*")))
            for file in files:
                shutil.copyfile(file, folder.path / file.name)
            log.info(
                "select: %s reused from %s; only the choice of K changed",
                counted(len(files), "trial"),
                marker.parent.name,
            )
            return


def _rankings(parts: dict[str, str]) -> dict[str, str]:
    """The parts of a selection's key on which its trials depend."""
    return {name: value for name, value in parts.items() if name not in ("config.margin", "config.confidence")}


def run_trial(trials: Trials, draw: Draw, *, watch: Callable[[dict[str, Any]], None] | None = None) -> TrialResult:
    """Run one trial and write its file."""
    result = SelectionObjective(trials.model(), trials.store(), trials.constraints, trials.plan, watch)(draw)
    write_marker(trials.marker(draw), {"draw": asdict(draw), "result": asdict(result)}, [])
    return result

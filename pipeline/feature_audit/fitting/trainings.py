"""Named trainings in a stage's folder: each is run once, by the built-in loop or an external job."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared
from feature_audit.disk import whole
from feature_audit.engine import Engine, Job, LocalEngine, Watch, opened_ranks
from feature_audit.fitting.cache import StageFolder, read_marker, write_marker
from feature_audit.fitting.own_training import has_own_training, job_name, run_job
from feature_audit.fitting.progress import training_bar
from feature_audit.fitting.trained import (
    Trained,
    TrainingFacts,
    load_weights,
    open_store,
    quality,
    save_weights,
    train_one,
)
from feature_audit.models import Ranks, joined, predict, resolve_device
from feature_audit.noninferiority import metric
from feature_audit.schema import ModelSchema

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """A training to run.

    Attributes:
        schema, seed: define the training.
        name: name of the training in the folder.
        label: description for messages.
        watch: called at every step if the training runs in this process; replaces the bar.
    """

    schema: ModelSchema
    name: str
    seed: int
    label: str
    watch: Watch | None = None


@dataclass(frozen=True)
class Trainings:
    """The trainings of one stage.

    Attributes:
        config: with ``data`` as a path, glob or URI.
        prepared: the prepared log.
        folder: contains ``<name>.json`` (facts, written last), ``<name>.npy`` (validation scores) and, for the built-in
            loop, ``<name>.pt`` (weights) or, for an external job, ``<name>.test.npy`` (test scores) and ``<name>.job``.
        rate: compute per second with which an external job's time is converted.
        engine: runs the trainings.
    """

    config: AuditConfig
    prepared: Prepared
    folder: StageFolder
    rate: float = 0.0
    engine: Engine = field(default_factory=LocalEngine, compare=False, repr=False)

    def with_shipped_loop(self) -> Trainings:
        """The same with the built-in training loop, regardless of the configuration."""
        return replace(self, config=self.config.model_copy(update={"trainer": None, "command": None}))

    def fit(self, schema: ModelSchema, name: str, *, seed: int, label: str) -> TrainingFacts:
        """One training; see ``fit_all``."""
        return self.fit_all([Wanted(schema, name, seed, label)])[0]

    def fit_all(self, wanted: Sequence[Wanted]) -> list[TrainingFacts]:
        """Train from scratch, in parallel if the engine can, what was not trained under its name before."""
        known = [self._known(one) for one in wanted]
        missing = [one for one, facts in zip(wanted, known, strict=True) if facts is None]
        for one in missing:
            self._place(one.name, "json").unlink(missing_ok=True)
        alone = replace(self, engine=LocalEngine())
        jobs = [
            Job(
                train_and_keep,
                (alone, replace(one, watch=None)),
                self._place(one.name, "json"),
                one.label,
                one.watch,
                self.config.ranks,
            )
            for one in missing
        ]

        def on_result(place: int, facts: TrainingFacts) -> None:
            log.info("%s, validation %s %.4f", missing[place].label, self.config.metric, facts.metric)

        trained = iter(self.engine.run(jobs, on_result))
        return [facts if facts is not None else next(trained) for facts in known]

    def facts(self, name: str) -> TrainingFacts:
        """Facts about a training that ``fit`` has run."""
        content = read_marker(self._place(name, "json"))
        assert content is not None, "it is trained before it is used"
        return TrainingFacts(**content["facts"])

    def trained(self, schema: ModelSchema, name: str) -> Trained:
        """A training that ``fit`` has run."""
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

    def _known(self, wanted: Wanted) -> TrainingFacts | None:
        content = read_marker(self._place(wanted.name, "json"))
        same = content is not None and content["features"] == list(wanted.schema.names)
        return TrainingFacts(**content["facts"]) if content is not None and same else None

    def train(self, wanted: Wanted, watch: Watch | None = None) -> TrainingFacts:
        """One training in this process, by the built-in loop or an external job; writes its files, marker last."""
        train = self._train_outside if has_own_training(self.config) else self._train
        facts, files = train(wanted, watch)
        content = {"features": list(wanted.schema.names), "facts": asdict(facts)}
        write_marker(self._place(wanted.name, "json"), content, files)
        return facts

    def _train(self, wanted: Wanted, watch: Watch | None) -> tuple[TrainingFacts, list[Path]]:
        facts = self._in_ranks(wanted) if self.config.ranks > 1 else self.train_here(wanted, watch)
        return facts, [self._place(wanted.name, "pt"), self._place(wanted.name, "npy")]

    def _in_ranks(self, wanted: Wanted) -> TrainingFacts:
        """One training by several processes at once; the first failure ends the others."""
        with TemporaryDirectory() as folder, opened_ranks(self.config) as engine:
            rendezvous = Path(folder, "ranks")
            jobs = [
                Job(
                    train_rank,
                    (self, wanted, rank, rendezvous),
                    self._place(wanted.name, "pt"),
                    f"rank {rank} of {wanted.label}",
                )
                for rank in range(self.config.ranks)
            ]
            facts: TrainingFacts = engine.run(jobs)[0]
        return facts

    def train_here(self, wanted: Wanted, watch: Watch | None = None, ranks: Ranks | None = None) -> TrainingFacts:
        """One training by the built-in loop in this process, or one rank's part of it; rank 0 writes the files."""
        store = open_store(self.config, self.prepared)
        model, scores, facts = train_one(
            self.config, store, wanted.schema, seed=wanted.seed, label=wanted.label, progress=watch, ranks=ranks
        )
        if ranks is None or ranks.rank == 0:
            save_weights(model, self._place(wanted.name, "pt"))
            _save(scores, self._place(wanted.name, "npy"))
        return facts

    def _train_outside(self, wanted: Wanted, _: object) -> tuple[TrainingFacts, list[Path]]:
        schema, name, seed = wanted.schema, wanted.name, wanted.seed
        log.info("%s, %s, %d features, seed %d", wanted.label, job_name(self.config), len(schema.fields), seed)
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
        _save(scores, validation)
        _save(found.scores["test"], test)
        model = [] if found.model is None else [file for file in found.model.rglob("*") if file.is_file()]
        return facts, [validation, test, *model]

    def _place(self, name: str, kind: str) -> Path:
        return self.folder.path / f"{name}.{kind}"


def train_and_keep(trainings: Trainings, wanted: Wanted, *, watch: Watch | None = None) -> TrainingFacts:
    """``Trainings.train`` as a job function."""
    return trainings.train(wanted, watch)


def train_rank(trainings: Trainings, wanted: Wanted, rank: int, rendezvous: Path) -> TrainingFacts:
    """A rank's part of a training, as a job function; ``rendezvous`` as in ``models.joined``."""
    config = trainings.config
    if rank:
        warnings.simplefilter("ignore")  # rank 0 gives the same warnings
    alone = rank == 0 and config.workers == 1 and config.engine == "local"
    with (
        joined(rank, config.ranks, rendezvous, resolve_device(config.device)) as ranks,
        training_bar(wanted.label, alone=alone) as watch,
    ):
        return trainings.train_here(wanted, watch, ranks)


def _save(scores: np.ndarray, path: Path) -> None:
    with whole(path) as file:
        np.save(file, scores)

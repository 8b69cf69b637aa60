"""retrain: train pruned models from scratch on exactly the kept features of each K to test, and further full models.

The numbers of trainings are planned here (``fitting/allocation.py``) unless configured. Training number i is the same
for any number of trainings, so the stage's key does not include the numbers: a larger plan continues a smaller one.
"""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, dataclass

import numpy as np

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared
from feature_audit.engine import Engine, LocalEngine
from feature_audit.fitting.allocation import affordable_k, allocate, asked_for, most_affordable
from feature_audit.fitting.cache import StageFolder
from feature_audit.fitting.looks import Look
from feature_audit.fitting.trained import TrainingFacts, active, open_store
from feature_audit.fitting.trainings import Trainings, Wanted
from feature_audit.results import CurvePoint, PowerPlan
from feature_audit.schema import ModelSchema
from feature_audit.selection import Selection
from feature_audit.stages.baseline import Baseline
from feature_audit.stages.load import locate

log = logging.getLogger(__name__)

#: Inputs of a training. The plan reads more keys and is recomputed each time.
KEYS = ("model", "model_params", "attach", "training", "trainer", "command", "device", "metric", "seed")

SAME_SCORES = (
    "Trainings with different seeds gave identical scores, so the interval includes no seed variance. This is "
    "correct if the training is deterministic; if it ignores its seed, the interval is too narrow."
)

#: Distance between the seeds of the pruned models of successive K in the order of testing.
_RUNG_SEEDS = 10_000
#: First seed of the full model's further trainings, away from the seeds of the pruned models.
_FULL_SEED = 50_000


@dataclass(frozen=True)
class PrunedModels:
    """The trainings on the features of one K.

    Attributes:
        schema: the K kept fields.
        facts: facts about each training, one per seed.
    """

    schema: ModelSchema
    facts: list[TrainingFacts]

    @property
    def k(self) -> int:
        """Number of features."""
        return len(self.schema.fields)

    @property
    def names(self) -> list[str]:
        """Names of the trainings in the stage's folder."""
        return [_pruned(self.k, number) for number in range(len(self.facts))]

    @property
    def best_seed(self) -> int:
        """Index of the training with the lowest validation loss: the one that is registered."""
        return int(np.argmin([facts.validation_loss for facts in self.facts]))


@dataclass(frozen=True)
class Retrained:
    """The pruned models of every K to test, and further trainings of the full model.

    Attributes:
        folder: contains the trainings ``pruned_<k>_<i>`` and ``full_<i>`` (see ``fitting.trainings``).
        rungs: the pruned models of each K, in the order of testing.
        full_facts: facts about the full model's further trainings.
        plan: what the trainings are expected to decide at the K proposed by validation.
        same_scores: True if pruned models with different seeds have identical scores.
    """

    folder: StageFolder
    rungs: list[PrunedModels]
    full_facts: list[TrainingFacts]
    plan: PowerPlan
    same_scores: bool

    def at(self, k: int) -> PrunedModels:
        """The pruned models of one K."""
        return next(rung for rung in self.rungs if rung.k == k)

    @property
    def facts(self) -> list[TrainingFacts]:
        """Facts about all trainings."""
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
        """Summary of the trainings, for the cost table."""
        pruned = ", ".join(f"{len(rung.facts)} pruned (K = {rung.k})" for rung in self.rungs)
        return f"{pruned}, {len(self.full_facts)} full"


def features_of(prepared: Prepared, selection: Selection) -> list[list[str]]:
    """Names of the kept features at every K to test, in the order of testing."""
    names = np.asarray(prepared.schema.names)
    return [names[selection.at(k).kept].tolist() for k in selection.rungs]


def retrain(
    config: AuditConfig,
    prepared: Prepared,
    full: Baseline,
    selection: Selection,
    folder: StageFolder,
    look: Look | None = None,
    engine: Engine | None = None,
) -> Retrained:
    """Train pruned models at every K to test, and full models, in the planned or configured numbers.

    Existing trainings are kept: those of a killed stage, and those of a smaller plan. ``look`` is the look of the
    verdict, by default the table's first. All trainings known to be needed are passed to the engine together.
    """
    trainings = Trainings(locate(config), prepared, folder, full.rate, engine or LocalEngine())
    spent = full.spent + selection.compute / full.facts.compute
    schemas = _schemas(config, prepared, full, selection, trainings, spent)
    # The plan is for the K proposed by validation; the others add information on the seed noise.
    in_view = sorted((len(schema.fields) for schema in schemas), key=lambda k: k != selection.k)

    facts, scores = trainings.facts, trainings.validation_scores

    def train(pruned: int, others: int) -> tuple[list[np.ndarray], np.ndarray]:
        # The baseline's seed is config.seed: no other training shares its randomness.
        wanted = [
            _wanted(schema, _pruned(len(schema.fields), number), config.seed + 1 + number + place * _RUNG_SEEDS)
            for place, schema in enumerate(schemas)
            for number in range(pruned)
        ]
        wanted += [
            _wanted(prepared.schema, f"full_{number}", config.seed + _FULL_SEED + number)
            for number in range(others - 1)
        ]
        trainings.fit_all(wanted)
        more = [scores(f"full_{number}") for number in range(others - 1)]
        small = [np.stack([scores(_pruned(k, number)) for number in range(pruned)]) for k in in_view]
        return small, np.stack([full.validation_scores(), *more])

    def price() -> float:
        return sum(facts(_pruned(k, 0)).compute for k in in_view) / full.facts.compute

    measured = _measured(selection)
    plan = allocate(
        config,
        open_store(config, prepared),
        train=train,
        price=price,
        spent=spent,
        estimate=None if measured is None else (measured.delta, measured.std_error),
        others={} if measured is None else measured.others,
        look=look or Look(1, config.looks, config.confidence, ""),
    )
    if not folder.done:
        folder.finish({"plan": asdict(plan)})
    rungs = [
        PrunedModels(schema, [facts(_pruned(len(schema.fields), number)) for number in range(plan.pruned)])
        for schema in schemas
    ]
    more = [facts(f"full_{number}") for number in range(plan.full - 1)]
    names = [rung.names[:2] for rung in rungs]
    same = plan.pruned > 1 and any(np.array_equal(scores(one), scores(other)) for one, other in names)
    if same:
        log.warning("retrain: %s", SAME_SCORES)
    return Retrained(folder, rungs, more, plan, same)


def _schemas(
    config: AuditConfig, prepared: Prepared, full: Baseline, selection: Selection, trainings: Trainings, spent: float
) -> list[ModelSchema]:
    """The features at each K, in the order of testing; fewer K on a large table, if the number is planned.

    The cost is known from the first training, and proportional to the number of parameters at other K.
    """
    schemas = [prepared.schema.keep(names) for names in features_of(prepared, selection)]
    most = most_affordable(sum(prepared.rows.values()), spent)
    if math.isinf(most) or len(schemas) == 1 or asked_for(config)[0] is not None:
        return schemas
    first = schemas[0]
    facts = trainings.fit_all([_wanted(first, _pruned(len(first.fields), 0), config.seed + 1)])[0]
    unit = facts.compute / full.facts.compute / active(config, first)
    kept = schemas[: affordable_k([unit * active(config, schema) for schema in schemas], most)]
    if len(kept) < len(schemas):
        log.info(
            "retrain: only %d of %d values of K are trained, to keep the audit within %g full trainings; seeds=2 "
            "trains all",
            len(kept),
            len(schemas),
            spent + most,
        )
    return kept


def _measured(selection: Selection) -> CurvePoint | None:
    """The selection's measurement at K, by retraining if available; its seeds differ from this stage's."""
    points = [point for point in selection.curve if point.k == selection.k]
    points.sort(key=lambda point: point.source == "retrained")
    return points[-1] if points else None


def _wanted(schema: ModelSchema, name: str, seed: int) -> Wanted:
    return Wanted(schema, name, seed, f"retrain: {name}")


def _pruned(k: int, number: int) -> str:
    return f"pruned_{k}_{number}"

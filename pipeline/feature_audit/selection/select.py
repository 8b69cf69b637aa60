"""The whole selection: from a trained model to K features and the evidence for K.

trials (gates > candidates > surrogate > backward elimination)  >  one ranking  >  curve over K  >  K  >  confirmed
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from concrete_selectors import curve_sizes

from feature_audit.data import Store
from feature_audit.errors import AuditError
from feature_audit.models import to_scores
from feature_audit.results import CurvePoint
from feature_audit.selection.constraints import Constraints
from feature_audit.selection.k.comparison import ValidationComparison
from feature_audit.selection.k.confirm import confirm
from feature_audit.selection.k.rule import Criterion, KChoice, choose_k, propose, rungs
from feature_audit.selection.plan import FullModel, SelectionPlan
from feature_audit.selection.rank_aggregation import aggregate_ranks
from feature_audit.selection.study import RunRound, TrialRow, run_study
from feature_audit.selection.trial import SelectionObjective


class Retrain(Protocol):
    """Trains models on subsets of the features."""

    def __call__(self, kept: Sequence[np.ndarray], first: int) -> list[tuple[np.ndarray, float]]:
        """Train on each of ``kept`` (int64, ascending); their numbers, starting at ``first``, are the seeds.

        Returns:
            For each, scores of the validation rows and the training's compute.
        """


@dataclass(frozen=True)
class Selection:
    """K features and how they were found.

    Attributes:
        k, evidence, reason: see ``selection.k.KChoice``.
        rungs: the K to test, the safest first; K is one of them.
        order: (N,) int64, all features, best first; the first K are kept.
        orders: (R, N) int64, the ranking of each finished trial.
        scores: (N,) float64, of the best trial (see ``concrete_selectors.SelectionPath``).
        curve: validation quality over K, first of the fine-tuned network, then of the retrainings.
        trials: the study's trials; ``importances``: of their settings.
        convergence: a sentence about the best trial's selector.
        compute: compute of trials, curve and confirmations.
    """

    k: int
    evidence: str
    reason: str
    rungs: tuple[int, ...]
    order: np.ndarray
    orders: np.ndarray
    scores: np.ndarray
    curve: list[CurvePoint]
    trials: list[TrialRow]
    importances: dict[str, float]
    convergence: str
    compute: float

    def at(self, k: int) -> Selection:
        """The same ranking cut at another K."""
        return replace(self, k=k)

    @property
    def masks(self) -> np.ndarray:
        """Bool (R, N), the features that each trial's ranking would keep at K."""
        return np.stack([np.isin(np.arange(len(self.order)), order[: self.k]) for order in self.orders])

    @property
    def kept(self) -> np.ndarray:
        """The K features, ascending."""
        return np.sort(self.order[: self.k])

    @property
    def rank(self) -> np.ndarray:
        """(N,) int64, rank of each feature, 1 = best."""
        return np.argsort(self.order) + 1

    @property
    def n_confirmations(self) -> int:
        """Number of retrainings that confirmed K."""
        return sum(point.source == "retrained" for point in self.curve)


def select_features(
    full: FullModel,
    store: Store,
    constraints: Constraints,
    plan: SelectionPlan,
    *,
    retrain: Retrain,
    judged: Store | None = None,
    run_round: RunRound | None = None,
    progress: Callable[[dict[str, Any]], None] | None = None,
) -> Selection:
    """Rank the features in several trials, choose K on validation and confirm it. No test row is read.

    Args:
        full: the trained full model.
        store: its encoded rows.
        constraints: constraints on the kept features.
        plan: trials, settings, and the criterion of the verdict.
        retrain: trains models from scratch on subsets of the features.
        judged: rows on which retrainings are compared with ``full.compared_with``, if ``store`` is a sample.
        run_round: runs trials as ``SelectionObjective`` does; None = sequentially in this process.
        progress: called at every step of a concrete training in this process: phase, step, steps.

    Raises:
        AuditError: no set of whole groups fits the range of K.
    """
    objective = SelectionObjective(full, store, constraints, plan, progress)
    summary = run_study(
        run_round or (lambda draws: [objective(draw) for draw in draws]),
        space=plan.space,
        trials=plan.trials if plan.searches else 1,
        seed=plan.seed,
    )
    best = summary.finished[0]
    orders = [row.notes["order"] for row in sorted(summary.finished, key=lambda row: row.number)]
    order = aggregate_ranks(orders, constraints.groups)
    compare = ValidationComparison(plan.criterion.metric, store, full.validation_scores, plan.further)
    curve, compute = validation_curve(objective, order, compare)
    compute += objective.forward_compute(len(full.train_scores))
    if full.compared_with is not None:
        compare = ValidationComparison(plan.criterion.metric, judged or store, full.compared_with, plan.further)
    of_all = 1.0 if judged is None else store.effective_rows("validation") / judged.effective_rows("validation")
    curve_criterion = replace(plan.criterion, test_ratio=plan.criterion.test_ratio * math.sqrt(of_all))
    choice, tested, retrained, retraining_compute = _choose(
        curve, curve_criterion, order, constraints, plan, compare, retrain
    )
    return Selection(
        k=choice.k,
        evidence=choice.evidence,
        reason=choice.reason,
        rungs=tested,
        order=order,
        orders=np.stack(orders),
        scores=np.array([-np.inf if score is None else score for score in best.notes["scores"]]),
        curve=[*curve, *retrained],
        trials=summary.trials,
        importances=summary.importances,
        convergence=best.notes["convergence"],
        compute=sum(row.notes.get("compute", 0.0) for row in summary.trials) + compute + retraining_compute,
    )


def validation_curve(
    objective: SelectionObjective, order: np.ndarray, compare: ValidationComparison
) -> tuple[list[CurvePoint], float]:
    """Validation quality over K of one network fine-tuned on prefixes of the ranking; and its compute.

    Raises:
        AuditError: no set of whole groups fits the range of K.
    """
    constraints = objective.constraints
    sizes = constraints.prefix_sizes(order)
    fits = [place + 1 for place, k in enumerate(sizes) if constraints.min_k <= k <= constraints.max_k]
    if not fits:
        raise AuditError(
            f"k={constraints.max_k}: no set of whole groups has {constraints.min_k} to {constraints.max_k} features "
            f"(the best group has {sizes[0]}); raise k or remove a group from whole_groups"
        )
    network, schema = objective.nested(order, curve_sizes(fits[-1], fits[0])), objective.store.schema
    points, rows = [], 0
    each = network.predict_each(objective.validation_batches(), network.ks)
    for units, logits in zip(network.ks, each, strict=True):
        scores = to_scores(logits, schema.task, schema.outputs).numpy()
        points.append(compare.point(sizes[units - 1], scores, "masked"))
        rows += len(scores)
    return points, objective.compute(network) + objective.forward_compute(rows)


def _choose(
    curve: list[CurvePoint],
    curve_criterion: Criterion,
    order: np.ndarray,
    constraints: Constraints,
    plan: SelectionPlan,
    compare: ValidationComparison,
    retrain: Retrain,
) -> tuple[KChoice, tuple[int, ...], list[CurvePoint], float]:
    """K, the K to test, what the confirmations measured, and their compute."""
    # A K of all features is the full model itself and provides no evidence about dropping any.
    droppable = [point for point in curve if point.k < constraints.n_features] or curve
    if constraints.is_fixed:
        k = choose_k(droppable, curve_criterion).k
        return KChoice(k, "fixed", f"K = {k} was set by the configuration (k_min = k)"), (k,), [], 0.0
    ks = [
        k for k in constraints.prefix_sizes(order)
        if constraints.min_k <= k <= constraints.max_k and (k < constraints.n_features or len(droppable) == 1)
    ]  # fmt: skip
    spent: list[float] = []

    def measure(sizes: Sequence[int]) -> list[CurvePoint]:
        trained = retrain([np.sort(order[:k]) for k in sizes], len(spent))
        spent.extend(compute for _, compute in trained)
        return [compare.point(k, scores, "retrained") for k, (scores, _) in zip(sizes, trained, strict=True)]

    found = confirm(ks, propose(droppable, curve_criterion), plan.criterion, measure)
    choice = choose_k(found, plan.criterion, retrained=True)
    tested = rungs(found, plan.criterion, choice.k)
    return choice, tested, sorted(found, key=lambda point: point.k), sum(spent)

"""Numbers of pruned and full models to train: planned on validation in two steps, or set by the configuration."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from feature_audit.config import AuditConfig
from feature_audit.data import Store
from feature_audit.fitting.looks import Look
from feature_audit.noninferiority import metric, planning
from feature_audit.noninferiority.clusters import cluster_codes
from feature_audit.noninferiority.comparison import compare
from feature_audit.noninferiority.components import Components
from feature_audit.noninferiority.forecast import Change, forecast
from feature_audit.noninferiority.planning import FEWEST, Arms, Outlook, Question
from feature_audit.noninferiority.scored_rows import ScoredArms
from feature_audit.results import PowerPlan

log = logging.getLogger(__name__)

#: Tables with at least this many rows train slowly: the plan limits the whole audit to this many full trainings.
LARGE_TABLE, MOST_TRAININGS = 50_000, 4.5


class Train(Protocol):
    """Ensures that models are trained, and returns their scores of the validation rows."""

    def __call__(self, pruned: int, full: int, /) -> tuple[list[np.ndarray], np.ndarray]:
        """Scores of at least the given numbers of trainings of the pruned and the full model.

        Returns:
            For each K (trainings, rows[, classes]) of the pruned models, and the same for the full model, whose first
            training is the baseline.
        """


def most_affordable(rows: int, spent: float) -> float:
    """Full trainings left for retraining on a table with this many rows, after ``spent`` full trainings."""
    return math.inf if rows < LARGE_TABLE else MOST_TRAININGS - spent


def asked_for(config: AuditConfig) -> tuple[int | None, int | None]:
    """Numbers of (pruned, full) trainings that the configuration sets; None = to be planned."""
    full = 1 if config.against == "deployed" else config.baseline_seeds
    return _number(config.seeds), _number(full)


def _number(value: int | str) -> int | None:
    return value if isinstance(value, int) else None


def affordable_k(prices: Sequence[float], most: float) -> int:
    """Number of K of a ladder to train: the first, and later ones while the budget allows the minimum of trainings.

    More K on a large table would leave fewer trainings for the decision about the first one.

    Args:
        prices: cost of one training at each K, in full trainings, in the order of testing.
        most: budget in full trainings, for all of them and the second training of the full model.
    """
    spent = FEWEST * np.cumsum(prices) + FEWEST - 1
    return max(int(np.sum(spent <= most)), 1)


def allocate(
    config: AuditConfig,
    store: Store,
    *,
    train: Train,
    price: Callable[[], float],
    spent: float,
    estimate: tuple[float, float] | None,
    look: Look,
    others: Mapping[str, Sequence[float]] = {},
) -> PowerPlan:
    """Plan the trainings, log what they can decide, and run them; the returned plan is based on all of them.

    Args:
        config: the question, and the numbers of trainings if set.
        store: validation labels and units.
        train: trains and scores.
        price: cost of one more pruned model at every K, in full trainings; called after the first trainings.
        spent: full trainings so far; the cheapest plan is always allowed.
        estimate: see ``planning.outlook``.
        others: the same for every further target that a pass requires, with its margin; see ``CurvePoint``.
        look: the coming look at the test rows, which sets the confidence of the verdict.
    """
    rows = sum(store.rows(split) for split in ("train", "validation", "test"))
    test_ratio = store.effective_rows("test") / store.effective_rows("validation")
    asked = [(0, str(config.metric), config.absolute_margin, estimate)]
    for place, one in enumerate(store.schema.outputs):
        if one.name in others:
            delta, error, margin = others[one.name]
            asked.append((place, str(config.targets[one.name].metric), margin, (delta, error)))

    def seen(arms: Arms) -> Outlook:
        """The outlook; with several targets that a pass requires, of the one that is least likely to be decided."""
        pruned, full = train(*arms)
        views = []
        for place, judge, margin, expected in asked:
            one = place, judge, margin
            found = [_on_validation(config, store, one, small[: arms[0]], full[: arms[1]]) for small in pruned]
            view = planning.outlook(found, arms, Question(margin, look.judged_at, test_ratio), expected)
            views.append(replace(view, target=store.schema.outputs[place].name) if len(asked) > 1 else view)
        return min(views, key=lambda view: view.chance(arms))

    def cost(arms: Arms) -> float:
        return arms[0] * price() + arms[1] - 1

    options = planning.allocations(*asked_for(config))
    view, arms = planning.choose(options, seen, cost, most_affordable(rows, spent))
    split_by_share = config.split in (None, "time", "random", "group") and not config.split_files
    new_table = Look(1, config.looks, config.confidence, "").judged_at
    before = Change(look.judged_at, new_table, cost, spent, config.test_share if split_by_share else None)
    log.info("retrain: %s", forecast(view, arms, before).sentence)
    # The report is read after this look, so its advice is about the next one.
    return forecast(seen(arms), arms, replace(before, confidence=look.next_judged_at))


def _on_validation(
    config: AuditConfig, store: Store, asked: tuple[int, str, float], pruned: np.ndarray, full: np.ndarray
) -> Components:
    """Components of one target with its metric and margin, on the rows that have its label."""
    place, judge, margin = asked
    schema = store.schema
    task = schema.outputs[place].task if schema.outputs else schema.task
    target = store.targets("validation")[:, place] if schema.outputs else store.target("validation")
    full, pruned = ((arm[..., place] if schema.outputs else arm) for arm in (full, pruned))
    cluster, clusters = cluster_codes(store.group("validation"), len(target))
    if clusters < 2:  # parity reports that as too few; here, rows are the units
        cluster, clusters = cluster_codes(None, len(target))
    weight = store.weight("validation")
    scored = ScoredArms(target, full, pruned, cluster, clusters, task, config.against == "deployed", weight)
    held = ~np.isnan(target)
    scored = scored if held.all() else scored.on(held)
    return compare(scored, metric(judge, task), "all", margin, "decision").parts

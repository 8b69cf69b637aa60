"""How many pruned and full models an audit trains: planned on validation in two steps, or as the configuration says."""

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

#: Tables of so many rows take long to train: what is planned for them keeps the whole audit to so many full trainings.
LARGE_TABLE, MOST_TRAININGS = 50_000, 4.5


class Train(Protocol):
    """Makes sure that models are trained, and scores the validation rows."""

    def __call__(self, pruned: int, full: int, /) -> tuple[list[np.ndarray], np.ndarray]:
        """Scores of at least so many trainings of either model.

        Returns:
            For each K (trainings, rows[, classes]) of the pruned models, and the same of the full one, the first of
            which is the baseline.
        """


def most_affordable(rows: int, spent: float) -> float:
    """Full trainings that are left for the retrainings of a table of so many rows, of which ``spent`` were used."""
    return math.inf if rows < LARGE_TABLE else MOST_TRAININGS - spent


def asked_for(config: AuditConfig) -> tuple[int | None, int | None]:
    """Trainings of (pruned, full) models that the configuration fixes; None = to be planned."""
    full = 1 if config.against == "deployed" else config.baseline_seeds
    return _number(config.seeds), _number(full)


def _number(value: int | str) -> int | None:
    return value if isinstance(value, int) else None


def affordable_k(prices: Sequence[float], most: float) -> int:
    """How many K of a ladder are trained: the first, and those after it that leave room for the fewest trainings.

    More K on a large table would take from the trainings that decide about the first one.

    Args:
        prices: of one training at each K in the order of testing, in full trainings.
        most: full trainings to spend on all of them and on the full model's second one.
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
    """Plan the trainings, say what they can decide, and do them; what is returned has looked at all of them.

    Args:
        config: the numbers, if they are given, and the question.
        store: validation labels and units.
        train: trains and scores.
        price: of one more pruned model at every K, in full trainings; asked after the first ones.
        spent: full trainings so far; the cheapest plan is always allowed.
        estimate: see ``planning.outlook``.
        others: the same of every further target that a pass needs, with its margin; see ``CurvePoint``.
        look: the coming one at the test rows, at whose confidence the verdict will be judged.
    """
    rows = sum(store.rows(split) for split in ("train", "validation", "test"))
    test_ratio = store.effective_rows("test") / store.effective_rows("validation")
    asked = [(0, str(config.metric), config.absolute_margin, estimate)]
    for place, one in enumerate(store.schema.outputs):
        if one.name in others:
            delta, error, margin = others[one.name]
            asked.append((place, str(config.targets[one.name].metric), margin, (delta, error)))

    def seen(arms: Arms) -> Outlook:
        """Of several targets that a pass needs, the one that these trainings are least likely to decide."""
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
    # The report is read after this look, so what it advises would be another one.
    return forecast(seen(arms), arms, replace(before, confidence=look.next_judged_at))


def _on_validation(
    config: AuditConfig, store: Store, asked: tuple[int, str, float], pruned: np.ndarray, full: np.ndarray
) -> Components:
    """Components of a target, its metric and margin, on the rows that have its label."""
    place, judge, margin = asked
    schema = store.schema
    task = schema.outputs[place].task if schema.outputs else schema.task
    target = store.targets("validation")[:, place] if schema.outputs else store.target("validation")
    full, pruned = ((arm[..., place] if schema.outputs else arm) for arm in (full, pruned))
    cluster, clusters = cluster_codes(store.group("validation"), len(target))
    if clusters < 2:  # parity says that this is too few; here the rows serve
        cluster, clusters = cluster_codes(None, len(target))
    weight = store.weight("validation")
    scored = ScoredArms(target, full, pruned, cluster, clusters, task, config.against == "deployed", weight)
    held = ~np.isnan(target)
    scored = scored if held.all() else scored.on(held)
    return compare(scored, metric(judge, task), "all", margin, "decision").parts

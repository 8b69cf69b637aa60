"""Why a comparison that holds is no pass all the same: nothing is lost where there was nothing to lose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from feature_audit.labels import MIN_PER_CLASS
from feature_audit.noninferiority.chance import SURE, Chance, against_chance
from feature_audit.noninferiority.references import Reference
from feature_audit.noninferiority.scored_rows import ScoredArms
from feature_audit.noninferiority.sentences import percentage, signed, title
from feature_audit.schema import Task
from feature_audit.weighting import effective_size

#: Resampled units, and units with a row of either class, below which their noise is not known (docs/parity.md).
MIN_UNITS = MIN_PER_CLASS

_CHANCE_REMEDY = (
    "Models that are better than chance: check target, positive, time, split and kinds, or give more test rows."
)


@dataclass(frozen=True)
class Reservation:
    """What keeps an audit from passing.

    Attributes:
        reason: a clause without a full stop.
        remedy: what would change it, as a sentence.
    """

    reason: str
    remedy: str


def chances(scored: ScoredArms, metric: str, confidence: float) -> dict[str, Chance]:
    """Both models, ``full`` and ``pruned``, against the best constant on the test rows."""
    arms = {"full": scored.baseline, "pruned": scored.pruned}
    return {
        name: against_chance(
            scored.y,
            arm,
            task=scored.task,
            metric=metric,
            cluster=scored.cluster,
            confidence=confidence,
            weight=scored.weight,
        )
        for name, arm in arms.items()
    }


def reservations(
    scored: ScoredArms,
    found: dict[str, Chance],
    references: Sequence[Reference],
    *,
    passes: bool,
    margin: float,
    confidence: float,
    cluster_name: str,
) -> list[Reservation]:
    """Everything that keeps these models from a pass, the weightiest first.

    Args:
        scored: both arms.
        found: what ``chances`` gave.
        references: what the full model was compared with, in addition to chance.
        passes: would the difference pass by itself? Only then must both models be surely better than chance; else a
            model that is better at the usual confidence does not explain the verdict.
        margin, confidence: of the decision.
        cluster_name: what the clusters are called.
    """
    at_chance = {name: one for name, one in found.items() if not (one.surely_better if passes else one.better)}
    made = [Reservation(_no_better(name, one), _CHANCE_REMEDY) for name, one in at_chance.items()][:1]
    made += few_units(scored.y, scored.cluster, scored.task, cluster_name, scored.weight)
    made += [
        Reservation(_worse(one, margin, confidence), one.remedy)
        for one in references
        if one.clearly_worse(margin, confidence)
    ]
    return made


def _no_better(name: str, chance: Chance) -> str:
    how = "worse" if chance.worse else "not surely better" if chance.better else "not better"
    doubt = f"; at {SURE:.2%} confidence it reaches chance" if chance.better else ""
    why = "parity with it proves nothing" if name == "full" else "a margin that allows this proves nothing"
    return (
        f"the {name} model is {how} than chance on the test split ({title(chance.metric)} {chance.value:.4f}, interval "
        f"{chance.low:.4f} to {chance.high:.4f}, chance {chance.chance:.4f}{doubt}): {why}"
    )


def few_units(
    y: np.ndarray, cluster: np.ndarray | None, task: Task, cluster_name: str, weight: np.ndarray | None = None
) -> list[Reservation]:
    """Too few resampled units, or too few that hold a row of some class, for their noise to be known.

    Args:
        y: (rows,) labels.
        cluster: (rows,) users; None = each row by itself, of which `load` has enough unless weights single some out.
        task: binary labels are counted by class.
        cluster_name: what the clusters are called.
        weight: (rows,) > 0; with them units count by their effective number. None = 1 each.
    """
    if cluster is None:
        if weight is None:
            return []
        cluster = np.arange(len(y))
    if weight is not None:
        cluster_name = f"effective {cluster_name}"
    total = _units(cluster, weight)
    counts = {f"has {_counted(total)} {cluster_name}": total}
    if task == "binary":
        for code, word in ((1, "positive"), (0, "negative")):
            mine = y == code
            units = _units(cluster[mine], None if weight is None else weight[mine])
            counts[f"has all its {word} rows in {_counted(units)} of {_counted(total)} {cluster_name}"] = units
    remedy = f"At least {MIN_UNITS}: give more test rows, or name a smaller unit with `group`."
    if weight is not None:
        remedy = f"Counted by weight, at least {MIN_UNITS}: check `weight`, give more test rows, or a smaller `group`."
    return [
        Reservation(f"the test split {what}, too few to know how much they differ", remedy)
        for what, units in counts.items()
        if units < MIN_UNITS
    ]


def _units(cluster: np.ndarray, weight: np.ndarray | None) -> float:
    """Units that hold these rows; with weights their effective number."""
    labels, codes = np.unique(cluster, return_inverse=True)
    if weight is None or not len(labels):
        return len(labels)
    return effective_size(np.bincount(codes.reshape(-1), weight))


def _counted(units: float) -> str:
    """As in "has 1.3 users": effective numbers are no whole ones, and matter where they are small."""
    return f"{units:.2g}" if units < MIN_UNITS else f"{units:.0f}"


def _worse(one: Reference, margin: float, confidence: float) -> str:
    low, high = one.interval(confidence)
    return (
        f"the full model is clearly worse than {one.name} on the {one.split} rows ({title(one.metric)} {one.full:.4f} "
        f"against {one.other:.4f}, {percentage(confidence)} interval {signed(low, margin)} to {signed(high, margin)}): "
        "parity with it says nothing of a good model"
    )

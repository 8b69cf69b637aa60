"""Reasons to withhold a pass although the difference is within the margin, such as models no better than chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from feature_audit.labels import MIN_PER_CLASS
from feature_audit.metric_names import metric_name
from feature_audit.noninferiority.chance import SURE, Chance, against_chance
from feature_audit.noninferiority.references import Reference
from feature_audit.noninferiority.scored_rows import ScoredArms
from feature_audit.noninferiority.sentences import percentage, signed
from feature_audit.results import MetricDelta
from feature_audit.schema import Task
from feature_audit.weighting import effective_size

#: Minimum number of units, and of units with rows of either class, for a noise estimate
#: (docs/results/error-rates-rare.md).
MIN_UNITS = MIN_PER_CLASS
#: Largest share of the test rows that one unit may hold (docs/results/error-rates-rare.md).
MOST_OF_ONE = 0.2

_CHANCE_REMEDY = "Check target, positive, time, split and kinds, or use more test rows; both models must beat chance."


@dataclass(frozen=True)
class Reservation:
    """A reason why an audit cannot pass.

    Attributes:
        reason: a clause without a full stop.
        remedy: how to resolve it, as a sentence.
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
    """All reasons that prevent a pass, the most important first.

    Args:
        scored: both arms.
        found: result of ``chances``.
        references: comparisons with other models than chance. A pruned model that is clearly worse than one of them
            cannot pass. The full model may be: what it lacks, the pruned model does not.
        passes: whether the difference alone would pass. Only then must both models be better than chance at the
            strict confidence level; otherwise the usual level is enough.
        margin, confidence: of the decision.
        cluster_name: name of the resampling units.
    """
    at_chance = {name: one for name, one in found.items() if not (one.surely_better if passes else one.better)}
    made = [Reservation(_no_better(name, one), _CHANCE_REMEDY) for name, one in at_chance.items()][:1]
    made += few_units(scored.y, scored.cluster, scored.task, cluster_name, scored.weight)
    made += [
        Reservation(_worse(one, margin, confidence), one.remedy)
        for one in references
        if one.model == "pruned" and one.clearly_worse(margin, confidence)
    ]
    return made


def of_further(
    scored: ScoredArms, row: MetricDelta, *, metric: str, confidence: float, cluster_name: str
) -> list[Reservation]:
    """Reasons that prevent a pass on a secondary target; empty if only a proven loss on it matters."""
    if row.mode != "not_worse":
        return []
    made = reservations(
        scored,
        chances(scored, metric, confidence),
        (),
        passes=row.verdict == "pass",
        margin=row.margin or 0.0,
        confidence=confidence,
        cluster_name=cluster_name,
    )
    return [Reservation(f"of target {scored.target}: {one.reason}", one.remedy) for one in made]


def _no_better(name: str, chance: Chance) -> str:
    how = "worse" if chance.worse else "not clearly better" if chance.better else "not better"
    doubt = f"; the {SURE:.2%} interval includes chance" if chance.better else ""
    why = "parity with it proves nothing" if name == "full" else "a margin that allows this proves nothing"
    return (
        f"the {name} model is {how} than chance on the test split ({metric_name(chance.metric)} {chance.value:.4f}, "
        f"interval {chance.low:.4f} to {chance.high:.4f}, chance {chance.chance:.4f}{doubt}): {why}"
    )


def few_units(
    y: np.ndarray, cluster: np.ndarray | None, task: Task, cluster_name: str, weight: np.ndarray | None = None
) -> list[Reservation]:
    """Reasons if the variance of the resampling units cannot be estimated.

    There are too few of them, in total or with rows of one class, or one of them holds too many of the rows: how far
    such a unit is from the others is then seen only once.

    Args:
        y: (rows,) labels.
        cluster: (rows,) users; None = each row is a unit (`load` ensures enough of them unless weights are uneven).
        task: for a binary task, units are also counted per class.
        cluster_name: name of the resampling units.
        weight: (rows,) > 0; units are then counted by their effective number. None = 1 each.
    """
    if cluster is None:
        if weight is None:
            return []
        cluster = np.arange(len(y))
    counted = cluster_name if weight is None else f"effective {cluster_name}"
    _, codes = np.unique(cluster, return_inverse=True)
    sizes = _sizes(codes, weight)
    total = _units(sizes, weight)
    counts = {f"has {_counted(total)} {counted}": total}
    if task == "binary":
        for code, word in ((1, "positive"), (0, "negative")):
            mine = y == code
            units = _units(_sizes(codes[mine], None if weight is None else weight[mine]), weight)
            counts[f"has all its {word} rows in {_counted(units)} of {_counted(total)} {counted}"] = units
    remedy = f"At least {MIN_UNITS} are needed: use more test rows, or a finer `group`."
    if weight is not None:
        remedy = f"At least {MIN_UNITS} are needed: check `weight`, use more test rows, or a finer `group`."
    found = [
        Reservation(f"the test split {what}, too few to estimate their variance", remedy)
        for what, units in counts.items()
        if units < MIN_UNITS
    ]
    largest = sizes.max() / sizes.sum()
    if largest > MOST_OF_ONE and not found:
        much = f"one of the {cluster_name} has {largest:.0%} of the test rows"
        reason = f"{much}, too many to estimate the variance between them"
        found.append(
            Reservation(reason, f"At most {MOST_OF_ONE:.0%} is allowed: leave it out, or use a finer `group`.")
        )
    return found


def _sizes(codes: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """Number of rows, or their weight, of every unit that has any."""
    sizes = np.bincount(codes.reshape(-1), weight)
    return sizes[sizes > 0]


def _units(sizes: np.ndarray, weight: np.ndarray | None) -> float:
    """Number of units; with weights, the effective number."""
    return len(sizes) if weight is None or not len(sizes) else effective_size(sizes)


def _counted(units: float) -> str:
    """A count as text, as in "has 1.3 users": small effective numbers keep their fraction."""
    return f"{units:.2g}" if units < MIN_UNITS else f"{units:.0f}"


def _worse(one: Reference, margin: float, confidence: float) -> str:
    low, high = one.interval(confidence)
    return (
        f"the pruned model is clearly worse than {one.name} on the {one.split} rows ({metric_name(one.metric)} "
        f"{one.value:.4f} vs. {one.other:.4f}, {percentage(confidence)} interval {signed(low, margin)} to "
        f"{signed(high, margin)}), so matching the full model is not enough"
    )

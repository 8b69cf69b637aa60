"""Checks the full model's validation quality: one log line after baseline, and the report's warnings."""

from __future__ import annotations

from dataclasses import dataclass

from feature_audit.config import AuditConfig
from feature_audit.fitting.boosting import BOOSTING_REMEDY, Boosting
from feature_audit.noninferiority.chance import Chance


@dataclass(frozen=True)
class References:
    """The references of a full model on the validation rows.

    Attributes:
        chance: the full model against the best constant.
        boosting: the full model against a quick gradient boosting.
    """

    chance: Chance
    boosting: Boosting


def line(config: AuditConfig, value: float, references: References) -> str:
    """The full model compared with chance and gradient boosting on validation, and what to check if it is weak.

    Args:
        config: metric, task and margin.
        value: decision metric of the full model on validation.
        references: the models that it is compared with.
    """
    chance = references.chance
    interval = f"[{chance.low:.4f}, {chance.high:.4f}]"
    shown = f"full model: validation {chance.metric} {chance.value:.4f} {interval}, chance {chance.chance:.4f}"
    if chance.metric != config.metric:
        shown += f"; {config.metric} {value:.4f}"
    boosting = references.boosting
    if boosting.reference is None:
        shown += f"; not compared with gradient boosting: {boosting.missing}"
    else:
        shown += f"; quick gradient boosting: {config.metric} {boosting.reference.other:.4f}"
    return ": ".join(filter(None, [shown, "; ".join(_shortfalls(config, references))]))


def warnings(config: AuditConfig, value: float, references: References, matched_by: float | None = None) -> list[str]:
    """Warnings for the report: the same line if the full model is weak, and a missing boosting reference.

    Args:
        config, value, references: as for ``line``.
        matched_by: value of pruned models that are not clearly worse than a gradient boosting that the full model is
            clearly worse than; otherwise None.
    """
    found = []
    if _shortfalls(config, references):
        meaning = "Parity with such a model proves little"
        if matched_by is not None and references.chance.better:
            pruned = f"the pruned model ({config.metric} {matched_by:.4f}) is not clearly worse than gradient boosting"
            meaning = f"The verdict does not depend on it, because {pruned}"
        found.append(f"F{line(config, value, references)[1:]}. {meaning}")
    if missing := references.boosting.missing:
        found.append(
            f"The full model was not compared with gradient boosting, which would reveal a weak model: {missing}"
        )
    return found


def _shortfalls(config: AuditConfig, references: References) -> list[str]:
    found = []
    if not references.chance.better:
        verdict = "worse" if references.chance.worse else "not better"
        found.append(f"{verdict} than chance; check target, positive, time, split and kinds")
    reference = references.boosting.reference
    if reference is not None and reference.clearly_worse(config.absolute_margin, config.confidence):
        found.append(f"gradient boosting is clearly better, so the network misses signal; {BOOSTING_REMEDY}")
    return found

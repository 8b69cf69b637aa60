"""What the full model's validation quality says about the audit: one line after baseline, and the report's warnings."""

from __future__ import annotations

from dataclasses import dataclass

from feature_audit.config import AuditConfig
from feature_audit.noninferiority.chance import Chance
from feature_audit.noninferiority.references import Reference

#: What to do where gradient boosting is clearly better.
BOOSTING_REMEDY = "look at kinds (ids read as numbers?), try another model or more training.max_epochs"


@dataclass(frozen=True)
class References:
    """What a full model is compared with on the validation rows.

    Attributes:
        chance: the full model against the best constant.
        boosting: the full model against a quick gradient boosting.
        boosting_seconds: wall time of its training.
    """

    chance: Chance
    boosting: Reference
    boosting_seconds: float


def line(config: AuditConfig, value: float, references: References) -> str:
    """The full model against chance and gradient boosting on validation, and what to look at where it falls short.

    Args:
        config: names metric, task and margin.
        value: the full model's decision metric on validation.
        references: what it is compared with.
    """
    chance = references.chance
    interval = f"[{chance.low:.4f}, {chance.high:.4f}]"
    shown = f"full model: validation {chance.metric} {chance.value:.4f} {interval}, chance {chance.chance:.4f}"
    if chance.metric != config.metric:
        shown += f"; {config.metric} {value:.4f}"
    shown += f"; for comparison, quick gradient boosting: {config.metric} {references.boosting.other:.4f}"
    return ": ".join(filter(None, [shown, "; ".join(_shortfalls(config, references))]))


def warnings(config: AuditConfig, value: float, references: References) -> list[str]:
    """The same line for the report, where the full model falls short; else none."""
    if not _shortfalls(config, references):
        return []
    return [f"F{line(config, value, references)[1:]}. Parity with such a model proves little."]


def _shortfalls(config: AuditConfig, references: References) -> list[str]:
    found = []
    if not references.chance.better:
        verdict = "worse" if references.chance.worse else "not better"
        found.append(f"{verdict} than chance, check target, positive, time, split and kinds")
    if references.boosting.clearly_worse(config.absolute_margin, config.confidence):
        found.append(f"gradient boosting is clearly better, the network misses something: {BOOSTING_REMEDY}")
    return found

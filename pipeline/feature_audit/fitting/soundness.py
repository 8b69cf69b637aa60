"""What the full model's validation quality says about the audit: one line after baseline, and the report's warnings."""

from __future__ import annotations

from dataclasses import dataclass

from feature_audit.config import AuditConfig
from feature_audit.parity import metric
from feature_audit.parity.chance import Chance


@dataclass(frozen=True)
class References:
    """What a full model is compared with on the validation rows.

    Attributes:
        chance: the full model against the best constant.
        boosting: the decision metric of a quick gradient boosting.
        boosting_error: standard error of its difference from the full model's.
        boosting_seconds: wall time of its training.
    """

    chance: Chance
    boosting: float
    boosting_error: float
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
    shown += f"; for comparison, quick gradient boosting: {config.metric} {references.boosting:.4f}"
    return ": ".join(filter(None, [shown, "; ".join(_shortfalls(config, value, references))]))


def warnings(config: AuditConfig, value: float, references: References) -> list[str]:
    """The same line for the report, where the full model falls short; else none."""
    if not _shortfalls(config, value, references):
        return []
    return [f"F{line(config, value, references)[1:]}. Parity with such a model proves little."]


def _shortfalls(config: AuditConfig, value: float, references: References) -> list[str]:
    found = []
    if not references.chance.better:
        verdict = "worse" if references.chance.worse else "not better"
        found.append(f"{verdict} than chance, check target, positive, time, split and kinds")
    if weaker_than_boosting(config, value, references.boosting, references.boosting_error):
        found.append(
            "gradient boosting is clearly better, the network misses something: look at kinds (ids read as numbers?), "
            "try another model or more training.max_epochs"
        )
    return found


def weaker_than_boosting(config: AuditConfig, value: float, boosting: float, std_error: float = 0.0) -> bool:
    """Does the full model fall short of a quick gradient boosting by more than two margins, and beyond noise?

    The metric itself says which is better: of a ratio such as calibration, what lies nearer to 1.

    Args:
        config: names metric and task, and the margin.
        value: the full model's metric on validation.
        boosting: the boosting's.
        std_error: of the difference.
    """
    assert config.metric is not None  # the audit resolves metric and task before the first training
    assert config.task is not None
    quality = metric(config.metric, config.task).quality
    return bool(quality(boosting) - quality(value) > 2 * max(config.margin, std_error, 1e-12))

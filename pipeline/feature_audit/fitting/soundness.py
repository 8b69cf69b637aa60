"""What the full model's validation quality says about the audit: one line after baseline, and the report's warnings."""

from __future__ import annotations

from typing import Any

from feature_audit.config import AuditConfig
from feature_audit.parity import metric
from feature_audit.parity.chance import Chance


def line(config: AuditConfig, facts: dict[str, Any]) -> str:
    """The full model against chance and gradient boosting on validation, and what to look at where it falls short.

    Args:
        config: names metric, task and margin.
        facts: of the baseline stage.
    """
    chance = Chance(**facts["chance"])
    interval = f"[{chance.low:.4f}, {chance.high:.4f}]"
    shown = f"full model: validation {chance.metric} {chance.value:.4f} {interval}, chance {chance.chance:.4f}"
    if chance.metric != config.metric:
        shown += f"; {config.metric} {facts['metric']:.4f}"
    shown += f"; for comparison, quick gradient boosting: {config.metric} {facts['yardstick']['metric']:.4f}"
    return ": ".join(filter(None, [shown, "; ".join(_shortfalls(config, facts))]))


def warnings(config: AuditConfig, facts: dict[str, Any]) -> list[str]:
    """The same line for the report, where the full model falls short; else none."""
    if not _shortfalls(config, facts):
        return []
    return [f"F{line(config, facts)[1:]}. Parity with such a model proves little."]


def _shortfalls(config: AuditConfig, facts: dict[str, Any]) -> list[str]:
    chance, yardstick = Chance(**facts["chance"]), facts["yardstick"]
    found = []
    if not chance.better:
        verdict = "worse" if chance.worse else "not better"
        found.append(f"{verdict} than chance, check target, positive, time, split and kinds")
    if weaker_than_boosting(config, facts["metric"], yardstick["metric"], yardstick["std_error"]):
        found.append(
            "gradient boosting is clearly better, the network misses something: look at kinds (ids read as numbers?), "
            "try another model or more training.max_epochs"
        )
    return found


def weaker_than_boosting(config: AuditConfig, value: float, yardstick: float, std_error: float = 0.0) -> bool:
    """Does the full model fall short of a quick gradient boosting by more than two margins, and beyond noise?

    The metric itself says which is better: of a ratio such as calibration, what lies nearer to 1.

    Args:
        config: names metric and task, and the margin.
        value: the full model's metric on validation.
        yardstick: the boosting's.
        std_error: of the difference.
    """
    assert config.metric is not None  # the audit resolves metric and task before the first training
    assert config.task is not None
    quality = metric(config.metric, config.task).quality
    return bool(quality(yardstick) - quality(value) > 2 * max(config.margin, std_error, 1e-12))

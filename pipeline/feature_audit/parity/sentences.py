"""The verdict in one plain sentence."""

from __future__ import annotations

import math

from feature_audit.parity.chance import Chance
from feature_audit.results import MetricDelta, Verdict

_TITLES = {
    "auc": "AUC",
    "gauc": "GAUC",
    "ndcg": "NDCG@10",
    "r2": "R²",
    "rmse": "RMSE",
    "mae": "MAE",
    "normalised_entropy": "normalised entropy",
}

CHANCE_REMEDY = (
    "A full model that is better than chance: check target, positive, time, split and kinds, or give more test rows."
)


def title(metric: str) -> str:
    """How people write the metric."""
    return _TITLES.get(metric, metric.upper() if metric.startswith("ndcg") else metric)


def sentence(
    deltas: list[MetricDelta], verdict: Verdict, *, confidence: float, seeds: tuple[int, int], cluster_name: str
) -> str:
    """What the verdict says, with its numbers.

    Args:
        deltas: decision row first.
        verdict: of the whole audit.
        confidence: of the interval.
        seeds: pruned and baseline trainings.
        cluster_name: what was resampled.
    """
    row = deltas[0]
    digits = _digits(row.margin or row.delta)
    who = f"{row.rows:,} test rows" + (f" from {row.units:,} {cluster_name}" if cluster_name != "rows" else "")
    trained = f"{seeds[0]} retraining{'s' if seeds[0] > 1 else ''}"
    direction = "better" if row.delta >= 0 else "worse"
    estimate = (
        f"{title(row.metric)} is {abs(row.delta):.{digits}f} {direction} than the full model's "
        f"({percentage(confidence)} interval {_signed(row.ci_low, digits)} to {_signed(row.ci_high, digits)}, "
        f"{trained}, {who})"
    )
    margin = f"{row.margin or 0:.{digits}f}"
    failed = _named(deltas, "fail")
    if failed and row.verdict != "fail":
        return f"Fail: the pruned model loses more than its margin on {failed}; its {estimate}."
    closing = {
        "pass": f"a loss of {margin} or more is ruled out",
        "fail": f"it loses more than the margin of {margin}",
        "inconclusive": f"a loss of {margin} is not ruled out",
    }[verdict]
    notes = "; for these two artifacts only, as one training each says nothing of seed noise" if sum(seeds) == 2 else ""
    undecided = _named(deltas, "inconclusive")
    notes += f"; not decided: {undecided}" if undecided and verdict == "pass" else ""
    return f"{verdict.capitalize()}: the pruned model's {estimate}: {closing}{notes}."


def percentage(confidence: float) -> str:
    """A level without padding and with three digits of what it lacks: ``95%``, ``97.5%``, ``99.9975%``."""
    decimals = max(1, 2 - math.floor(math.log10(100 * (1 - confidence))))
    return f"{100 * confidence:.{decimals}f}".rstrip("0").rstrip(".") + "%"


def no_better_than_chance(chance: Chance) -> str:
    """The verdict's sentence where a model without features would do as well as the full one."""
    return (
        f"Inconclusive: the full model is {'worse' if chance.worse else 'not better'} than chance on the test split "
        f"({title(chance.metric)} {chance.value:.4f}, interval {chance.low:.4f} to {chance.high:.4f}, chance "
        f"{chance.chance:.4f}): parity with it proves nothing."
    )


def _named(deltas: list[MetricDelta], verdict: Verdict) -> str:
    """The guards with that verdict, as a list for people."""
    rows = [row for row in deltas if row.role == "guard" and row.verdict == verdict]
    return ", ".join(title(row.metric) + (f" in {row.slice}" if row.slice != "all" else "") for row in rows)


def _digits(scale: float) -> int:
    """Decimals that show two digits of the margin, at least four."""
    places = 4
    while places < 10 and scale and abs(scale) * 10 ** (places - 1) < 1:
        places += 1
    return places


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")

"""The verdict as one plain sentence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from feature_audit.metric_names import metric_name
from feature_audit.results import MetricDelta, Verdict


def sentence(
    deltas: list[MetricDelta],
    verdict: Verdict,
    *,
    confidence: float,
    seeds: tuple[int, int],
    cluster_name: str,
    deployed: bool = False,
    unjudged: Sequence[str] = (),
) -> str:
    """The verdict in words, with its numbers.

    Args:
        deltas: decision row first.
        verdict: of the whole audit.
        confidence: of the interval.
        seeds: pruned and baseline trainings.
        cluster_name: name of the resampling units.
        deployed: whether the full model was a fixed one.
        unjudged: slices that a pass requires and that are too small to test.
    """
    first = _of_decision(deltas, verdict, confidence, seeds, cluster_name, deployed=deployed, unjudged=unjudged)
    others = [row for row in deltas[1:] if row.target and row.target != deltas[0].target]
    return " ".join([first, *(_of_other(row, confidence) for row in others)])


def _of_decision(
    deltas: list[MetricDelta],
    verdict: Verdict,
    confidence: float,
    seeds: tuple[int, int],
    cluster_name: str,
    *,
    deployed: bool,
    unjudged: Sequence[str],
) -> str:
    row = deltas[0]
    digits = _digits(row.margin or row.delta)
    who = f"{row.rows:,} test rows" + (f" from {row.units:,} {cluster_name}" if cluster_name != "rows" else "")
    trained = f"{seeds[0]} retraining{'s' if seeds[0] > 1 else ''}"
    if seeds[1] > 1:
        trained += f" vs. {seeds[1]} of the full model"
    if deployed:
        trained += " vs. the one full model as trained, without its seed variance"
    direction = "better" if row.delta >= 0 else "worse"
    estimate = (
        f"{_measure(row)} is {abs(row.delta):.{digits}f} {direction} than the full model's "
        f"({percentage(confidence)} interval {_signed(row.ci_low, digits)} to {_signed(row.ci_high, digits)}, "
        f"{trained}, {who})"
    )
    margin = f"{row.margin or 0:.{digits}f}"
    failed = named(row for row in guards(deltas) if row.verdict == "fail")
    if failed and row.verdict != "fail":
        return f"Fail: the pruned model loses more than the margin on {failed}; its {estimate}."
    if verdict == "inconclusive" and row.verdict == "pass":
        open_ones = ", ".join(filter(None, [named(not_shown(deltas)), *unjudged]))
        return (
            f"Inconclusive: the pruned model's {estimate}: a loss of {margin} or more is ruled out, but a loss beyond "
            f"the margin is not ruled out on {open_ones}."
        )
    closing = {
        "pass": f"a loss of {margin} or more is ruled out",
        "fail": f"it loses more than the margin of {margin}",
        "inconclusive": f"a loss of {margin} is not ruled out",
    }[verdict]
    notes = "; this covers these two artifacts only, without seed variance" if sum(seeds) == 2 else ""
    undecided = named(row for row in guards(deltas) if row.verdict == "inconclusive")
    notes += f"; inconclusive: {undecided}" if undecided and verdict == "pass" else ""
    return f"{verdict.capitalize()}: the pruned model's {estimate}: {closing}{notes}."


def signed(value: float, scale: float) -> str:
    """A signed difference, with as many digits as the margin needs."""
    return _signed(value, _digits(scale))


def percentage(confidence: float) -> str:
    """A confidence level without trailing zeros; its distance from 100% has three digits: ``97.5%``, ``99.9975%``."""
    decimals = max(1, 2 - math.floor(math.log10(100 * (1 - confidence))))
    return f"{100 * confidence:.{decimals}f}".rstrip("0").rstrip(".") + "%"


def guards(deltas: Iterable[MetricDelta]) -> list[MetricDelta]:
    """The rows of guards."""
    return [row for row in deltas if row.role == "guard"]


def not_shown(deltas: Iterable[MetricDelta]) -> list[MetricDelta]:
    """The guards that a pass requires and that are not proven non-inferior."""
    return [row for row in guards(deltas) if row.mode == "not_worse" and row.verdict != "pass"]


def named(rows: Iterable[MetricDelta]) -> str:
    """Guards as a readable list."""
    return ", ".join(_measure(row) + (f" in {row.slice}" if row.slice != "all" else "") for row in rows)


def _measure(row: MetricDelta) -> str:
    """The metric and, with several targets, its target: `AUC of convert`."""
    return f"{metric_name(row.metric)} of {row.target}" if row.target else metric_name(row.metric)


def _of_other(row: MetricDelta, confidence: float) -> str:
    digits = _digits(row.margin or row.delta)
    margin = f"{row.margin or 0:.{digits}f}"
    closing = {
        "pass": f"a loss of {margin} or more is ruled out",
        "fail": f"the loss exceeds the margin of {margin}",
        "inconclusive": f"a loss of {margin} is not ruled out",
    }[row.verdict or "inconclusive"]
    if row.mode == "not_shown_worse" and row.verdict != "fail":
        closing = f"no loss beyond {margin} is proven"
    direction = "better" if row.delta >= 0 else "worse"
    return (
        f"{_measure(row)} is {abs(row.delta):.{digits}f} {direction} ({percentage(confidence)} interval "
        f"{_signed(row.ci_low, digits)} to {_signed(row.ci_high, digits)}, {row.rows:,} rows): {closing}."
    )


def _digits(scale: float) -> int:
    """Decimals that show two digits of the margin, at least four."""
    places = 4
    while places < 10 and scale and abs(scale) * 10 ** (places - 1) < 1:
        places += 1
    return places


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")

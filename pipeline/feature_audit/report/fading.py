"""The effect of an abrupt cut on the current full model: sentence, table and chart of its fading curve."""

from __future__ import annotations

from dataclasses import dataclass

from feature_audit.metric_names import metric_name
from feature_audit.report import charts, numbers, view
from feature_audit.results import AuditReport, FadePoint


@dataclass(frozen=True)
class Picture:
    """Change of the metric by wave and coverage, in SVG user units.

    Attributes:
        frame: the plotting rectangle.
        x_ticks: the waves, where their coverage reaches 0; ``y_ticks``: changes.
        line: points of the curve; ``marks`` the same as pairs.
        limit: the margin.
    """

    frame: charts.Frame
    x_ticks: list[charts.Tick]
    y_ticks: list[charts.Tick]
    line: str
    marks: list[tuple[float, float]]
    limit: charts.Tick


def points(report: AuditReport) -> list[FadePoint]:
    """The curve, full coverage first; empty if it was not measured or has no finite values."""
    found = report.savings.fading if report.savings else []
    return [point for point in found if numbers.known(point.delta)] if len(found) > 1 else []


def sentence(report: AuditReport) -> str:
    """The effect of a cut without retraining, compared with the retrained model."""
    found = points(report)
    if not found:
        return ""
    metric, decimals = metric_name(report.metric), max(4, numbers.decimals_for(report.margin))
    last, worst = found[-1].delta, min(point.delta for point in found)
    on_the_way = f", and at worst by {numbers.signed(worst, decimals)} in between" if worst < last else ""
    row = view.decision_row(report)
    retrained = f"; the retrained model changes by {numbers.signed(row.delta, decimals)} (test rows)" if row else ""
    advice = "Promote the retrained model first, then remove the features wave by wave."
    if worst >= -report.margin:
        advice = "This is within the margin, but only the retrained model was tested, so promote it first."
    start = f"Without retraining, a cut changes {metric} by {numbers.signed(last, decimals)}{on_the_way}"
    return f"{start} (validation rows){retrained}. {advice}"


def rows(report: AuditReport) -> list[tuple[str, str, str, str]]:
    """``(wave, coverage, metric, change)``."""
    decimals = max(4, numbers.decimals_for(report.margin))
    assert report.savings is not None
    names = ["all features present", *(f"{at}. {wave.title}" for at, wave in enumerate(report.savings.waves, 1))]
    return [
        (
            names[point.wave],
            numbers.percent(point.coverage),
            numbers.plain(point.metric, decimals),
            numbers.signed(point.delta, decimals),
        )
        for point in points(report)
    ]


def picture(report: AuditReport) -> Picture | None:
    """The chart; None without a curve."""
    found = points(report)
    if not found:
        return None
    frame = charts.Frame(width=560, height=230, left=66, right=552, top=18, bottom=172)
    values = [point.delta for point in found]
    low, high = charts.padded(min(*values, -report.margin), max(*values, 0.0), share=0.1)
    x = charts.linear_scale(0, len(found) - 1, frame.left + 12, frame.right - 12)
    y = charts.linear_scale(low, high, frame.bottom, frame.top)
    marks = [(x(place), y(point.delta)) for place, point in enumerate(found)]
    y_values = charts.linear_ticks(low, high, 4)
    decimals = charts.step_decimals(y_values)
    return Picture(
        frame=frame,
        x_ticks=[charts.Tick(x(at), f"{point.wave}") for at, point in enumerate(found) if point.coverage == 0],
        y_ticks=[charts.Tick(y(value), numbers.signed(value, decimals)) for value in y_values],
        line=" ".join(f"{at:.1f},{up:.1f}" for at, up in marks),
        marks=marks,
        limit=charts.Tick(y(-report.margin), numbers.limit(report.margin)),
    )

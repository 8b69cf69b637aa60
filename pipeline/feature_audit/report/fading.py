"""What an abrupt cut would cost today's full model: the sentence, the table and the chart of its fading curve."""

from __future__ import annotations

from dataclasses import dataclass

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
    """The curve, full coverage first; empty where it was not measured or nothing of it is a number."""
    found = report.savings.fading if report.savings else []
    return [point for point in found if numbers.known(point.delta)] if len(found) > 1 else []


def sentence(report: AuditReport) -> str:
    """What a cut without retraining would cost, against the retrained model."""
    found = points(report)
    if not found:
        return ""
    metric, decimals = view.metric_name(report.metric), max(4, numbers.decimals_for(report.margin))
    last, worst = found[-1].delta, min(point.delta for point in found)
    on_the_way = f", at worst by {numbers.signed(worst, decimals)} on the way" if worst < last else ""
    row = view.decision_row(report)
    retrained = (
        f"; the model retrained without them changes by {numbers.signed(row.delta, decimals)} (test rows)"
        if row
        else ""
    )
    advice = "Promote the retrained model first, then let the features go wave by wave."
    if worst >= -report.margin:
        advice = "That is within the margin, but only the retrained model was tested: promote it first all the same."
    start = f"Cut at once, today's full model changes by {numbers.signed(last, decimals)} in {metric}{on_the_way}"
    return f"{start} (validation rows){retrained}. {advice}"


def rows(report: AuditReport) -> list[tuple[str, str, str, str]]:
    """``(wave, coverage, metric, change)``."""
    decimals = max(4, numbers.decimals_for(report.margin))
    assert report.savings is not None
    names = ["nothing is missing", *(f"{at}. {wave.title}" for at, wave in enumerate(report.savings.waves, 1))]
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

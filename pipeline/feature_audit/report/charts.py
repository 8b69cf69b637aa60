"""Geometry of the charts: positions of marks, lines and labels in SVG user units. The template only draws.

The SVG is built here rather than by a plotting library, because its colours must follow the page (dark, light, print)
and its text must remain text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from feature_audit.report import ladder, numbers
from feature_audit.results import AuditReport, CurvePoint, MetricDelta

SOURCES = {"masked": "masked (estimate from the selection)", "retrained": "retrained from scratch"}
Scale = Callable[[float], float]


@dataclass(frozen=True)
class Tick:
    """A position on an axis and its text."""

    at: float
    label: str


@dataclass(frozen=True)
class Frame:
    """The plotting rectangle inside a ``width`` x ``height`` picture."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float


@dataclass(frozen=True)
class Mark:
    """One point; ``whisker`` extends one standard error to each side, as (low y, high y)."""

    x: float
    y: float
    whisker: tuple[float, float] | None
    chosen: bool


@dataclass(frozen=True)
class Series:
    """Points of one source and the line through them."""

    source: str
    label: str
    line: str
    marks: list[Mark]


@dataclass(frozen=True)
class TestedK:
    """Position of the sign of a K's verdict on the test split; ``verdict`` is empty if it was not tested."""

    at: float
    sign: str
    verdict: str


@dataclass(frozen=True)
class KCurve:
    """Change in validation quality over K (log axis); higher is better for every metric.

    ``target`` is at zero change and labelled with the full model's value, ``limit`` is at the margin. ``below`` is the
    number of points below the lower edge, which are not drawn; ``tested`` are the verdicts of several K.
    """

    frame: Frame
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    target: Tick
    limit: Tick
    chosen: Tick | None
    chosen_anchor: str
    series: list[Series]
    tested: list[TestedK]
    below: int


@dataclass(frozen=True)
class Interval:
    """One interval on the scale of a forest or ruler; a clipped end is an arrow, a middle outside the scale is None."""

    low: float
    middle: float | None
    high: float
    cut_low: bool
    cut_high: bool


@dataclass(frozen=True)
class Forest:
    """Intervals of one metric on one scale; ``limit`` is the margin's position, None if rows have different ones."""

    width: float
    zero: float
    limit: float | None
    rows: list[tuple[MetricDelta, Interval | None]]
    ticks: list[Tick]


@dataclass(frozen=True)
class Dots:
    """Selection frequency against rank: one SVG path of dots per decision."""

    frame: Frame
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    paths: dict[str, str]
    cut: float | None


def k_curves(report: AuditReport) -> list[KCurve]:
    """The whole curve and, if the margin would be invisible in it, a second chart around the margin."""
    points = [point for point in report.curve if numbers.known(point.delta) and point.k > 0]
    if not points:
        return []
    margin = report.margin
    values = [point.delta for point in points] + [0.0, -margin]
    whole = (min(values), max(values))
    charts = [_k_curve(report, points, whole)]
    near = (-5 * margin, max(whole[1], margin))
    inside = sum(near[0] <= point.delta for point in points)
    if margin > 0 and -whole[0] > 10 * margin and inside >= 2:
        charts.append(_k_curve(report, points, near))
    return charts


def _k_curve(report: AuditReport, points: list[CurvePoint], span: tuple[float, float]) -> KCurve:
    frame = Frame(width=480, height=310, left=58, right=474, top=34, bottom=262)
    low, high = padded(*span, share=0.07)
    rungs = ladder.rungs(report)
    counts = [*(point.k for point in points), *(rung.k for rung in rungs), report.k or points[0].k]
    x = log_scale(min(counts), max(counts), frame.left + 12, frame.right - 12)
    y = linear_scale(low, high, frame.bottom, frame.top)
    y_values = linear_ticks(low, high, 5)
    decimals = step_decimals(y_values)
    names = sorted({point.source for point in points}, key=lambda name: (name != "masked", name))
    at_k = {point.source for point in points if point.k == report.k}
    ringed = "retrained" if "retrained" in at_k else next(iter(sorted(at_k)), None)
    series = []
    for name in names:
        own = [point for point in points if point.source == name]
        series.append(_series(name, own, (x, y), (low, high), ringed=report.k if name == ringed else None))
    chosen = Tick(x(report.k), f"K = {numbers.count(report.k)}") if report.k > 0 else None
    middle = (frame.left + frame.right) / 2
    value_decimals = max(decimals, numbers.decimals_for(report.margin))
    return KCurve(
        frame=frame,
        x_ticks=[Tick(x(value), numbers.count(value)) for value in log_ticks(min(counts), max(counts))],
        y_ticks=[Tick(y(value), numbers.signed(value, decimals)) for value in y_values],
        target=Tick(y(0.0), numbers.plain(report.target_quality, value_decimals)),
        limit=Tick(y(-report.margin), numbers.limit(report.margin)),
        chosen=chosen,
        chosen_anchor="end" if chosen and chosen.at > middle else "start",
        series=series,
        tested=[TestedK(x(rung.k), ladder.sign(rung), rung.verdict or "") for rung in rungs],
        below=sum(point.delta < low for point in points),
    )


def _series(
    source: str,
    points: list[CurvePoint],
    scales: tuple[Scale, Scale],
    span: tuple[float, float],
    *,
    ringed: int | None,
) -> Series:
    x, y = scales
    points = sorted(points, key=lambda point: point.k)
    line = " ".join(f"{x(point.k):.1f},{y(point.delta):.1f}" for point in points)
    marks = []
    for point in points:
        if not span[0] <= point.delta <= span[1]:
            continue
        error = point.std_error
        whisker = None
        if numbers.known(error) and error > 0:
            whisker = (y(max(point.delta - error, span[0])), y(min(point.delta + error, span[1])))
        marks.append(Mark(x(point.k), y(point.delta), whisker, point.k == ringed))
    return Series(source, SOURCES.get(source, source), line if len(points) > 1 else "", marks)


def forest(rows: Sequence[MetricDelta]) -> Forest:
    """Intervals of one metric's rows; rows without a margin extend the scale to at most three times its size."""
    width = 240.0
    judged = [row for row in rows if row.margin is not None] or list(rows)
    ends = _ends(judged)
    low, high = min(ends), max(ends)
    others = _ends(rows)
    low, high = max(min(others), low - (high - low)), min(max(others), high + (high - low))
    low, high = padded(low, high, share=0.12)
    x = linear_scale(low, high, 8, width - 8)
    margins = {row.margin for row in judged if row.margin is not None}
    limit = -margins.pop() if len(margins) == 1 else None
    pairs = [(row, _interval(row, x, low, high)) for row in rows]
    ticks = [Tick(x(0), "0")]
    if not any(line for _, line in pairs):
        return Forest(width, x(0), None, pairs, [])
    if limit is not None and abs(x(limit) - x(0)) > 44:
        ticks.append(Tick(x(limit), numbers.limit(-limit)))
    for value in linear_ticks(low, high, 4):
        if all(abs(x(value) - tick.at) > 64 for tick in ticks) and 30 < x(value) < width - 30:
            ticks.append(Tick(x(value), numbers.signed(value, step_decimals([value]))))
    return Forest(width, x(0), x(limit) if limit is not None else None, pairs, ticks)


def ruler(report: AuditReport, row: MetricDelta) -> Forest:
    """The decision on one scale: the verdict's interval and, if there is one, the interval of only these artifacts."""
    width = 640.0
    rows = [row] + ([report.artifact_delta] if report.artifact_delta else [])
    ends = _ends(rows)
    low, high = padded(min(ends), max(ends), share=0.22)
    x = linear_scale(low, high, 0, width)
    limit = x(-row.margin) if row.margin is not None else None
    return Forest(width, x(0), limit, [(one, _interval(one, x, low, high)) for one in rows], [])


def _ends(rows: Sequence[MetricDelta]) -> list[float]:
    """Every value that a scale for ``rows`` should show."""
    limits = [-row.margin for row in rows if row.margin is not None]
    return [0.0, *limits, *(end for row in rows for end in (row.ci_low, row.delta, row.ci_high) if numbers.known(end))]


def _interval(row: MetricDelta, x: Scale, low: float, high: float) -> Interval | None:
    if not all(numbers.known(value) for value in (row.ci_low, row.delta, row.ci_high)):
        return None
    start, middle, end = (min(max(value, low), high) for value in (row.ci_low, row.delta, row.ci_high))
    inside = x(middle) if low <= row.delta <= high else None
    return Interval(x(start), inside, x(end), row.ci_low < low, row.ci_high > high)


def frequency_dots(report: AuditReport) -> Dots | None:
    """Selection frequency of each feature by rank; None if there are fewer than two different frequencies."""
    rows = [row for row in report.decisions if row.rank > 0 and numbers.known(row.selection_frequency)]
    if len({row.selection_frequency for row in rows}) < 2:
        return None
    frame = Frame(width=560, height=220, left=58, right=552, top=18, bottom=172)
    last = max(row.rank for row in rows)
    x = log_scale(1, last, frame.left + 10, frame.right - 10)
    y = linear_scale(0, 1, frame.bottom - 6, frame.top + 6)
    seen: dict[str, dict[tuple[int, int], None]] = {"drop": {}, "review": {}, "keep": {}}
    for row in rows:
        # Dots on a 2-unit grid: ten thousand features need only a few hundred marks.
        seen[row.decision][round(x(row.rank) / 2) * 2, round(y(row.selection_frequency) / 2) * 2] = None
    paths = {name: "".join(f"M{at} {up}h0" for at, up in cells) for name, cells in seen.items() if cells}
    return Dots(
        frame=frame,
        x_ticks=[Tick(x(value), numbers.count(value)) for value in log_ticks(1, last)],
        y_ticks=[Tick(y(share), numbers.percent(share)) for share in (0, 0.5, 1)],
        paths=paths,
        cut=x(report.k + 0.5) if 0 < report.k < last else None,
    )


def linear_scale(low: float, high: float, start: float, end: float) -> Scale:
    """Map data in [low, high] to picture units in [start, end]."""
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def log_scale(low: float, high: float, start: float, end: float) -> Scale:
    """The same on a logarithmic axis; a single value is in the middle."""
    if low == high:
        return lambda value: (start + end) / 2
    scale = linear_scale(math.log(low), math.log(high), start, end)
    return lambda value: scale(math.log(value))


def linear_ticks(low: float, high: float, most: int) -> list[float]:
    """Round values inside [low, high]: multiples of a 1-2-2.5-5 step that divides it into at most ``most`` parts.

    If a step has fewer than two multiples inside, the next smaller step is used.
    """
    if low == high:
        return [low]
    least = (high - low) / most
    power = math.floor(math.log10(least))
    steps = [size * 10.0**exponent for exponent in range(power - 1, power + 2) for size in (1.0, 2.0, 2.5, 5.0)]
    for step in reversed([step for step in steps if step < least] + [min(step for step in steps if step >= least)]):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last > first:
            break
    return [place * step for place in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Counts for a logarithmic axis: 1-2-5 for few decades, decades for many; both ends are kept apart."""
    if low == high:
        return [low]
    decades = math.log10(high / low)
    subs = (1, 2, 5) if decades <= 2.6 else (1, 3) if decades <= 3.3 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [sub * 10.0**power for power in powers for sub in subs if low <= sub * 10.0**power <= high]
    if len(values) < 3:
        values = [value for value in linear_ticks(low, high, 5) if value == round(value) and value > 0] or [low, high]
    if len(values) > 1 and all(math.log(high / value) > 0.07 * math.log(high / low) for value in values):
        values.append(high)
    return values


def padded(low: float, high: float, *, share: float) -> tuple[float, float]:
    """The range, extended on both sides by a share of its width; never of width zero."""
    pad = (high - low) * share or abs(high) * 0.01 or 1.0
    return low - pad, high + pad


def step_decimals(values: Sequence[float]) -> int:
    """Number of decimals that represent every tick exactly."""
    for decimals in range(numbers.MOST_DECIMALS):
        if all(abs(round(value, decimals) - value) < 1e-9 for value in values):
            return decimals
    return numbers.MOST_DECIMALS

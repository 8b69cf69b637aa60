"""The history of the search: the value of each trial, the best so far, and the text shown for few trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from feature_audit.report import charts, numbers
from feature_audit.results import LEAST_TRIALS, AuditReport

#: Definition of a trial and its value, shown with the table and the chart.
VALUE = (
    "A trial is one run of the selector, with its own seed and settings. Its value is minus the held-out loss along "
    "its path, averaged over K on a log scale; higher is better. The test split is not used. The final ranking is "
    "the geometric mean of the ranks from all trials; the masked curve uses this ranking."
)


@dataclass(frozen=True)
class Trace:
    """Value by trial, in SVG user units.

    Attributes:
        frame: the plotting rectangle.
        x_ticks, y_ticks: trial numbers, values.
        best: points of the step line of the best value so far.
        marks: (x, y) of the finished trials.
        lost: x of the trials that were stopped early or failed; they have no value.
    """

    frame: charts.Frame
    x_ticks: list[charts.Tick]
    y_ticks: list[charts.Tick]
    best: str
    marks: list[tuple[float, float]]
    lost: list[float]


def trace(report: AuditReport) -> Trace | None:
    """The chart of the trials; None with fewer than two finished ones."""
    values = [_value(trial) for trial in report.trials]
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return None
    frame = charts.Frame(width=560, height=220, left=66, right=552, top=18, bottom=172)
    low, high = charts.padded(min(known), max(known), share=0.12)
    x = charts.linear_scale(0, len(values) - 1, frame.left + 16, frame.right - 16)
    y = charts.linear_scale(low, high, frame.bottom, frame.top)
    marks, lost, stairs = [], [], []
    best: float | None = None
    for place, value in enumerate(values):
        if value is None:
            lost.append(x(place))
            continue
        marks.append((x(place), y(value)))
        if best is not None:
            stairs.append((x(place), y(best)))
        best = value if best is None else max(best, value)
        stairs.append((x(place), y(best)))
    y_values = charts.linear_ticks(low, high, 4)
    decimals = charts.step_decimals(y_values)
    every = max(1, -(-len(values) // 12))  # at most a dozen labels
    return Trace(
        frame=frame,
        x_ticks=[
            charts.Tick(x(place), str(report.trials[place].get("number", place)))
            for place in range(0, len(values), every)
        ],
        y_ticks=[charts.Tick(y(value), numbers.signed(value, decimals)) for value in y_values],
        best=" ".join(f"{at:.1f},{up:.1f}" for at, up in stairs),
        marks=marks,
        lost=lost,
    )


def no_importances(report: AuditReport) -> str:
    """Why the report has no importances of the search settings; empty if it has them or there was no search."""
    if report.importances or not report.trials:
        return ""
    finished = sum(_value(trial) is not None for trial in report.trials)
    if finished >= LEAST_TRIALS:
        return "No importances are shown because every setting of the search was fixed."
    return (
        f"Importances of the settings need at least {LEAST_TRIALS} finished trials; there "
        f"{'is' if finished == 1 else 'are'} {finished}. Raise trials to see them."
    )


def _value(trial: Mapping[str, Any]) -> float | None:
    """The value of a finished trial; a pruned trial may have a value as well, from its last step."""
    value = trial.get("value")
    finished = str(trial.get("state", "complete")).lower() == "complete"
    return float(value) if finished and value is not None and numbers.known(value) else None

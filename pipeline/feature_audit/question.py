"""What an audit asks in addition to its decision metric, as users write it: margins, guards and slices.

Readers take what YAML or a command line holds and give plain values; every mistake is a ``UsageError`` of one line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from feature_audit.errors import UsageError
from feature_audit.metric_names import METRIC_NAMES, parse_metric

#: ``not_shown_worse``: only a loss that is shown to exceed the margin counts, and fails.
#: ``not_worse``: a pass needs the margin shown to hold.
GuardMode = Literal["not_shown_worse", "not_worse"]
#: A number in the metric's units, or a share of the full model's advantage over no skill such as ``1%``.
Margin = float | str
#: Which values of a column are slices: those named, the most frequent so many, or None = as many as make sense.
SliceRule = tuple[str, ...] | int | None

#: Metrics in the target's own units, for which no fixed margin means anything.
IN_TARGET_UNITS = ("rmse", "mae")
#: How the missing cells of a slice column are called.
MISSING = "(missing)"
_MOST_TOP = 1000


@dataclass(frozen=True)
class Guard:
    """Another metric with a margin of its own.

    Attributes:
        margin: largest loss that counts as none.
        mode: what it takes to fail or to withhold the pass.
    """

    margin: Margin
    mode: GuardMode = "not_shown_worse"


def read_margin(key: str, value: Any) -> Margin:
    """A margin as a number of 0 or more, or as ``<number>%``.

    Raises:
        UsageError: anything else.
    """
    number = _number(value)
    if number is not None:
        if not (math.isfinite(number) and number >= 0):
            raise UsageError(f"{key}={value}: should be greater than or equal to 0, and finite")
        return number
    text = str(value).strip()
    share = _number(text.removesuffix("%")) if text.endswith("%") else None
    if share is not None:
        if not 0 <= share < 100:
            raise UsageError(f"{key}={text}: give a share from 0% to below 100%")
        return f"{share:.12g}%"
    if isinstance(value, str) and _number(text.replace(",", ".").removesuffix("%")) is not None:
        raise UsageError(f"{key}={value!r}: give {key}={text.replace(',', '.')}, with a decimal point")
    raise UsageError(
        f"{key}={value!r}: give a number in the metric's units such as 0.002, or a share of the full model's advantage "
        "over no skill such as 1%"
    )


def share_of(margin: str) -> float:
    """0.01 for ``1%``."""
    return float(margin.removesuffix("%")) / 100


def read_guards(value: Any) -> dict[str, Guard]:
    """Guards by metric from ``metric: margin`` or ``metric: {margin: ..., mode: ...}``.

    Raises:
        UsageError: no mapping, an unknown metric, a metric named twice, a wrong margin or mode.
    """
    if not isinstance(value, Mapping):
        raise UsageError(f"guards={value!r}: give a margin per metric, such as {{calibration: 0.02}}")
    guards: dict[str, Guard] = {}
    for given, content in value.items():
        name = str(given).lower()
        base, depth = parse_metric(name, key="guards")
        name = base if depth in (None, 10) else name  # ndcg is ndcg@10
        if name in guards:
            raise UsageError(f"guards={given}: the metric is named twice")
        guards[name] = _read_guard(f"guards.{given}", content)
    return guards


def _read_guard(key: str, content: Any) -> Guard:
    if isinstance(content, Guard):
        content = {"margin": content.margin, "mode": content.mode}
    if not isinstance(content, Mapping):
        return Guard(read_margin(key, content))
    unknown = [str(name) for name in content if name not in ("margin", "mode")]
    if unknown:
        raise UsageError(f"{key}.{unknown[0]}: unknown key; a guard has margin and mode")
    if "margin" not in content:
        raise UsageError(f"{key}: has no margin; give one, such as {{margin: 0.02, mode: not_worse}}")
    mode = content.get("mode", "not_shown_worse")
    if mode not in get_args(GuardMode):
        raise UsageError(f"{key}.mode={mode!r}: choose {' or '.join(get_args(GuardMode))}")
    return Guard(read_margin(f"{key}.margin", content["margin"]), mode)


def check_guards(guards: Mapping[str, Guard], metric: str | None, task: str | None) -> None:
    """Refuse guards that fit neither task nor metric, as far as these are known.

    Raises:
        UsageError: a guard of another task, one on the decision metric itself, or a share where a metric has no scale.
    """
    decision = parse_metric(metric, task) if metric else None
    tasks = [task] if task else [of for of, names in METRIC_NAMES.items() if not decision or decision[0] in names]
    because = f"task={task}" if task else f"metric={metric}" if metric else ""
    for name, guard in guards.items():
        base, depth = parse_metric(name)
        fitting = [of for of in tasks if base in METRIC_NAMES[of]]
        if not fitting:
            choice = "; ".join(", ".join(METRIC_NAMES[of]) for of in tasks)
            raise UsageError(f"guards={name}: does not fit {because}; choose {choice}")
        if decision and (base, depth or 10) == (decision[0], decision[1] or 10):
            raise UsageError(f"guards={name}: is the decision metric, whose margin is `margin`; take it out of guards")
        if base == "calibration" and isinstance(guard.margin, str):
            raise UsageError(
                f"guards.{name}={guard.margin}: a model without skill can be calibrated perfectly, so there is no "
                "advantage to take a share of; give the margin of |log ratio|, such as 0.02"
            )
        tasks, because = fitting, because or f"guards={name}"


def read_slices(value: Any) -> tuple[str | dict[str, Any], ...]:
    """Slices from columns, and from ``column: [values]`` or ``column: {top: n}``; plain data that reads as itself.

    Raises:
        UsageError: anything else, or a column that is named twice.
    """
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    items = [value] if isinstance(value, Mapping) else value
    if not isinstance(items, Sequence):
        raise UsageError(f"slices={value!r}: give columns, such as [country, {{city: [Berlin, Paris]}}]")
    read: list[str | dict[str, Any]] = []
    for item in items:
        if isinstance(item, str):
            read.append(item.strip())
        elif isinstance(item, Mapping) and item:
            read.append({str(column): _read_choice(str(column), choice) for column, choice in item.items()})
        else:
            raise UsageError(f"slices={item!r}: give a column, `column: [values]` or `column: {{top: 20}}`")
    columns = [column for item in read for column in ([item] if isinstance(item, str) else item)]
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice is not None:
        raise UsageError(f"slices={twice}: the column is named twice")
    return tuple(read)


def _read_choice(column: str, choice: Any) -> list[Any] | dict[str, int]:
    key = f"slices.{column}"
    if isinstance(choice, Mapping):
        most = choice.get("top")
        if set(choice) != {"top"} or isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= _MOST_TOP:
            raise UsageError(f"{key}={dict(choice)}: give {{top: n}}, n from 1 to {_MOST_TOP}, or a list of values")
        return {"top": most}
    values = choice if isinstance(choice, list | tuple) else [choice]
    if not values or any(isinstance(each, Mapping | list | tuple) for each in values):
        raise UsageError(f"{key}={choice!r}: give a list of values, or {{top: n}}")
    return [each if isinstance(each, str | int | float) else _value_text(each) for each in values]


def slice_rules(slices: Sequence[str | Mapping[str, Any]]) -> dict[str, SliceRule]:
    """Column -> its rule, of slices that ``read_slices`` gave."""
    rules: dict[str, SliceRule] = {}
    for item in slices:
        if isinstance(item, str):
            rules[item] = None
            continue
        for column, choice in item.items():
            rules[column] = (
                choice["top"] if isinstance(choice, Mapping) else tuple(dict.fromkeys(map(_value_text, choice)))
            )
    return rules


def _value_text(value: Any) -> str:
    """A value of a YAML list as Polars writes the cell."""
    if value is None:
        return MISSING
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(value: Any) -> float | None:
    """A number, or a text that is one; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and not re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", value):
        return None
    return float(value)

"""Margins, guards, targets and slices as a user writes them.

The readers turn values from YAML or the command line into plain values; every mistake is a one-line ``UsageError``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from feature_audit.errors import UsageError
from feature_audit.metric_names import METRIC_NAMES, parse_metric
from feature_audit.schema import Task

#: ``not_shown_worse``: fails if the loss is proven to exceed the margin, and has no other effect.
#: ``not_worse``: in addition, a pass requires non-inferiority.
GuardMode = Literal["not_shown_worse", "not_worse"]
#: A number in the units of the metric, or a share of the full model's gain over a no-skill model such as ``1%``.
Margin = float | str
#: Which values of a column are slices: the named ones, the n most frequent ones, or None for an automatic choice.
SliceRule = tuple[str, ...] | int | None

#: Metrics in the units of the target, for which a fixed default margin is meaningless.
IN_TARGET_UNITS = ("rmse", "mae")
#: Why the margin of calibration cannot be a share.
NO_ADVANTAGE = (
    "a no-skill model can be perfectly calibrated, so a share has no reference; give the margin of |log ratio|"
)
#: Slice of the rows whose slice column is missing.
MISSING = "(missing)"
_MOST_TOP = 1000


@dataclass(frozen=True)
class Guard:
    """Another metric with a separate margin.

    Attributes:
        margin: largest loss that counts as none.
        mode: condition under which the guard fails, or withholds the pass.
    """

    margin: Margin
    mode: GuardMode = "not_shown_worse"


@dataclass(frozen=True)
class TargetRule:
    """The rule of one of several targets; None = inferred from the labels, as for a single target.

    Attributes:
        metric: decision metric of the target; it also implies whether the label is a class or a number.
        margin: non-inferiority margin.
        mode: as for a guard; the decision target is always ``not_worse``.
    """

    metric: str | None = None
    margin: Margin | None = None
    mode: GuardMode = "not_worse"

    @property
    def task(self) -> Task | None:
        """The task that the metric belongs to, if there is only one."""
        base = parse_metric(self.metric)[0] if self.metric else None
        tasks: list[Task] = [task for task in ("binary", "regression") if base in METRIC_NAMES[task]]
        return tasks[0] if tasks else None


def read_margin(key: str, value: Any) -> Margin:
    """A margin as a number of 0 or more, or as ``<number>%``.

    Raises:
        UsageError: anything else.
    """
    number = _number(value)
    if number is not None:
        if not (math.isfinite(number) and number >= 0):
            raise UsageError(f"{key}={value}: give a finite number of 0 or more")
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
        f"{key}={value!r}: give a number in the units of the metric such as 0.002, or a share of the full model's "
        "gain over a no-skill model such as 1%"
    )


def share_of(margin: str) -> float:
    """0.01 for ``1%``."""
    return float(margin.removesuffix("%")) / 100


def read_guards(value: Any) -> dict[str, Guard]:
    """Guards by metric from ``metric: margin`` or ``metric: {margin: ..., mode: ...}``.

    Raises:
        UsageError: not a mapping, an unknown metric, a metric named twice, or an invalid margin or mode.
    """
    if not isinstance(value, Mapping):
        raise UsageError(f"guards={value!r}: give one margin per metric, such as {{calibration: 0.02}}")
    guards: dict[str, Guard] = {}
    for given, content in value.items():
        name = str(given).lower()
        base, depth = parse_metric(name, key="guards")
        name = base if depth in (None, 10) else name  # ndcg is ndcg@10
        if name in guards:
            raise UsageError(f"guards={given}: the metric is named twice; name it once")
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
        raise UsageError(f"{key}: the margin is missing; give one, such as {{margin: 0.02, mode: not_worse}}")
    mode = content.get("mode", "not_shown_worse")
    if mode not in get_args(GuardMode):
        raise UsageError(f"{key}.mode={mode!r}: choose {' or '.join(get_args(GuardMode))}")
    return Guard(read_margin(f"{key}.margin", content["margin"]), mode)


def read_targets(value: Any) -> dict[str, TargetRule]:
    """Targets, the decision target first, from names, ``name: metric`` or ``name: {metric, margin, mode}``.

    Raises:
        UsageError: no target, a target named twice, or an invalid metric, margin or mode.
    """
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    if not isinstance(value, Mapping):
        names = value if isinstance(value, list | tuple) else [value]
        wrong = next((one for one in names if not isinstance(one, str)), None)
        if wrong is not None or not names:
            raise UsageError(
                f"targets={value!r}: give label columns such as [click, convert], the decision target first"
            )
        twice = next((one for one in names if [name.strip() for name in names].count(one.strip()) > 1), None)
        if twice is not None:
            raise UsageError(f"targets={twice.strip()}: the target is named twice")
        value = dict.fromkeys(names)
    rules: dict[str, TargetRule] = {}
    for given, content in value.items():
        name = str(given).strip()
        if not name or name in rules:
            raise UsageError(f"targets={given!r}: {'the target is named twice' if name else 'a name is missing'}")
        rules[name] = _read_target(f"targets.{name}", content)
    decision = next(iter(rules.values()), None)
    if decision and decision.mode != "not_worse":
        raise UsageError(
            f"targets.{next(iter(rules))}.mode={decision.mode}: a pass requires non-inferiority on the first target; "
            "put another target first, or leave out mode"
        )
    return rules


def _read_target(key: str, content: Any) -> TargetRule:
    if isinstance(content, TargetRule):
        return content
    if content is None or isinstance(content, str):
        content = {"metric": content}
    if not isinstance(content, Mapping):
        raise UsageError(f"{key}={content!r}: give a metric such as auc, or {{metric: auc, margin: 0.002}}")
    unknown = [str(name) for name in content if name not in ("metric", "margin", "mode")]
    if unknown:
        raise UsageError(f"{key}.{unknown[0]}: unknown key; a target has metric, margin and mode")
    metric, margin, mode = content.get("metric"), content.get("margin"), content.get("mode") or "not_worse"
    if metric is not None:
        metric = str(metric).lower()
        if parse_metric(metric, key=key)[0] == "accuracy":
            raise UsageError(
                f"{key}={metric}: with several targets, each must be binary or numeric; give another metric"
            )
    if mode not in get_args(GuardMode):
        raise UsageError(f"{key}.mode={mode!r}: choose {' or '.join(get_args(GuardMode))}")
    margin = None if margin is None else read_margin(f"{key}.margin", margin)
    if metric == "calibration" and isinstance(margin, str):
        raise UsageError(f"{key}.margin={margin}: {NO_ADVANTAGE}, such as 0.02")
    return TargetRule(metric, margin, "not_shown_worse" if mode == "not_shown_worse" else "not_worse")


def check_guards(guards: Mapping[str, Guard], metric: str | None, task: str | None) -> None:
    """Refuse guards that do not fit the task or the decision metric, as far as these are known.

    Raises:
        UsageError: a guard of another task, a guard on the decision metric itself, or a share for calibration.
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
            raise UsageError(
                f"guards={name}: this is the decision metric; set its margin with `margin` and remove it from guards"
            )
        if base == "calibration" and isinstance(guard.margin, str):
            raise UsageError(f"guards.{name}={guard.margin}: {NO_ADVANTAGE}, such as 0.02")
        tasks, because = fitting, because or f"guards={name}"


def read_slices(value: Any) -> tuple[str | dict[str, Any], ...]:
    """Parse slices: columns, ``column: [values]`` or ``column: {top: n}``; parsing the result again changes nothing.

    Raises:
        UsageError: anything else, or a column named twice.
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
        raise UsageError(f"slices={twice}: the column is named twice; name it once")
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
    """Column -> its rule, from the result of ``read_slices``."""
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
    """A value of a YAML list in the text form that Polars gives the cell."""
    if value is None:
        return MISSING
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(value: Any) -> float | None:
    """A number, or the number that a text contains; None for other values."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and not re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", value):
        return None
    return float(value)

"""Labels of the further targets: rows may have none, but every split needs enough of each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from feature_audit.config import AuditConfig
from feature_audit.data.columns.roles import Roles
from feature_audit.data.reading.source import Source
from feature_audit.data.table.splits import SPLITS, TRAIN, Split
from feature_audit.data.table.target import target_cells
from feature_audit.errors import AuditError
from feature_audit.labels import MIN_PER_CLASS, Target, infer_task, one_spelling, read_label
from feature_audit.schema import Output, Task

#: Minimum number of labels of a numeric target per split.
_LEAST_LABELS = 2 * MIN_PER_CLASS


def read_further(
    config: AuditConfig, source: Source, roles: Roles, decision: Target, split: Split
) -> dict[str, Target]:
    """Further target -> its labels, float32 (rows,), NaN where a row has none.

    Args:
        config: determines the task that each target's metric requires.
        source: the rows that count.
        roles: contains the expressions.
        decision: labels of the decision target.
        split: split of the rows.

    Raises:
        AuditError: a target has no labels, only one value, words or many classes, or the same labels as another; or
            some split has too few of its labels.
    """
    if roles.further and decision.task == "multiclass":
        raise AuditError(
            f"target={config.target}: {decision.n_classes} classes; with several targets, each must be binary or "
            f"numeric: give an expression such as `{config.target} = {_written(decision.classes[0])}`, or metric=rmse"
        )
    found: dict[str, Target] = {}
    for name, expression in roles.further.items():
        label, _ = one_spelling(target_cells(source, expression, f"targets={name}"), config.labels_read[name])
        try:
            target = _read(name, label, config.labels_read[name])
        except AuditError as error:
            raise AuditError(str(error).replace("target=", "targets=", 1)) from None
        for other, before in {str(config.target): decision, **found}.items():
            if np.array_equal(target.values, before.values.astype(np.float32), equal_nan=True):
                raise AuditError(f"targets={name}: every row has the same label as {other}; give one of the two")
        for code, part in enumerate(SPLITS):
            _check(name, part, target.values[split.of_row == code], target)
        found[name] = target
    return found


def _read(name: str, label: pl.Series, asked: Task | None) -> Target:
    label = label.fill_nan(None) if label.dtype.is_float() else label
    known = label.is_not_null().to_numpy()
    if not known.any():
        raise AuditError(f"target={name}: no row has a label; name another column")
    held = label.drop_nulls()
    task = asked or _inferred(name, held)
    read = read_label(held, shown=name, task=task)
    if read.note:
        raise AuditError(
            f"target={name}: its values are {read.classes[0]} and {read.classes[1]}, and it is unclear which one is "
            f"positive; give an expression such as `{name} = {_written(read.classes[1])}`"
        )
    values = np.full(len(label), np.nan, dtype=np.float32)
    values[known] = read.values
    return replace(read, values=values)


def _inferred(name: str, held: pl.Series) -> Task:
    """Binary or regression, inferred from the labels."""
    if held.dtype.is_nested() or held.dtype.is_temporal() or held.dtype in (pl.Object, pl.Binary):
        return "binary"  # ``read_label`` refuses the type
    values = held.unique().sort()
    task = infer_task(values) if len(values) > 1 else "binary"
    if task != "multiclass":
        return task
    if values.dtype.is_numeric():
        remedy = (
            f"an expression such as `{name} >= {values[len(values) // 2]}`, or the metric of a number: {{{name}: rmse}}"
        )
    else:
        remedy = f"an expression such as `{name} = '{values[0]}'`"
    raise AuditError(
        f"target={name}: {len(values)} different values; with several targets, each must be binary or numeric: give "
        f"{remedy}"
    )


def _written(value: str) -> str:
    """A value as written in an expression."""
    return value if re.fullmatch(r"-?\d+(\.\d+)?", value) else f"'{value}'"


def _check(name: str, part: str, values: np.ndarray, target: Target) -> None:
    """Refuse a target with too few labels in a split for learning or for a verdict."""
    held = values[~np.isnan(values)]
    ones = int(np.count_nonzero(held))
    enough = min(ones, len(held) - ones) >= MIN_PER_CLASS if target.task == "binary" else len(held) >= _LEAST_LABELS
    remedy = "give more data or another split, or leave out the target"
    if not enough:
        counts, least = f"{len(held):,}", f"{_LEAST_LABELS}"
        if target.task == "binary":
            counts, least = f"{ones:,} positive and {len(held) - ones:,} negative", f"{MIN_PER_CLASS} of each"
        raise AuditError(
            f"targets={name}: the {part} split has {counts} labels, at least {least} are needed for a verdict; {remedy}"
        )
    if (held == held[0]).all():
        raise AuditError(f"targets={name}: every label of the {part} split is {held[0]:g}; {remedy}")


def outputs_of(
    name: str, decision: Target, further: Mapping[str, Target], split: Split, weight: np.ndarray | None
) -> tuple[Output, ...]:
    """The model's outputs, for its schema; empty with one target.

    Args:
        name: name of the decision target.
        decision, further: labels.
        split: split of the rows.
        weight: (rows,) row weights, or None.
    """
    if not further:
        return ()
    train = split.of_row == TRAIN
    counts = np.ones(int(train.sum())) if weight is None else weight[train]
    targets = {name: decision, **further}
    return tuple(
        Output(one, target.task, unit_of(target.values[train], counts, target.task)) for one, target in targets.items()
    )


def unit_of(label: np.ndarray, weight: np.ndarray, task: Task) -> float:
    """Divisor of a target's row losses if several targets are learned together.

    A target's best constant prediction loses h nats per row, with 0 for rows without a label (for a number: under a
    normal distribution with the label's variance). The plain sum of the losses is one joint likelihood, in which rare
    labels are hardly learned. In units of h each, few labels count as much as many: they can be memorised, so that
    training stops before the others are learned. The weight used is the geometric mean of the two, so the loss is in
    units of sqrt(h) (measured: docs/how-to/second-label.md). It depends neither on the unit of a number nor on its
    origin.

    Args:
        label: (rows,) of train, NaN where a row has none.
        weight: (rows,) row weights.
        task: binary or regression.
    """
    known = ~np.isnan(label)
    held, counts = label[known].astype(np.float64), weight[known]
    share, mean = counts.sum() / weight.sum(), float(np.average(held, weights=counts))
    if task == "binary":
        return float(np.sqrt(-share * (mean * np.log(mean) + (1 - mean) * np.log1p(-mean))))
    return float(np.average(np.square(held - mean), weights=counts) * np.sqrt(2 * share))


def further_summary(further: Mapping[str, Target], split: Split) -> dict[str, Any]:
    """Figures for the report: target -> task, labels, share of positives or mean."""
    found: dict[str, Any] = {}
    for name, target in further.items():
        held = ~np.isnan(target.values)
        kind = "positives_share" if target.task == "binary" else "mean"
        labels = {part: int(held[split.of_row == code].sum()) for code, part in enumerate(SPLITS)}
        mean = float(target.values[held].mean(dtype=np.float64))
        found[name] = {"task": target.task, "labels": labels, kind: mean}
    return found

"""Row weights, read from a column or computed from the sampling rate of negatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from feature_audit.config import AuditConfig
from feature_audit.data.reading.source import Source
from feature_audit.data.table.splits import SPLITS, Split
from feature_audit.data.table.target import read_numbers
from feature_audit.errors import AuditError
from feature_audit.labels import Target
from feature_audit.weighting import effective_size, sampled_negatives

#: Weights outside this range are a mistake of units, and their squares would not be finite.
_SMALLEST, _LARGEST = 1e-30, 1e30
#: Share of the rows below which the effective sample size is reported, because intervals become wide.
FEW_EFFECTIVE = 0.1


def read_weight(source: Source, name: str) -> np.ndarray:
    """The weight of every row as written, float64 (rows,) >= 0.

    Raises:
        AuditError: a row has no weight or a negative one, the cells are not numbers, or all weights are zero.
    """
    values, weight = read_numbers(source, "weight", name)
    _refuse(name, np.isnan(weight), "have no weight", "fill them in: 1 counts as one row, 0 leaves the row out", values)
    _refuse(name, weight < 0, "have a negative weight", "give numbers of 0 or more", values)
    strange = (weight > _LARGEST) | ((weight > 0) & (weight < _SMALLEST))
    _refuse(name, strange, f"have a weight outside {_SMALLEST:g} to {_LARGEST:g}", "use another unit", values)
    if not weight.any():
        raise AuditError(
            f"weight={name}: it is 0 in every row, so no row counts; name another column, or leave out weight"
        )
    return weight


def _refuse(name: str, wrong: np.ndarray, what: str, remedy: str, values: pl.Series) -> None:
    if wrong.any():
        row = int(wrong.argmax())
        raise AuditError(
            f"weight={name}: {int(wrong.sum()):,} of {len(wrong):,} rows {what} (first: row {row}, {values[row]}); "
            f"{remedy}"
        )


def negatives_weight(config: AuditConfig, target: Target) -> np.ndarray:
    """float64 (rows,) weights implied by ``negative_sampling``.

    Raises:
        AuditError: the task is not binary, or it is unclear which class is negative.
    """
    rate = config.negative_sampling
    assert rate is not None
    if target.task != "binary":
        raise AuditError(f"negative_sampling={rate:g}: a {target.task} target has no negatives; give weight=<column>")
    if target.note:
        raise AuditError(
            f"negative_sampling={rate:g}: it is unclear which value of target={config.target} is negative; give "
            f"positive={target.classes[1]} or positive={target.classes[0]}"
        )
    return sampled_negatives(target.values, rate)


def weighted_by(config: AuditConfig) -> str:
    """The source of the weights, as a clause."""
    rate = config.negative_sampling
    if rate is None:
        return f"rows are weighted by {config.weight}"
    return f"every negative counts as {1 / rate:.4g} rows (negative_sampling={rate:g})"


def weight_summary(config: AuditConfig, weight: np.ndarray, target: Target, split: Split) -> dict[str, Any]:
    """Figures for the report: effective sample size of each split, and weighted base rate."""
    parts = {name: split.of_row == code for code, name in enumerate(SPLITS)}
    summary: dict[str, Any] = {
        "weighted_by": weighted_by(config),
        "effective_rows": {name: effective_size(weight[inside]) for name, inside in parts.items()},
    }
    if target.task == "binary":
        summary["positives_share_by_weight"] = float(np.average(target.values, weights=weight))
    return summary


def weight_notes(config: AuditConfig, weight: np.ndarray, split: Split) -> list[str]:
    """A note for each split whose weight is concentrated on few rows."""
    notes = []
    for code, name in enumerate(SPLITS):
        mine = weight[split.of_row == code]
        effective = effective_size(mine)
        if effective < FEW_EFFECTIVE * len(mine):
            heaviest = mine.max() / mine.sum()
            notes.append(
                f"{weighted_by(config)}: the effective sample size of the {len(mine):,} {name} rows is "
                f"{effective:,.1f} (the heaviest row has {heaviest:.0%} of the weight), which is too small for "
                "reliable results; check the weights, or cap them"
            )
    return notes

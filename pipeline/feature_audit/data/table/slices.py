"""Slice columns as small codes with readable labels, kept beside the store for per-slice statistics."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import polars as pl

from feature_audit.data.columns.casting import as_float
from feature_audit.data.reading.source import Source
from feature_audit.data.table.splits import TRAIN

#: Most labels of one slice column; rarer values become ``(other)``, numbers become this many train quantile ranges.
MAX_LABELS = 20
BINS = 5


def slice_codes(source: Source, columns: Sequence[str], of_row: np.ndarray) -> dict[str, tuple[np.ndarray, list[str]]]:
    """Codes (rows,) int32 and the label of each code, for each slice column.

    Text, booleans and numbers of few values keep their values; other numbers become ranges between train quantiles.
    """
    made = {}
    for name in columns:
        values = source.column(name)
        if values.dtype.is_nested():
            values = values.list.len() if isinstance(values.dtype, pl.List) else values.cast(pl.String)
        if (values.dtype.is_numeric() or values.dtype.is_temporal()) and values.n_unique() > MAX_LABELS:
            made[name] = _ranges(values, of_row)
        else:
            made[name] = _values(values)
    return made


def _values(values: pl.Series) -> tuple[np.ndarray, list[str]]:
    text = values.cast(pl.String).fill_null("(missing)")
    counts = text.rename("label").value_counts(name="rows").sort(["rows", "label"], descending=[True, False])
    kept = counts["label"].head(MAX_LABELS).to_list()
    codes = text.replace_strict(kept, list(range(len(kept))), default=len(kept), return_dtype=pl.Int32)
    return codes.to_numpy(), [*kept, "(other)"]


def _ranges(values: pl.Series, of_row: np.ndarray) -> tuple[np.ndarray, list[str]]:
    numbers = as_float(values)
    train = numbers[(of_row == TRAIN) & np.isfinite(numbers)]
    edges = np.unique(np.quantile(train, np.linspace(0, 1, BINS + 1)[1:-1])) if len(train) else np.zeros(1)
    codes = np.searchsorted(edges, numbers, side="left").astype(np.int32)
    shown = _shown(edges, values)
    labels = [
        f"<= {shown[0]}",
        *(f"{low} to {high}" for low, high in itertools.pairwise(shown)),
        f"> {shown[-1]}",
    ]
    codes[np.isnan(numbers)] = len(labels)
    return codes, [*labels, "(missing)"]


def _shown(edges: np.ndarray, values: pl.Series) -> list[str]:
    if values.dtype.is_temporal() and values.dtype not in (pl.Duration, pl.Time):
        return [str(moment)[:16] for moment in pl.Series(edges.astype(np.int64)).cast(pl.Datetime("us"))]
    return [f"{edge:g}" for edge in edges]

"""Slice columns as small codes with readable labels, stored with the training store for per-slice statistics."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import yaml

from feature_audit.data.columns.casting import as_float
from feature_audit.data.messages import listing
from feature_audit.data.reading.source import Source
from feature_audit.data.table.splits import TRAIN
from feature_audit.errors import AuditError
from feature_audit.question import MISSING, SliceRule

#: Maximum number of labels of a slice column; rarer values become ``(other)``. Numbers become BINS quantile ranges.
MAX_LABELS = 20
BINS = 5
OTHER = "(other)"
_COMPARED = 2000  # maximum number of values searched for a spelling suggestion


def slice_codes(
    source: Source, columns: Mapping[str, SliceRule], of_row: np.ndarray
) -> dict[str, tuple[np.ndarray, list[str]]]:
    """Codes (rows,) int32 and the label of each code, for each slice column.

    Text, booleans and numbers with few values keep their values; other numbers become ranges between train quantiles.
    A rule names the values to report, or how many of the most frequent ones; all others are ``(other)``.

    Raises:
        AuditError: no row has a named value.
    """
    made = {}
    for name, rule in columns.items():
        values = source.column(name)
        if values.dtype.is_nested():
            values = values.list.len() if isinstance(values.dtype, pl.List) else values.cast(pl.String)
        is_number = values.dtype.is_numeric() or values.dtype.is_temporal()
        if isinstance(rule, tuple):
            made[name] = _named(name, values, rule)
        elif rule is None and is_number and values.n_unique() > MAX_LABELS:
            made[name] = _ranges(values, of_row)
        else:
            made[name] = _most_frequent(values, rule or MAX_LABELS)
    return made


def _most_frequent(values: pl.Series, most: int) -> tuple[np.ndarray, list[str]]:
    text = _text(values)
    counts = text.rename("label").value_counts(name="rows").sort(["rows", "label"], descending=[True, False])
    return _coded(text, counts["label"].head(most).to_list())


def _named(column: str, values: pl.Series, wanted: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Codes of the values that the user named."""
    text = _text(values)
    known = text.unique().to_list()
    return _coded(text, [_cell(column, one, known, is_number=values.dtype.is_numeric()) for one in wanted])


def _cell(column: str, wanted: str, known: Sequence[str], *, is_number: bool) -> str:
    """The cell that a named value means: the same text or number, or a word that YAML parsed as a boolean."""
    same = [cell for cell in known if cell == wanted]
    if not same and is_number:
        same = [cell for cell in known if cell != MISSING and _same_number(cell, wanted)]
    if not same and wanted in ("true", "false"):  # YAML parses NO, the country code, as a boolean
        same = [cell for cell in known if yaml.safe_load(cell) is (wanted == "true")]
    if len(same) != 1:
        near = difflib.get_close_matches(wanted, known[:_COMPARED], n=1)
        hint = f"did you mean {near[0]}?" if near else f"it has {listing(sorted(known))}"
        raise AuditError(f"slices.{column}={wanted}: no row has this value; {hint}")
    return same[0]


def _same_number(cell: str, wanted: str) -> bool:
    try:
        return float(cell) == float(wanted)
    except ValueError:
        return False


def _text(values: pl.Series) -> pl.Series:
    return values.cast(pl.String).fill_null(MISSING)


def _coded(text: pl.Series, kept: list[str]) -> tuple[np.ndarray, list[str]]:
    codes = text.replace_strict(kept, list(range(len(kept))), default=len(kept), return_dtype=pl.Int32)
    return codes.to_numpy(), [*kept, OTHER]


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
    return codes, [*labels, MISSING]


def _shown(edges: np.ndarray, values: pl.Series) -> list[str]:
    if values.dtype.is_temporal() and values.dtype not in (pl.Duration, pl.Time):
        return [str(moment)[:16] for moment in pl.Series(edges.astype(np.int64)).cast(pl.Datetime("us"))]
    return [f"{edge:g}" for edge in edges]

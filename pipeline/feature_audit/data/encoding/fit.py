"""Fits one encoder per usable column on the train statistics; validation and test rows are not used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from feature_audit.config.sections import EncodingConfig
from feature_audit.data.columns.casting import as_datetime, as_float, as_lists, as_matrix, date_part, epoch
from feature_audit.data.columns.written_numbers import Form
from feature_audit.data.encoding.encoder_set import Encoders
from feature_audit.data.encoding.encoders import (
    DATE_PARTS,
    BagEncoder,
    CodeEncoder,
    DateEncoder,
    Encoder,
    NumericEncoder,
    VectorEncoder,
)
from feature_audit.data.encoding.knots import median_knot, quantile_knots
from feature_audit.data.encoding.vocabulary import Buckets, Vocabulary
from feature_audit.data.table.statistics import ColumnFacts, Statistics
from feature_audit.schema import Column

#: Quantile buckets of a datetime itself.
AGE_BUCKETS = 16


def fit_encoders(
    columns: Sequence[Column], statistics: Statistics, settings: EncodingConfig, forms: Mapping[str, Form] | None = None
) -> Encoders:
    """One encoder per column, in order; ``forms``: forms of the columns of formatted numbers."""
    train, forms = statistics.samples["train"], forms or {}
    return Encoders(
        {
            column.name: fit_encoder(
                column, statistics.facts[column.name], train[column.name], settings, forms.get(column.name)
            )
            for column in columns
        }
    )


def fit_encoder(
    column: Column, fact: ColumnFacts, sample: pl.Series, settings: EncodingConfig, form: Form | None = None
) -> Encoder:
    """The encoder of one column.

    Args:
        column: its kind decides the encoder.
        fact: train counts of the column.
        sample: train cells.
        settings: bins, cut-offs and lengths.
        form: format of the raw cells of a numeric column that ``sample`` already holds as numbers.
    """
    if column.kind == "numeric":
        numbers = as_float(sample)
        knots = quantile_knots(numbers, settings.max_bins)
        moment = sample.dtype in (pl.Date, pl.Datetime)
        return NumericEncoder(column.name, knots, form, moment, median_knot(numbers, knots))
    if column.kind in ("categorical", "boolean"):
        return CodeEncoder(column.name, _vocabulary(fact, settings, keep_all=column.kind == "boolean"))
    if column.kind == "multi":
        width = max(1, min(fact.longest, settings.max_list_length))
        known = _edges(fact, settings.max_bins) if fact.key == "float" else _vocabulary(fact, settings)
        return BagEncoder(column.name, known, width, fact.separator, settings.list_end)
    if column.kind == "datetime":
        return _date_encoder(column.name, as_datetime(sample, fact.format), fact.format)
    return _vector_encoder(column.name, sample)


def _vocabulary(fact: ColumnFacts, settings: EncodingConfig, *, keep_all: bool = False) -> Vocabulary:
    counts = fact.counts
    assert counts is not None
    kept = counts if keep_all else counts.filter(pl.col("count") >= settings.min_count)
    kept = kept.head(settings.max_categories)
    return Vocabulary(fact.key, kept["value"].to_list(), settings.hash_buckets if counts.height > kept.height else 0)


def _edges(fact: ColumnFacts, max_bins: int) -> Buckets:
    """Quantile ranges of the numbers in lists."""
    assert fact.counts is not None
    numbers = np.repeat(fact.counts["value"].to_numpy(), np.minimum(fact.counts["count"].to_numpy(), 1_000))
    return Buckets(quantile_knots(numbers, max_bins))


def _date_encoder(name: str, moments: pl.Series, pattern: str | None) -> DateEncoder:
    held = moments.drop_nulls()
    parts = tuple(part for part in DATE_PARTS if len(held) and len(np.unique(date_part(held, part))) > 1)
    edges = np.unique(np.quantile(epoch(held), np.linspace(0, 1, AGE_BUCKETS + 1)[1:-1])) if len(held) else np.zeros(0)
    return DateEncoder(name, parts, edges, pattern)


def _vector_encoder(name: str, sample: pl.Series) -> VectorEncoder:
    lengths = as_lists(sample, None).list.len().drop_nulls()
    width = int(lengths.mode().min()) if len(lengths) else 1  # type: ignore[arg-type]
    matrix = as_matrix(sample, width)
    matrix = matrix[np.isfinite(matrix).all(axis=1)]
    if not len(matrix):
        return VectorEncoder(name, np.zeros(width), np.ones(width))
    scale = matrix.std(axis=0)
    return VectorEncoder(name, matrix.mean(axis=0), np.where(scale > 1e-12, scale, 1.0))

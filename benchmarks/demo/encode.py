"""The demo log as codes for a small net and as numbers for LightGBM, fitted on the train rows only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

_BINS = 24
_MIN_COUNT = 8
_LIST_TOKENS = 60
_SMOOTHING = 20


@dataclass(frozen=True)
class Encoded:
    """One feature: integer codes (rows, width) with 0 = missing, or float values (rows, width)."""

    values: np.ndarray
    cardinality: int  # 0: values are floats

    @property
    def width(self) -> int:
        return self.values.shape[1]


def encode(series: pl.Series, train: int) -> Encoded:
    """Quantile bins, frequent categories, tokens of a list, hour and weekday, or a standardised vector."""
    if isinstance(series.dtype, pl.Array):
        values = series.to_numpy().astype(np.float32)
        return Encoded((values - values[:train].mean(0)) / values[:train].std(0), 0)
    if isinstance(series.dtype, pl.Datetime):
        hour, weekday = series.dt.hour().to_numpy(), series.dt.weekday().to_numpy()
        return Encoded(np.stack([1 + hour, 24 + weekday], axis=1).astype(np.int64), 32)
    if isinstance(series.dtype, pl.List):
        return _tokens(series, train)
    if series.dtype in (pl.String, pl.Boolean):
        return _categories(series.cast(pl.String), train)
    values = series.cast(pl.Float64).to_numpy()
    known = values[:train][~np.isnan(values[:train])]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1]))
    codes = np.where(np.isnan(values), 0, 1 + np.searchsorted(edges, values, side="left"))
    return Encoded(codes[:, None].astype(np.int64), len(edges) + 2)


def _categories(series: pl.Series, train: int) -> Encoded:
    counts = series[:train].drop_nulls().value_counts()
    frequent = counts.filter(pl.col("count") >= _MIN_COUNT)[series.name].sort().to_list()
    codes = series.replace_strict({level: 2 + i for i, level in enumerate(frequent)}, default=1, return_dtype=pl.Int64)
    values = np.where(series.is_null().to_numpy(), 0, codes.to_numpy())
    return Encoded(values[:, None], len(frequent) + 2)


def _tokens(series: pl.Series, train: int) -> Encoded:
    top = series[:train].explode().drop_nulls().value_counts(sort=True)[series.name].head(_LIST_TOKENS).to_list()
    known = {token: 1 + i for i, token in enumerate(top)}
    values = np.zeros((len(series), series.list.len().max() or 1), dtype=np.int64)
    for row, tokens in enumerate(series.to_list()):
        codes = [known[token] for token in tokens if token in known]
        values[row, : len(codes)] = codes
    return Encoded(values, len(top) + 1)


def flatten(series: pl.Series, label: np.ndarray, train: int) -> np.ndarray:
    """Features for LightGBM (rows, columns): raw numbers, vector components, token indicators, hour and weekday.

    Categories become smoothed target means, out of fold on train rows, because LightGBM's native categories overfit
    those of many values.
    """
    if series.dtype.is_numeric():
        return series.cast(pl.Float64).to_numpy()[:, None]
    encoded = encode(series, train)
    if isinstance(series.dtype, pl.List):
        tokens = np.arange(1, encoded.cardinality)
        return (encoded.values[:, :, None] == tokens).any(axis=1).astype(np.float64)
    if series.dtype == pl.String:
        return _target_mean(encoded, label, train)[:, None]
    return encoded.values.astype(np.float64)


def _target_mean(encoded: Encoded, label: np.ndarray, train: int) -> np.ndarray:
    codes = encoded.values[:, 0]
    fold = np.random.default_rng(0).integers(0, 5, train)
    fold = np.concatenate([fold, np.full(len(codes) - train, -1)])  # later rows use all of train
    prior, result = label[:train].mean(), np.empty(len(codes))
    for part in (-1, 0, 1, 2, 3, 4):
        rows = np.flatnonzero((fold[:train] != part) & (fold[:train] >= 0))
        hits = np.bincount(codes[rows], label[rows], encoded.cardinality)
        means = (hits + _SMOOTHING * prior) / (np.bincount(codes[rows], minlength=encoded.cardinality) + _SMOOTHING)
        result[fold == part] = means[codes[fold == part]]
    return result

"""Renders a family's hidden quantity as columns, and as the reading that influences the label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit, logit

from feature_audit.datasets.demo.catalogue import WINDOWS, Family, Kind
from feature_audit.datasets.demo.world import DAYS, FloatArray, IntArray, World

_COPY_SUFFIXES = ("est", "v1", "legacy", "proxy")
_COPY_KINDS: tuple[Kind, ...] = ("normal", "lognormal", "share", "count")
_COPY_CORRELATION = (0.65, 0.92)
_FLAG_THRESHOLD = 0.5


@dataclass(frozen=True)
class Rendered:
    """The columns of a family.

    Attributes:
        columns: all columns, the source column first.
        reading: float64 (rows,) content of the source column, about standard normal, 0 for null; for a category its
            code, -1 for null. The label depends on this alone, so that a model needs only the source column of a
            family.
    """

    columns: tuple[pl.Series, ...]
    reading: FloatArray


def render(family: Family, world: World, rng: np.random.Generator) -> Rendered:
    """All columns of a family, one value per row of the log."""
    if family.kind == "windows":
        return _render_windows(family, world, rng)
    if family.kind == "category":
        return _render_category(family, world, rng)
    return _render_quantity(family, world, rng)


def _entities(family: Family, world: World) -> tuple[int, IntArray]:
    """Number of entities of the family's level, and the entity of each row."""
    if family.level == "user":
        return world.n_users, world.user
    if family.level == "item":
        return world.n_items, world.item
    return world.n_rows, np.arange(world.n_rows)


def _null_mask(share: float, count: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    return rng.random(count) < share


def _render_quantity(family: Family, world: World, rng: np.random.Generator) -> Rendered:
    count, entity = _entities(family, world)
    hidden = rng.standard_normal(count)
    if family.level == "row":
        hidden += family.drift * (world.progress - 0.5)
    elif family.level == "user":
        hidden += family.drift * world.arrival / DAYS
    values, reading = _show(hidden, family.kind, family.unit or _drawn_unit(family.kind, rng))
    nulls = _null_mask(family.nulls, count, rng)
    columns = [_series(family.name, values, nulls, entity)]
    for number in range(family.size - 1):
        rho = rng.uniform(*_COPY_CORRELATION)
        noisy = rho * hidden + np.sqrt(1 - rho**2) * rng.standard_normal(count)
        kind = _COPY_KINDS[rng.integers(len(_COPY_KINDS))]
        lost = _null_mask(float(rng.choice([0.0, 0.0, 0.05, 0.2])), count, rng)
        shown, _ = _show(noisy, kind, _drawn_unit(kind, rng))
        columns.append(_series(f"{family.name}_{_COPY_SUFFIXES[number]}", shown, lost, entity))
    return Rendered(tuple(columns), np.where(nulls, 0.0, reading)[entity])


Unit = tuple[float, float, int]


def _drawn_unit(kind: Kind, rng: np.random.Generator) -> Unit:
    """Random location, scale and decimals, for columns without a ``unit``."""
    if kind == "normal":
        scale = float(rng.choice([1.0, 10.0, 100.0]))
        return scale * rng.normal(), scale, 2
    if kind == "count":
        return float(np.exp(rng.uniform(1.0, 2.2))), 0.9, 0
    if kind == "share":
        return rng.normal(0, 0.7), 1.1, 3
    return float(np.exp(rng.uniform(1, 5))), rng.uniform(0.8, 1.6), 1


def _show(hidden: FloatArray, kind: Kind, unit: Unit) -> tuple[NDArray[np.generic], FloatArray]:
    """Rounded values in the units of ``kind``, and the standardised quantity that can be read from them."""
    location, scale, decimals = unit
    if kind == "flag":
        flags = hidden > _FLAG_THRESHOLD
        return flags, _standardise(flags.astype(np.float64))
    if kind == "normal":
        values = location + scale * hidden
    elif kind == "lognormal":
        values = location * np.exp(scale * hidden)
    elif kind == "share":
        values = expit(location + scale * hidden)
    else:
        values = np.floor(location * np.exp(scale * hidden))
    values = np.round(values, decimals)
    shown = values.astype(np.int64) if decimals == 0 else values
    if kind in ("lognormal", "count"):
        return shown, _standardise(np.log(values + 0.5 * 10.0**-decimals))
    return shown, _standardise(logit(np.clip(values, 5e-4, 1 - 5e-4)) if kind == "share" else values)


def _standardise(values: FloatArray) -> FloatArray:
    return np.asarray((values - values.mean()) / values.std())


def _render_category(family: Family, world: World, rng: np.random.Generator) -> Rendered:
    count, entity = _entities(family, world)
    weights = (np.arange(family.cardinality) + 1.0) ** -0.7
    weights /= weights.sum()
    codes = rng.choice(family.cardinality, count, p=weights)
    nulls = _null_mask(family.nulls, count, rng)
    columns = [_series(family.name, _labels(codes), nulls, entity)]
    for number in range(family.size - 1):
        kept = rng.random(count) < rng.uniform(*_COPY_CORRELATION)
        noisy = np.where(kept, codes, rng.choice(family.cardinality, count, p=weights))
        columns.append(_series(f"{family.name}_{_COPY_SUFFIXES[number]}", _labels(noisy), None, entity))
    return Rendered(tuple(columns), np.where(nulls, -1, codes)[entity].astype(np.float64))


def _labels(codes: IntArray) -> NDArray[np.generic]:
    width = max(2, len(str(codes.max())))
    return np.char.add("v", np.char.zfill(codes.astype(str), width))


def _render_windows(family: Family, world: World, rng: np.random.Generator) -> Rendered:
    """Event counts in nested windows: those of a shorter window are a random part of those of the longer one."""
    per_user = rng.standard_normal(world.n_users)[world.user]
    hidden = 0.5 * per_user + np.sqrt(0.75) * rng.standard_normal(world.n_rows)
    counts = rng.poisson(np.exp(rng.uniform(1.6, 2.4) + 1.0 * hidden))
    columns, readings = [], []
    for window, share in zip(WINDOWS, (1.0, 0.45, 0.4, 0.3), strict=True):
        counts = rng.binomial(counts, share)
        columns.append(pl.Series(f"{family.name}_{window}", counts))
        readings.append(_standardise(np.log1p(counts)))
    order = [family.source, *(i for i in range(len(WINDOWS)) if i != family.source)]
    return Rendered(tuple(columns[i] for i in order), readings[family.source])


def _series(name: str, values: NDArray[np.generic], nulls: NDArray[np.bool_] | None, entity: IntArray) -> pl.Series:
    """The values of the entities, with nulls, one per row of the log."""
    series = pl.Series(name, values)
    if nulls is not None and nulls.any():
        series = pl.select(pl.when(pl.Series(~nulls)).then(series).alias(name)).to_series()
    spread = series.gather(entity)
    return spread.cast(pl.Float32) if spread.dtype == pl.Float64 else spread

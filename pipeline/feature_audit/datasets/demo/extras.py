"""Columns beyond the plain families: vectors, a list, datetimes, constants and leaks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from feature_audit.datasets.demo.families import Rendered
from feature_audit.datasets.demo.world import START, FloatArray, IntArray, World

_LATENT = 3
_TAGS = 120


@dataclass(frozen=True)
class Extras:
    """Families with columns of other kinds.

    Attributes:
        families: group name -> columns and reading; the reading is the standardised effect of the family.
        strength: group name -> standard deviation of the effect; groups that are missing here are noise.
    """

    families: dict[str, Rendered]
    strength: dict[str, float]


def render_extras(world: World, rng: np.random.Generator) -> Extras:
    """Dense vectors (taste of users, content of items, session, noise), tags and local time."""
    taste = rng.standard_normal((world.n_users, _LATENT))
    content = rng.standard_normal((world.n_items, _LATENT))
    session = rng.standard_normal((world.n_rows, _LATENT))
    match = (taste[world.user] * content[world.item]).sum(axis=1)
    tilt = session @ np.array([0.8, 0.6, 0.0])
    families = {
        "vec_user_taste": Rendered(
            (
                *_vector_pair("vec_user_taste", taste, 12, world.user, rng),
                *(
                    pl.Series(f"vec_user_taste_pc{axis}", _blur(taste[:, axis], rng)[world.user])
                    for axis in range(_LATENT)
                ),
            ),
            np.zeros(world.n_rows),  # taste acts through its match with content
        ),
        "vec_item_content": Rendered(
            tuple(_vector_pair("vec_item_content", content, 12, world.item, rng)), match / match.std()
        ),
        "vec_session": Rendered(tuple(_vector_pair("vec_session", session, 8, None, rng)), tilt / tilt.std()),
        "vec_image": _noise(_array("vec_image", rng.standard_normal((world.n_items, 24)), world.item)),
        "vec_query": _noise(_array("vec_query", rng.standard_normal((world.n_rows, 8)), None)),
        "item_tags": _tags(world, rng),
        "ctx_local_time": _clock(world, rng),
        "user_signup": _noise(_signup(world, rng)),
    }
    strength = {"vec_item_content": 0.6, "vec_session": 0.3, "item_tags": 0.3, "ctx_local_time": 0.3}
    return Extras(families, strength)


def _noise(series: pl.Series) -> Rendered:
    """A column without effect."""
    return Rendered((series,), np.zeros(len(series)))


def _blur(values: FloatArray, rng: np.random.Generator, rho: float = 0.8) -> FloatArray:
    return np.round(rho * values + np.sqrt(1 - rho**2) * rng.standard_normal(values.shape), 5)


def _vector_pair(
    name: str, latent: FloatArray, width: int, entity: IntArray | None, rng: np.random.Generator
) -> list[pl.Series]:
    """The latent axes rotated together with noise axes, and an older, noisier version of the same vector."""
    padded = np.hstack([latent, rng.standard_normal((len(latent), width - latent.shape[1]))])
    rotation = np.linalg.qr(rng.standard_normal((width, width)))[0]
    return [
        _array(name, padded @ rotation, entity),
        _array(f"{name}_v1", _blur(padded, rng) @ rotation, entity),
    ]


def _array(name: str, values: FloatArray, entity: IntArray | None) -> pl.Series:
    spread = values if entity is None else values[entity]
    return pl.Series(name, np.round(spread, 4).astype(np.float32), dtype=pl.Array(pl.Float32, values.shape[1]))


def _tags(world: World, rng: np.random.Generator) -> Rendered:
    """A list of 0 to 6 distinct tags per item, some with a positive and some with a negative effect."""
    weights = (np.arange(_TAGS) + 3.0) ** -0.8
    keys = rng.exponential(size=(world.n_items, _TAGS)) / weights
    length = rng.integers(0, 7, world.n_items)
    ranked = np.argsort(keys, axis=1)[:, :6]
    effect_of = rng.standard_normal(_TAGS)
    used = np.arange(6) < length[:, None]
    effect = (effect_of[ranked] * used).sum(axis=1)[world.item]
    tags = pl.Series("item_tags", [[f"t{tag:03d}" for tag in row[:n]] for row, n in zip(ranked, length, strict=True)])
    return Rendered((tags.gather(world.item),), effect / effect.std())


def _clock(world: World, rng: np.random.Generator) -> Rendered:
    """Local time, whose hour and weekend influence the label, with two copies: the part of the day and a noisy hour."""
    weekend = (world.day.astype(np.int64) % 7 >= 5).astype(np.float64)
    effect = np.sin(2 * np.pi * (world.hour - 15) / 24) + 0.7 * weekend
    daypart = np.array(["night", "morning", "afternoon", "evening"])[world.hour // 6]
    columns = (
        pl.Series("ctx_local_time", world.timestamps),
        pl.Series("ctx_daypart", daypart),
        pl.Series("ctx_hour_utc", (world.hour + rng.integers(-2, 3, world.n_rows)) % 24),
    )
    return Rendered(columns, (effect - effect.mean()) / effect.std())


def _signup(world: World, rng: np.random.Generator) -> pl.Series:
    seconds = rng.integers(0, 900 * 86_400, world.n_users)
    return pl.Series("user_signup", (START - seconds.astype("timedelta64[s]"))[world.user])


def constants(n_rows: int) -> list[pl.Series]:
    """Columns with a single value, and one that is always null."""
    return [
        pl.Series("user_schema_version", np.full(n_rows, 3)),
        pl.Series("item_currency", np.full(n_rows, "EUR")),
        pl.Series("ctx_is_test_traffic", np.zeros(n_rows, dtype=bool)),
        pl.Series("hist_deprecated_score", np.zeros(n_rows)),
        pl.Series("vec_bias", np.ones(n_rows)),
        pl.Series("item_legacy_code", [None] * n_rows, dtype=pl.String),
    ]


def leaks(label: IntArray, rng: np.random.Generator) -> list[pl.Series]:
    """Columns known only after the click: one whose values follow the label, and one whose nulls do."""
    dwell = np.round(np.exp(rng.normal(np.where(label == 1, 9.5, 6.0), 0.6)), 1)
    present = np.where(label == 1, rng.random(len(label)) < 0.99, rng.random(len(label)) < 0.004)
    rating = pl.Series("hist_feedback_score", rng.integers(1, 6, len(label)))
    return [
        pl.Series("ctx_landing_page_ms", dwell),
        pl.select(pl.when(pl.Series(present)).then(rating).alias("hist_feedback_score")).to_series(),
    ]

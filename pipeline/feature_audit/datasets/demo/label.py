"""Draws clicks from readings: direct effects, products, unobserved preferences, drift."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import expit

from feature_audit.datasets.demo.catalogue import FADING, INTERACTIONS, SIGNALS, Effect, Family
from feature_audit.datasets.demo.extras import Extras
from feature_audit.datasets.demo.families import Rendered
from feature_audit.datasets.demo.world import FloatArray, IntArray, World

POSITIVE_SHARE = 0.2
_UNSEEN = 0.3  # standard deviation, in log-odds, of the unobserved effects of users and items


def draw_label(
    world: World, families: Mapping[str, Rendered], extras: Extras, rng: np.random.Generator
) -> tuple[IntArray, FloatArray]:
    """Clicks, int64 (rows,), and the true probabilities that they were drawn with, float64 (rows,)."""
    score = _UNSEEN * rng.standard_normal(world.n_users)[world.user]
    score = score + _UNSEEN * rng.standard_normal(world.n_items)[world.item]
    for family in SIGNALS:
        fade = 1 + (FADING.get(family.name, 1.0) - 1) * world.progress
        score += fade * _direct_effect(family, families[family.name].reading, rng)
    for first, second, strength in INTERACTIONS:
        product = families[first].reading * families[second].reading
        score += strength * rng.choice([-1.0, 1.0]) * product / product.std()
    for name, strength in extras.strength.items():
        score += strength * extras.families[name].reading
    score += 0.25 * np.sin(2 * np.pi * world.progress * 2)
    probability = expit(score + _intercept(score))
    return (rng.random(world.n_rows) < probability).astype(np.int64), probability


def _direct_effect(family: Family, reading: FloatArray, rng: np.random.Generator) -> FloatArray:
    if family.effect == "none":
        return np.zeros_like(reading)
    if family.effect == "levels":
        level_effect = rng.standard_normal(family.cardinality + 1)
        shape = level_effect[reading.astype(np.int64)]  # null is code -1: the last entry
    else:
        shape = rng.choice([-1.0, 1.0]) * _shape(family.effect, reading)
    centred = shape - shape.mean()
    return np.asarray(family.strength * centred / centred.std())


def _shape(effect: Effect, reading: FloatArray) -> FloatArray:
    clipped = np.clip(reading, -3, 3)
    if effect == "bowl":
        return np.asarray(clipped**2)
    if effect == "step":
        return np.asarray(np.tanh(3 * (clipped - 0.4)))
    if effect == "hump":
        return np.asarray(np.exp(-((clipped - 0.3) ** 2) / 0.8))
    if effect == "wave":
        return np.asarray(np.sin(2.2 * clipped))
    return np.asarray(clipped)


def _intercept(score: FloatArray) -> float:
    """The intercept with which ``POSITIVE_SHARE`` of the rows are positive on average, by bisection."""
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if expit(score + middle).mean() < POSITIVE_SHARE else (low, middle)
    return (low + high) / 2

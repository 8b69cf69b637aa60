"""Audits with known truth: users, rows, labels and scores whose population AUC is exact by construction.

Scores are normal given the label, so a model's AUC over rows of different users is Phi(mu / sqrt(2)) (binormal model).
Their cluster variance has components common to both models, specific to a model per user and per row, and specific to
a single training; in the first three, rows of the same user are correlated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Design:
    """One simulated situation.

    Attributes:
        name: for the table.
        loss: true AUC of the full feature set minus that of the pruned one, over retrainings.
        seed_noise: standard deviation of a training's true AUC.
        users: test users.
        seeds: trainings of (pruned, baseline).
        rows_per_user: mean of the geometric distribution of a user's rows.
        heavy_users: True draws rows per user from a Zipf-like law instead.
        giants: number of users with 100 times the rows.
        positive_rate: share of positive rows.
        noise: law of the seed noise: ``normal``, ``t3`` (heavy tails) or ``skewed`` (occasional bad training).
        baseline_noise: seed noise of the baseline as a multiple of ``seed_noise``.
        scale: multiplies loss and seed noise (and the caller's margin), for small test splits.
        model_user, model_row, training_row: shares of the score variance owned by one model per user, by one model per
            row, and by one training per row.
    """

    name: str
    loss: float
    seed_noise: float
    users: int = 2000
    seeds: tuple[int, int] = (3, 1)
    rows_per_user: float = 8.0
    heavy_users: bool = False
    giants: int = 0
    positive_rate: float = 0.2
    noise: str = "normal"
    baseline_noise: float = 1.0
    scale: float = 1.0
    model_user: float = 0.0008
    model_row: float = 0.0015
    training_row: float = 0.003


@dataclass(frozen=True)
class Audit:
    """Input of an audit: labels and users (rows,), scores of both arms (seeds, rows)."""

    y: np.ndarray
    cluster: np.ndarray
    baseline: np.ndarray
    pruned: np.ndarray


FULL_AUC = 0.78
SHARED_USER = 0.1  # share of the score variance that is a user effect common to all models


def simulate(design: Design, rng: np.random.Generator) -> Audit:
    """Draw users, rows, trainings and scores."""
    return simulate_ladder(design, [design.loss], rng)[0]


def simulate_ladder(
    design: Design, losses: Sequence[float], rng: np.random.Generator, *, alike: float = 0.0
) -> list[Audit]:
    """Draw several pruned models on the same rows, against the same trainings of the full model.

    Args:
        design: common to all of them; its ``loss`` is not used.
        losses: true loss of each, instead of ``design.loss``.
        rng: source of all random numbers.
        alike: share of the variance specific to a pruned model that all of them have in common.
    """
    if design.heavy_users:
        size = np.minimum(1 + rng.pareto(1.5, design.users) * design.rows_per_user / 3, 200).astype(int)
    else:
        size = rng.geometric(1 / design.rows_per_user, design.users)
    size[: design.giants] *= 100
    cluster = np.repeat(np.arange(design.users), size)
    rows = len(cluster)
    y = (rng.random(rows) < design.positive_rate).astype(np.int8)
    owned = design.model_user + design.model_row + design.training_row
    shared = np.sqrt(SHARED_USER) * rng.standard_normal(design.users)[cluster]
    shared += np.sqrt(1 - SHARED_USER - owned) * rng.standard_normal(rows)

    def own() -> np.ndarray:
        level = np.sqrt(design.model_user) * rng.standard_normal(design.users)[cluster]
        return level + np.sqrt(design.model_row) * rng.standard_normal(rows)

    def arm(auc: float, seeds: int, scale: float, base: np.ndarray) -> np.ndarray:
        signal = np.sqrt(2) * stats.norm.ppf(auc + scale * seed_effects(design.noise, seeds, rng))
        fresh = np.sqrt(design.training_row) * rng.standard_normal((seeds, rows))
        return shared + base + signal[:, None] * y + fresh

    noise = design.seed_noise * design.scale
    common = own() if alike else np.zeros(rows)
    pruned = [
        arm(
            FULL_AUC - loss * design.scale, design.seeds[0], noise, np.sqrt(alike) * common + np.sqrt(1 - alike) * own()
        )
        for loss in losses
    ]
    baseline = arm(FULL_AUC, design.seeds[1], noise * design.baseline_noise, own())
    return [Audit(y, cluster, baseline, one) for one in pruned]


def seed_effects(law: str, seeds: int | tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Seed effects of the given law and shape, with mean 0 and variance 1."""
    if law == "t3":
        return rng.standard_t(3, seeds) / np.sqrt(3)
    if law == "skewed":
        return 1 - rng.exponential(1.0, seeds)
    return rng.standard_normal(seeds)

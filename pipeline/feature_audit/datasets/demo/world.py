"""Simulated users, items and impressions, in time order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

START = np.datetime64("2025-03-03T00:00:00", "us")
DAYS = 42


@dataclass(frozen=True)
class World:
    """Impressions in time order.

    Attributes:
        user: int64 (rows,) user of each impression.
        item: int64 (rows,) item of each impression.
        day: float64 (rows,) time in days since ``START``, ascending.
        arrival: float64 (users,) day from which a user is active; 0 = from the start.
        n_users: number of users.
        n_items: number of items.
    """

    user: IntArray
    item: IntArray
    day: FloatArray
    arrival: FloatArray
    n_users: int
    n_items: int

    @property
    def n_rows(self) -> int:
        """Number of impressions."""
        return len(self.user)

    @property
    def progress(self) -> FloatArray:
        """Float64 (rows,), share of the log's period that has passed, 0 to 1."""
        return self.day / DAYS

    @property
    def hour(self) -> IntArray:
        """Int64 (rows,), hour of the day, 0 to 23."""
        return (self.day % 1 * 24).astype(np.int64)

    @property
    def timestamps(self) -> NDArray[np.datetime64]:
        """Datetime64 (rows,), time of each impression in whole seconds."""
        return START + (self.day * 86_400).astype("timedelta64[s]")


def simulate_world(rng: np.random.Generator, *, n_rows: int, n_users: int, n_items: int) -> World:
    """Simulate heavy-tailed users and items; 35 % of the users and some of the items appear during the log.

    Args:
        rng: source of all random numbers.
        n_rows: number of impressions.
        n_users: number of users.
        n_items: number of items.
    """
    arrival = np.where(rng.random(n_users) < 0.65, 0.0, rng.uniform(0, DAYS * 0.95, n_users))
    activity = rng.lognormal(0.0, 0.9, n_users) * (1 - arrival / DAYS)
    user = rng.choice(n_users, n_rows, p=activity / activity.sum())
    whole_day = np.floor(rng.uniform(arrival[user], DAYS))
    hour = (rng.vonmises(0.6, 1.1, n_rows) / (2 * np.pi) * 24 + 16) % 24
    day = np.minimum(whole_day + hour / 24, DAYS - 1e-6)
    order = np.argsort(day, kind="stable")
    user, day = user[order], day[order]
    return World(user, _choose_items(rng, day, n_items), day, arrival, n_users, n_items)


def _choose_items(rng: np.random.Generator, day: FloatArray, n_items: int) -> IntArray:
    """Items with Zipf-like popularity; every week, a random tenth of the items is four times as popular."""
    popularity = rng.permutation((np.arange(n_items) + 20.0) ** -0.8)
    launch = np.where(rng.random(n_items) < 0.8, 0, rng.integers(0, DAYS // 7, n_items))
    item = np.empty(len(day), dtype=np.int64)
    week = (day // 7).astype(np.int64)
    for number in range(DAYS // 7):
        rows = np.flatnonzero(week == number)
        weight = popularity * np.where(rng.random(n_items) < 0.1, 4.0, 1.0) * (launch <= number)
        item[rows] = rng.choice(n_items, len(rows), p=weight / weight.sum())
    return item

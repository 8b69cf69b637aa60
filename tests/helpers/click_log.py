"""A small click log for end-to-end tests: a few signals, their copies, noise, and columns that must be excluded."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl

SIGNALS = ("price_gap", "taste", "device", "hour_score")


def make_log(rows: int = 8_000, *, users: int = 600, seed: int = 0) -> pl.DataFrame:
    """Columns: row id, user, time, 4 signals, 2 noisy copies, 14 noise columns, constant, duplicate, leak, label."""
    rng = np.random.default_rng(seed)
    user = rng.integers(0, users, rows)
    price_gap, taste, hour_score = rng.normal(size=(3, rows))
    device = rng.integers(0, 4, rows)
    logit = 1.2 * price_gap + 1.0 * taste + 0.9 * hour_score + np.array([-1.0, 0.0, 1.2, 0.4])[device] - 1.0
    clicked = (rng.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int64)
    start = datetime(2026, 1, 1)
    seconds = np.sort(rng.integers(0, 30 * 86_400, rows))
    noise = {f"noise_{number:02d}": rng.normal(size=rows) for number in range(12)}
    noise |= {f"noise_cat_{number}": rng.integers(0, 30, rows).astype(str) for number in range(2)}
    taste_missing = np.where(rng.random(rows) < 0.05, np.nan, taste)
    return pl.DataFrame(
        {
            "impression": np.arange(rows),
            "user_id": [f"u{code}" for code in user],
            "ts": [start + timedelta(seconds=int(second)) for second in seconds],
            "price_gap": price_gap,
            "taste": taste_missing,
            "device": np.array(["phone", "tablet", "desktop", "tv"])[device],
            "hour_score": hour_score,
            "price_gap_copy": price_gap + 0.5 * rng.normal(size=rows),
            "hour_score_copy": hour_score + 0.5 * rng.normal(size=rows),
            **noise,
            "country": ["NL"] * rows,
            "taste_again": taste_missing,
            "dwell_after_click": clicked * rng.uniform(1, 9, rows),
            "clicked": clicked,
        }
    )

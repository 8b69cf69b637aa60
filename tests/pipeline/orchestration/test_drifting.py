"""Features whose effect drifts are kept, memorised ids are not: from the file to the decision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from command_line import artifact, feature_audit, newest_audit

pytestmark = pytest.mark.slow


def drifting_log(rows: int = 12_000) -> pl.DataFrame:
    """A log in time order; the effects of a count of six values, an amount and rare flags halve towards the end."""
    random = np.random.default_rng(0)
    worth = np.interp(np.linspace(0, 1, rows), [0, 0.55, 0.7, 1], [1, 0.95, 0.55, 0.5])
    stable = random.normal(size=(rows, 3))
    count, amount = np.minimum(random.poisson(1.2, rows), 5), random.gamma(2.0, 1.0, rows)
    flags = (random.random((rows, 4)) < [0.001, 0.002, 0.003, 0.004]).astype(int)
    drifts = 0.9 * (count - 1.2) + 0.7 * (amount - 2) + 2.5 * flags.sum(axis=1)
    logit = -1.0 + stable @ [0.7, -0.5, 0.4] + worth * drifts
    return pl.DataFrame(
        {
            "clicked": (random.random(rows) < 1 / (1 + np.exp(-logit))).astype(int),
            "ts": 1_700_000_000 + 60 * np.arange(rows),
            **{f"stable_{number}": values for number, values in enumerate(stable.T)},
            "count": count,
            "amount": amount,
            **{f"flag_{number}": values for number, values in enumerate(flags.T)},
            **{f"noise_{number}": random.normal(size=rows) for number in range(8)},
            "visit": [f"v{code}" for code in random.integers(0, 1_500, rows)],
            "session": [f"s{code}" for code in random.integers(0, 4_000, rows)],
        }
    )


def test_what_drifts_is_kept_and_ids_are_not(home: Path) -> None:
    drifting_log().write_parquet(home / "log.parquet")
    words = ["--target", "clicked", "--time", "ts", "--profile", "quick", "--margin", "0.01", "--threads", "1"]
    assert feature_audit("run", "--data", "log.parquet", *words) == 0
    ranking = pl.read_parquet(artifact(newest_audit(), "selection/ranking.parquet"))
    decision = dict(ranking.select("feature", "decision").iter_rows())
    assert {decision[name] for name in ("count", "amount")} == {"keep"}
    assert {decision[name] for name in ("visit", "session")} == {"drop"}

"""Shared by the data tests: a quick ``prepare`` of a frame, and a small table with every kind of column."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store, prepare


def prepared_of(frame: pl.DataFrame | Path | str, folder: Path, **keys: Any) -> tuple[Prepared, Store]:
    """Prepare a frame (written as Parquet first) or a path with some configuration keys."""
    if isinstance(frame, pl.DataFrame):
        path = folder / "log.parquet"
        frame.write_parquet(path)
    else:
        path = Path(frame)
    config = AuditConfig.model_validate({"data": str(path), "target": "y", **keys})
    made = prepare(config, folder / "store")
    return made, Store.open(folder / "store")


def every_kind(rows: int = 1_500, seed: int = 0) -> pl.DataFrame:
    """A label ``y`` and one column of each kind, with gaps, in time order."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=rows)
    gaps = rng.random(rows) < 0.1
    words = np.array(["red", "green", "blue", "grey"])
    tags = ["a", "b", "c", "d", "e"]
    start = datetime(2024, 1, 1)
    return pl.DataFrame(
        {
            "row": np.arange(rows) + 10_000,
            "at": [start + timedelta(minutes=7 * i) for i in range(rows)],
            "user": rng.integers(0, 80, rows),
            "amount": np.where(gaps, np.nan, np.exp(signal)),
            "count": rng.poisson(2, rows),
            "colour": pl.Series(words[rng.integers(0, 4, rows)]).set(pl.Series(gaps), None),
            "flag": pl.Series(rng.random(rows) < 0.3).set(pl.Series(rng.random(rows) < 0.05), None),
            "tags": [
                rng.choice(tags, rng.integers(0, 4), replace=False).tolist() if g > 0.1 else None
                for g in rng.random(rows)
            ],
            "vector": [rng.normal(size=3).tolist() if g > 0.1 else None for g in rng.random(rows)],
            "seen": [
                start - timedelta(hours=int(h)) if g > 0.1 else None
                for h, g in zip(rng.integers(0, 900, rows), rng.random(rows), strict=True)
            ],
            "shop_id": rng.integers(1, 30, rows),
            "y": (signal + rng.normal(size=rows) > 0.5).astype(np.int8),
        },
        schema_overrides={"tags": pl.List(pl.String), "vector": pl.List(pl.Float64), "seen": pl.Datetime("us")},
    )


def kinds_of(made: Prepared) -> dict[str, str]:
    """Finding kind per column that has one (the first)."""
    return {finding.column: finding.kind for finding in reversed(made.findings)}

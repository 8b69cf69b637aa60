"""A log with two labels: some features predict a click, others a conversion, the rest nothing."""

from __future__ import annotations

import numpy as np
import polars as pl

CLICK, CONVERT = ("c0", "c1"), ("v0", "v1")


def two_labels(rows: int = 4_000, *, seed: int = 0) -> pl.DataFrame:
    """Row id, two features per label and six noise features; conversions are known for clicked rows only."""
    rng = np.random.default_rng(seed)
    names = [*CLICK, *CONVERT, *(f"noise_{number}" for number in range(6))]
    x = dict(zip(names, rng.normal(size=(len(names), rows)), strict=True))

    def drawn(features: tuple[str, ...]) -> np.ndarray:
        logit = 1.5 * sum(x[name] for name in features)
        return rng.random(rows) < 1 / (1 + np.exp(-logit))

    click, convert = drawn(CLICK), drawn(CONVERT)
    return pl.DataFrame(
        {"row": np.arange(rows), **x, "click": click.astype(int), "all": convert.astype(int)}
    ).with_columns(convert=pl.when(pl.col("click") == 1).then("all"))

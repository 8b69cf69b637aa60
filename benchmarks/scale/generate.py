"""A table of any size with the same 50 signals: the label does not depend on the number of rows or columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

SIGNALS = ("signal_number_", "signal_category_")
NUMBERS, CATEGORIES = 40, 10
#: One in five noise columns is a category of 30 values.
CATEGORY_SHARE, VALUES = 0.2, 30


def write_table(path: Path, rows: int, columns: int) -> None:
    """Write a table of features in random order and the label ``clicked``; the best possible AUC is about .85.

    Args:
        path: the Parquet file.
        rows: number of rows.
        columns: number of features, at least 50.
    """
    rng = np.random.default_rng(0)
    strength = rng.uniform(0.15, 0.6, NUMBERS) * rng.choice([-1, 1], NUMBERS)
    worth = rng.normal(0, 0.35, (CATEGORIES, VALUES))
    logit, made = np.zeros(rows), {}
    for place in range(NUMBERS):
        cells = rng.standard_normal(rows, dtype=np.float32)
        logit += strength[place] * (cells if place % 4 else np.abs(cells) - 0.8)  # one in four is not monotonic
        made[f"{SIGNALS[0]}{place}"] = pl.Series(cells)
    for place in range(CATEGORIES):
        codes = rng.integers(0, VALUES, rows)
        logit += worth[place][codes]
        made[f"{SIGNALS[1]}{place}"] = words(codes)
    label = (rng.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int8)
    for place in range(columns - NUMBERS - CATEGORIES):
        if place % round(1 / CATEGORY_SHARE) == 0:
            made[f"noise_{place}"] = words(rng.integers(0, VALUES, rows))
        else:
            made[f"noise_{place}"] = pl.Series(rng.standard_normal(rows, dtype=np.float32))
    order = rng.permutation(list(made))
    pl.DataFrame({name: made[name] for name in order} | {"clicked": label}).write_parquet(path)


def words(codes: np.ndarray) -> pl.Series:
    """Categories as text."""
    return pl.Series(codes).cast(pl.String).str.pad_start(2, "0").str.replace("^", "v")

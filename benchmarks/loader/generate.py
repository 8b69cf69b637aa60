"""A click log of any length as one Parquet file: 50 columns, a few of which are informative about the label."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl

NUMBERS, COUNTS, WORDS = 35, 5, 7
#: Distinct words per text column.
VOCABULARY = 300
PART = 100_000


def names() -> tuple[list[str], list[str]]:
    """Names of the numeric and of the text features."""
    numeric = [f"number_{i:02d}" for i in range(NUMBERS)] + [f"count_{i}" for i in range(COUNTS)]
    return numeric, [f"word_{i}" for i in range(WORDS)]


def part(start: int, rows: int) -> pl.DataFrame:
    """Rows ``start`` to ``start + rows``, which do not depend on the length of the file."""
    rng = np.random.default_rng([7, start])
    numbers = rng.standard_normal((NUMBERS, rows), dtype=np.float32)
    numbers[::5] = np.exp(numbers[::5])  # heavy tails
    logit = numbers[1] + 0.5 * numbers[2] - 2
    numbers[:, rng.random(rows) < 0.02] = np.nan
    words = [rng.zipf(1.4, rows) % VOCABULARY for _ in range(WORDS)]
    logit += 0.3 * (words[0] % 3)
    vocabulary = pl.Series([f"value {i:03d}" for i in range(VOCABULARY)])
    columns: dict[str, object] = {f"number_{i:02d}": column for i, column in enumerate(numbers)}
    columns |= {f"count_{i}": rng.poisson(3, rows) for i in range(COUNTS)}
    columns |= {f"word_{i}": vocabulary[column] for i, column in enumerate(words)}
    columns |= {
        "time": np.arange(start, start + rows),
        "user": rng.integers(0, 50_000, rows),
        "clicked": (rng.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int8),
    }
    return pl.DataFrame(columns).with_columns(pl.col("^number_.*$").fill_nan(None))


def write(path: Path, rows: int) -> Path:
    """Write the log unless it exists, one part at a time."""
    if path.is_file():
        return path
    parts = path.with_suffix(".parts")
    parts.mkdir(parents=True, exist_ok=True)
    for start in range(0, rows, PART):
        part(start, min(PART, rows - start)).write_parquet(parts / f"{start:012d}.parquet")
    pl.scan_parquet(parts / "*.parquet").sink_parquet(path, row_group_size=PART)
    for file in parts.iterdir():
        file.unlink()
    parts.rmdir()
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("rows", type=int)
    given = parser.parse_args()
    write(given.path, given.rows)

"""Lists and vectors are single features from the file to the verdict: kept whole or dropped whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from command_line import artifact, feature_audit, newest_audit

pytestmark = pytest.mark.slow

ROWS = 4_000


def lists_of(words: np.ndarray) -> pl.Series:
    """Two words per row as one list column."""
    return pl.Series([[f"w{first}", f"w{second}"] for first, second in words])


def vectors_of(values: np.ndarray) -> pl.Series:
    """(rows, 3) as one column of arrays."""
    return pl.Series(values.astype(np.float32), dtype=pl.Array(pl.Float32, 3))


def make_log() -> pl.DataFrame:
    """A list and a vector determine the label; another list, another vector and six numbers are noise."""
    rng = np.random.default_rng(3)
    words, other_words = rng.integers(0, 12, (2, ROWS, 2))
    taste, other_taste = rng.normal(size=(2, ROWS, 3))
    score = 1.6 * ((words < 5).sum(axis=1) - 0.8) + 1.2 * (taste[:, 0] - taste[:, 2])
    columns = {
        "tags": lists_of(words),
        "other_tags": lists_of(other_words),
        "taste": vectors_of(taste),
        "other_taste": vectors_of(other_taste),
        **{f"noise_{number}": pl.Series(rng.normal(size=ROWS)) for number in range(6)},
        "clicked": pl.Series(rng.random(ROWS) < 1 / (1 + np.exp(-score))).cast(pl.Int8),
    }
    return pl.DataFrame([series.alias(name) for name, series in columns.items()])


def test_a_list_and_a_vector_are_kept_and_dropped_as_whole_features(home: Path) -> None:
    make_log().write_parquet(home / "log.parquet")
    words = ["--data", "log.parquet", "--target", "clicked", "--profile", "quick", "--k", "2", "--k_min", "2"]
    assert feature_audit("run", *words, "--margin", "0.02", "--threads", "1") == 0
    run = newest_audit()
    assert set(artifact(run, "recommendation/kept_features.txt").read_text().split()) == {"tags", "taste"}
    dropped = artifact(run, "recommendation/dropped_features.txt").read_text().split()
    assert {"other_tags", "other_taste"} <= set(dropped)
    ranking = pl.read_parquet(artifact(run, "selection/ranking.parquet"))
    kinds = dict(ranking.select("feature", "kind").iter_rows())
    assert kinds["tags"] == kinds["other_tags"] == "multi"
    assert kinds["taste"] == kinds["other_taste"] == "vector"
    assert run.data.tags["audit.k"] == "2"
    assert run.data.tags["audit.verdict"] in ("pass", "inconclusive")

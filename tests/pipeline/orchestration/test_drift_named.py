"""A model that is much worse on later rows causes a warning in the verdict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from command_line import feature_audit


@pytest.mark.slow
@pytest.mark.parametrize("changes", [True, False])
def test_a_full_model_that_falls_on_the_test_rows_is_named(
    home: Path, capfd: pytest.CaptureFixture[str], changes: bool
) -> None:
    random = np.random.default_rng(0)
    rows = 6_000
    moved = np.arange(rows) / rows * changes > 0.8
    signal, other, season = random.normal(size=(3, rows))
    logit = np.where(moved, 0.4, 2.0) * signal + other
    frame = pl.DataFrame(
        {
            "ts": np.arange(rows),
            "clicked": random.random(rows) < 1 / (1 + np.exp(-logit)),
            "signal": signal,
            "other": other,
            "season": season + 3 * moved,
            **{f"noise_{number}": random.normal(size=rows) for number in range(4)},
        }
    )
    frame.write_csv(home / "log.csv")
    words = ["--target", "clicked", "--time", "ts", "--profile", "quick", "--threads", "1", "--margin", "0.03"]
    assert feature_audit("run", "--data", "log.csv", *words) == 0
    caught = capfd.readouterr()
    warned = [line for line in (caught.out + caught.err).splitlines() if line.startswith("warning: ")]
    assert any("the data drifts" in line and "season" in line for line in warned) is changes

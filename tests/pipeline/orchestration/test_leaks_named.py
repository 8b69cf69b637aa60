"""Possible label leaks are named before training, and again with the verdict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from command_line import feature_audit


def parts_of_a_sum(rows: int = 3_000) -> pl.DataFrame:
    """The label is the sum of two columns, neither of which determines it; a third is a noisy copy of one part."""
    random = np.random.default_rng(0)
    walk_in, booked = random.gamma(2.0, 20.0, (2, rows))
    rides = walk_in + booked
    return pl.DataFrame(
        {
            "rides": rides,
            "walk_in": walk_in,
            "booked": booked,
            "counter": rides + random.normal(0, 8, rows),
            **{f"noise_{number}": random.normal(size=rows) for number in range(3)},
        }
    )


def test_a_suspected_leak_is_named_when_the_log_is_loaded(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    parts_of_a_sum().write_csv(home / "log.csv")
    assert feature_audit("load", "--data", "log.csv", "--target", "rides") == 0
    output = capfd.readouterr().err
    assert "counter may leak the label: the column alone has a held-out R2" in output
    assert "walk_in may leak" not in output


@pytest.mark.slow
def test_columns_that_leak_together_are_a_warning_of_the_verdict(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    parts_of_a_sum().drop("counter").write_csv(home / "log.csv")
    words = ["--target", "rides", "--profile", "quick", "--threads", "1", "--margin", "0.01"]
    assert feature_audit("run", "--data", "log.csv", *words) == 0
    caught = capfd.readouterr()
    (warned,) = [line for line in (caught.out + caught.err).splitlines() if line.startswith("warning: ")]
    assert "usually means leakage" in warned
    assert "walk_in" in warned
    assert "booked" in warned

"""Excluded and unreadable columns are named in the terminal: the first of each kind, and the number of the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from command_line import feature_audit


def wide_log(rows: int = 600) -> pl.DataFrame:
    random = np.random.default_rng(0)
    first = random.integers(0, 2, rows)
    prices = [f"{price:.2f}" for price in random.gamma(2.0, 20.0, rows)]
    prices[::40] = ["ask"] * len(prices[::40])
    return pl.DataFrame(
        {
            "clicked": random.integers(0, 2, rows),
            "signal": random.normal(size=rows),
            "first": first,
            **{f"copy_{number}": first for number in range(14)},
            **{f"always_{number}": np.ones(rows) for number in range(9)},
            "never": [None] * rows,
            "price": prices,
        }
    )


def test_many_columns_of_a_kind_are_a_line(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    wide_log().write_csv(home / "log.csv")
    assert feature_audit("load", "--data", "log.csv", "--target", "clicked", "--kinds", "{price: numeric}") == 0
    lines = [line.removeprefix("load: ") for line in capfd.readouterr().err.splitlines()]
    copies = [line for line in lines if line.endswith("is excluded: equals first in every train row")]
    assert copies[0].startswith("copy_0 ")
    assert len(copies) == 10
    rest = "excluded (equal to another column in every train row)"
    assert f"4 more columns {rest}: copy_10, copy_11, copy_12, copy_13" in lines
    constant = "9 columns excluded (constant in the train rows)"
    assert f"{constant}: always_0, always_1, always_2, always_3, always_4, always_5 and 3 more" in lines
    assert any(line.startswith("never is excluded: no value in any of the") for line in lines)
    assert "price: 15 cells could not be read as numeric and are treated as missing" in lines
    assert any("3 features" in line for line in lines)


def test_what_occurs_once_is_singular(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(1)
    rows = [f"{random.integers(0, 2)},{random.normal():.4f},{random.normal():.4f}" for _ in range(600)]
    rows[7] = "1,word,0.5"
    (home / "log.csv").write_text("\n".join(["clicked,a,b", *rows[:300], "", *rows[300:]]) + "\n")
    as_text = ["--reader", "{types: {a: string}}", "--kinds", "{a: numeric}"]
    assert feature_audit("load", "--data", "log.csv", "--target", "clicked", *as_text) == 0
    lines = [line.removeprefix("load: ") for line in capfd.readouterr().err.splitlines()]
    assert "reading 1 text file: deciding the types of 3 columns" in lines
    assert any(line.endswith("log.csv: 1 empty line is skipped") for line in lines)
    assert "a: 1 cell could not be read as numeric and is treated as missing" in lines
    assert any("2 features" in line for line in lines)


def said_by_load(capfd: pytest.CaptureFixture[str], data: str, target: str, *words: str) -> list[str]:
    assert feature_audit("load", "--data", data, "--target", target, *words) == 0
    return [line.removeprefix("load: ") for line in capfd.readouterr().err.splitlines()]


@pytest.mark.parametrize("rows", [500, 21_001, 25_000, 30_000])
def test_numbers_of_the_rows_are_named_and_are_no_category(
    home: Path, capfd: pytest.CaptureFixture[str], rows: int
) -> None:
    random = np.random.default_rng(0)
    log = pl.DataFrame({"line": np.arange(rows), "signal": random.normal(size=rows)})
    log.with_columns(clicked=pl.Series(random.integers(0, 2, rows))).write_csv(home / "log.csv")
    lines = said_by_load(capfd, "log.csv", "clicked")
    assert "line: 100% of its values are distinct: it identifies rows; exclude it unless this is intended" in lines
    assert any("2 features (2 numeric)" in line for line in lines)
    assert not any("category" in line for line in lines)


def test_classes_are_counted_and_named(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    log = pl.DataFrame({"signal": random.normal(size=600), "bought": random.choice(["No", "Yes", "later"], 600)})
    log.write_csv(home / "log.csv")
    assert any(", 3 classes (No, Yes, later), split" in line for line in said_by_load(capfd, "log.csv", "bought"))


def test_what_a_whole_column_tells_is_named_before_a_single_value(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A delay that is nearly the label: 60 minutes of it are always late, but so are 61 and 62."""
    random = np.random.default_rng(0)
    delay = np.round(random.gamma(1.0, 20.0, 8_000))
    log = pl.DataFrame({"delay": np.minimum(delay, 60), "late": (delay + random.normal(0, 8, 8_000) > 25).astype(int)})
    log.write_csv(home / "log.csv")
    [line] = [line for line in said_by_load(capfd, "log.csv", "late") if line.startswith("delay may leak")]
    assert "the column alone has a held-out AUC of" in line

"""Mistakes that would end an audit after its full training are refused before it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from command_line import feature_audit, tracking_in

WORDS = ("baseline", "--target", "kind", "--split", "part", "--profile", "quick", "--threads", "1", "--data")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with tracking_in(tmp_path_factory.mktemp("refused")) as folder:
        yield folder


def table(train_rows_of_rare: int) -> pl.DataFrame:
    """Rows of three classes, and of a fourth one with the given number of train rows and some in other splits."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 900).astype(str)
    part = np.repeat(["train", "validation", "test"], 300)
    kind[:train_rows_of_rare] = kind[400:410] = kind[700:710] = "rare"
    signal = (kind == "1") + rng.normal(size=900)
    return pl.DataFrame({"kind": kind, "part": part, "signal": signal, "noise": rng.normal(size=900)})


@pytest.mark.parametrize(("rows", "code"), [(0, 1), (1, 1), (2, 0)])
def test_a_class_with_too_few_train_rows(home: Path, rows: int, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    table(rows).write_parquet(f"rare_{rows}.parquet")
    assert feature_audit(*WORDS, f"rare_{rows}.parquet") == code
    output = capsys.readouterr().err
    line = f"error: target: classes with fewer than 2 of the 300 train rows: 'rare' ({rows}); give more data"
    assert (line in output) == bool(code)
    assert ("baseline: running" in output) != bool(code)


def test_a_rare_class_of_whole_numbers_may_be_a_quantity(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = np.minimum(np.random.default_rng(0).poisson(2, 900), 18)
    runs[-1] = 19  # the last test row, by order of time
    frame = pl.DataFrame({"runs": runs, "part": np.repeat(["train", "validation", "test"], 300), "signal": runs * 0.1})
    frame.write_parquet("runs.parquet")
    assert feature_audit("run", "--target", "runs", "--split", "part", "--data", "runs.parquet") == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert "'19' (0)" in line
    assert line.endswith("; if they are a quantity, give task=regression")


@pytest.mark.parametrize("seed", ["4294967296", str(2**63), str(10**30), "-1", "1.5"])
def test_a_seed_that_libraries_do_not_take(home: Path, seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert feature_audit(*WORDS, "nothing.parquet", "--seed", seed) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert "seed" in line


def test_the_largest_seed(home: Path) -> None:
    table(60).write_parquet("many.parquet")
    words = [*WORDS, "many.parquet", "--seed", str(2**32 - 1), "--k", "1", "--k_min", "1", "--margin", "1"]
    words[0] = "select"
    assert feature_audit(*words, "--trials", "2") == 0

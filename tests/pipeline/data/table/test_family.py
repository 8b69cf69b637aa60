"""Which tables are the same table: looks at their test rows are counted together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from data_helpers import every_kind, prepared_of

COLUMNS = ("row", "at", "user", "amount", "count", "colour", "y")


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return every_kind(600).select(COLUMNS)


def family(frame: pl.DataFrame | Path, folder: Path, **keys: Any) -> str:
    folder.mkdir(exist_ok=True)
    return prepared_of(frame, folder, **keys)[0].family


@pytest.fixture(scope="module")
def usual(frame: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> str:
    return family(frame, tmp_path_factory.mktemp("usual"))


@pytest.mark.parametrize(
    "keys",
    [
        {"seed": 1},
        {"exclude": "amount"},
        {"time": "at"},
        {"group": "user", "split": "group"},
        {"test_share": 0.3},
        {"positive": 0},
        {"target": "y == 0"},
        {"target": "1 - y", "row_id": "row"},
        {"kinds": {"count": "categorical"}, "encoding": {"max_bins": 9}},
    ],
)
def test_no_setting_makes_another_table_of_it(
    frame: pl.DataFrame, usual: str, tmp_path: Path, keys: dict[str, Any]
) -> None:
    """Even another seed of a random split, which draws other test rows: twenty seeds would be twenty tries."""
    assert family(frame, tmp_path, **keys) == usual


def test_other_columns_and_another_format_are_the_same_table(frame: pl.DataFrame, usual: str, tmp_path: Path) -> None:
    noise = pl.Series("noise", np.random.default_rng(0).normal(size=len(frame)))
    assert family(frame.select("colour", "y", noise), tmp_path) == usual
    frame.write_csv(tmp_path / "log.csv")
    assert family(tmp_path / "log.csv", tmp_path) == usual
    words = frame.with_columns(pl.when(pl.col("y") == 1).then(pl.lit("no")).otherwise(pl.lit("yes")).alias("y"))
    assert family(words, tmp_path) == usual


def test_rows_that_are_left_out_belong_to_the_table(frame: pl.DataFrame, tmp_path: Path) -> None:
    few = pl.int_range(pl.len()) % 200 == 0
    gaps = frame.with_columns(pl.when(~few).then("at").alias("at"), pl.when(~few).then("y").alias("y"))
    rows = {"drop_rows": "no_label"}
    assert family(gaps, tmp_path / "a", **rows) == family(gaps, tmp_path / "b", time="at", **rows)


def test_new_rows_and_other_labels_are_another_table(frame: pl.DataFrame, usual: str, tmp_path: Path) -> None:
    longer = pl.concat([frame, frame.tail(1)])
    turned = frame.with_columns(pl.col("y").reverse())
    found = [family(one, tmp_path / str(number)) for number, one in enumerate((longer, turned, frame.head(-1)))]
    found.append(family(frame, tmp_path / "count", target="count >= 2"))
    assert len({usual, *found}) == 5


def test_numbers_are_known_by_their_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    one, other = (pl.DataFrame({"x": rng.normal(size=300), "y": rng.normal(size=300)}) for _ in range(2))
    first = family(one, tmp_path / "a")
    assert family(one, tmp_path / "b", target="2 * y - 7") == first
    assert family(one, tmp_path / "c", target="0 - y") == first
    assert family(other, tmp_path / "d") != first, "all labels differ from each other in both"

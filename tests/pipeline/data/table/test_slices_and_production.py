"""Slice columns by value list and top n, and the score that production gave: what the store holds of them."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from data_helpers import prepared_of
from feature_audit.errors import AuditError

pytestmark = pytest.mark.usefixtures("without_expectations")

ROWS = 600


def log() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    number = np.arange(ROWS)
    return pl.DataFrame(
        {
            "x": rng.normal(size=ROWS),
            "country": np.array(["NL", "NO", "DE"])[number % 3],
            "item": 1000 + np.minimum(number % 40, 30),
            "size": np.array([1.0, 2.5, np.nan])[number % 3],
            "flag": number % 2 == 0,
            "day": [date(2024, 1, 1 + i % 3) for i in number],
            "score": np.where(number % 5 == 0, np.nan, rng.random(ROWS)),
            "y": rng.integers(0, 2, ROWS),
        }
    ).with_columns(size=pl.col("size").fill_nan(None))


@pytest.mark.parametrize(
    ("rule", "labels", "share"),
    [
        ({"country": ["NL", "DE"]}, ("NL", "DE"), 2 / 3),
        ({"country": [False]}, ("NO",), 1 / 3),  # what YAML makes of NO
        ({"item": [1030, "1001"]}, ("1030", "1001"), 1 / 4 + 1 / 40),
        ({"item": {"top": 2}}, ("1030", "1000"), 1 / 4 + 1 / 40),
        ({"item": {"top": 50}}, None, 1.0),
        ({"size": [1, 2.5]}, ("1.0", "2.5"), 2 / 3),
        ({"size": [None]}, ("(missing)",), 1 / 3),
        ({"flag": [True]}, ("true",), 1 / 2),
        ({"day": [date(2024, 1, 2)]}, ("2024-01-02",), 1 / 3),
    ],
)
def test_chosen_values_are_slices_and_the_rest_is_other(
    tmp_path: Path, rule: dict[str, object], labels: tuple[str, ...] | None, share: float
) -> None:
    _, store = prepared_of(log(), tmp_path, slices=[rule], exclude="score")
    (column,) = rule
    if labels:
        assert store.slice_labels(column) == (*labels, "(other)")
    cells = np.concatenate([store.slice_values(split, column) for split in ("train", "validation", "test")])
    assert np.mean(cells != "(other)") == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize(
    ("slices", "message"),
    [
        ({"country": ["NL", "DK"]}, "slices.country=DK: no row has this value; it has DE, NL, NO"),
        ({"flag": ["ture"]}, "slices.flag=ture: no row has this value; did you mean true?"),
        ({"item": ["many"]}, "slices.item=many: no row has this value"),
        ({"item": [7]}, "slices.item=7: no row has this value"),
        ({"cuntry": {"top": 3}}, "slices=cuntry: no such column; did you mean country?"),
    ],
)
def test_a_value_that_is_not_there_is_one_line(tmp_path: Path, slices: dict[str, object], message: str) -> None:
    with pytest.raises(AuditError, match=message):
        prepared_of(log(), tmp_path, slices=[slices])


def test_the_score_in_production_is_kept_and_is_no_feature(tmp_path: Path) -> None:
    made, store = prepared_of(log(), tmp_path, production_score="score")
    assert "score" not in made.schema.names
    assert "score" not in [column.name for column in made.columns]
    kept = store.production_score("test")
    assert kept is not None
    assert kept.shape == (store.rows("test"),)
    assert np.isnan(kept).mean() == pytest.approx(0.2, abs=0.08)
    wanted = log()["score"].to_numpy()[store.row_id("test")]
    np.testing.assert_array_equal(kept, wanted)
    assert prepared_of(log(), tmp_path / "store")[1].production_score("test") is None


@pytest.mark.parametrize(
    ("column", "change", "message"),
    [
        ("skore", {}, "production_score=skore: no such column; did you mean score?"),
        ("y", {}, "production_score=y: the column has another role"),
        ("country", {}, "production_score=country: 'NL' is not a number"),
        ("day", {}, "production_score=day: its type Date is not numeric; name a numeric column"),
        ("score", {"score": pl.lit(None, pl.Float64)}, "production_score=score: no row has a score"),
        (
            "score",
            {"y": pl.Series(np.arange(ROWS) % 3)},
            "production_score=score: a single score per row cannot be compared",
        ),
    ],
)
def test_an_invalid_production_score_column_is_a_one_line_error(
    tmp_path: Path, column: str, change: dict[str, pl.Expr], message: str
) -> None:
    with pytest.raises(AuditError, match=message):
        prepared_of(log().with_columns(**change), tmp_path, production_score=column)


def test_a_rule_may_not_name_the_score(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="never_drop=score: the column is not a feature"):
        prepared_of(log(), tmp_path, production_score="score", never_drop="score")

"""Constants, duplicates, ids, nulls, drift and overlap."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from data_helpers import every_kind, prepared_of


def log(rows: int = 2_000, seed: int = 0, **columns) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    frame = pl.DataFrame({"y": (x + rng.normal(size=rows) > 0).astype(int), "x": x, "z": rng.normal(size=rows)})
    return frame.with_columns(**columns)


def details(made, kind: str) -> dict[str, tuple[bool, str | None]]:
    return {f.column: (f.excluded, f.carried_by) for f in made.findings if f.kind == kind}


def test_constants_and_empty_columns_are_excluded(tmp_path):
    made, _ = prepared_of(
        log(
            one=pl.lit(3), word=pl.lit("a"), nan=pl.lit(float("nan")), nothing=pl.lit(None, dtype=pl.String),
            empty=pl.lit(None), half=pl.when(pl.col("x") > 0).then(1),
            lists=pl.lit([1, 2]), moment=pl.datetime(2024, 1, 1),
        ),
        tmp_path,
    )  # fmt: skip
    assert set(details(made, "constant")) == {"one", "word", "lists", "moment"}
    assert set(details(made, "all_null")) == {"nan", "nothing", "empty"}
    assert "half" in made.schema.names  # a value and gaps tell something


def test_a_column_that_is_constant_on_train_only_is_excluded(tmp_path):
    frame = log(at=pl.int_range(2_000), late=pl.when(pl.int_range(2_000) > 1_700).then(pl.col("x")).otherwise(0.0))
    made, _ = prepared_of(frame, tmp_path, time="at")
    assert details(made, "constant") == {"late": (True, None)}


def test_exact_duplicates_are_carried_by_the_first(tmp_path):
    made, _ = prepared_of(
        log(
            k=pl.int_range(2_000) % 7, same=pl.col("x"), float_k=(pl.int_range(2_000) % 7).cast(pl.Float64),
            word=(pl.int_range(2_000) % 7).cast(pl.String),
            again=pl.lit("w") + (pl.int_range(2_000) % 7).cast(pl.String),
        ),
        tmp_path,
    )  # fmt: skip
    exact = {name: by for name, (excluded, by) in details(made, "duplicate").items() if excluded}
    assert exact == {"same": "x", "float_k": "k"}
    assert made.excluded["same"] == "equals x in every train row"


def test_a_duplicate_on_the_sample_that_differs_in_one_row_is_none(tmp_path, monkeypatch):
    """The sample only proposes; all train rows decide."""
    monkeypatch.setattr("feature_audit.data.statistics.MAX_SAMPLE_ROWS", 300)
    rows = 4_000
    frame = log(rows, twin=pl.col("x"), almost=pl.when(pl.int_range(rows) == 1_234).then(99.0).otherwise(pl.col("x")))
    made, _ = prepared_of(frame.with_columns(at=pl.int_range(rows)), tmp_path, time="at")
    exact = {name: by for name, (excluded, by) in details(made, "duplicate").items() if excluded}
    assert exact == {"twin": "x"}


def test_recodings_are_reported_and_kept(tmp_path):
    k = pl.int_range(2_000) % 7
    made, _ = prepared_of(
        log(
            k=k,
            coded=(k * 3 + 5) % 7 * 2.5,
            named=pl.lit("n") + k.cast(pl.String),
            scaled=pl.col("x") * -2 + 1,
            x3=pl.col("x") ** 3,
        ),
        tmp_path,
    )
    recoded = {name: by for name, (excluded, by) in details(made, "duplicate").items() if not excluded}
    assert recoded == {"coded": "k", "named": "k", "scaled": "x", "x3": "x"}
    assert set(recoded) <= set(made.schema.names)


def test_unrelated_distinct_columns_are_no_recodings(tmp_path):
    made, _ = prepared_of(log(), tmp_path)
    assert not details(made, "duplicate")


def test_ids_are_reported_and_kept(tmp_path):
    rng = np.random.default_rng(0)
    made, _ = prepared_of(
        log(
            order_no=pl.int_range(2_000) + 500, token=pl.Series([f"t{v}" for v in rng.permutation(2_000)]),
            shop_id=pl.int_range(2_000) % 40, price=pl.Series(rng.lognormal(size=2_000)),
        ),
        tmp_path,
    )  # fmt: skip
    assert set(details(made, "id_like")) == {"order_no", "token"}
    assert {"order_no", "token", "shop_id", "price"} <= set(made.schema.names)


def test_drift_is_reported_and_kept(tmp_path):
    rows = 3_000
    frame = log(
        rows,
        at=pl.int_range(rows),
        moving=pl.int_range(rows) / 1_000 + pl.col("z"),
        still=pl.col("z") * 2 + pl.col("x"),
    )
    made, _ = prepared_of(frame, tmp_path, time="at")
    assert set(details(made, "drift")) == {"moving"}
    assert "moving" in made.schema.names


def test_high_nulls_are_reported(tmp_path):
    rare = pl.when(pl.int_range(2_000) % 500 == 0).then(pl.col("x"))
    made, _ = prepared_of(log(rare=rare), tmp_path, checks={"max_null_share": 0.99})
    assert set(details(made, "high_null")) == {"rare"}


def test_a_column_that_stopped_being_filled_is_reported(tmp_path):
    rows = 2_000
    stopped = pl.when(pl.int_range(rows) < 1_500).then(pl.col("x") + pl.col("z"))
    made, _ = prepared_of(log(rows, at=pl.int_range(rows), stopped=stopped), tmp_path, time="at")
    found = [f.detail for f in made.findings if f.column == "stopped" and f.kind == "high_null"]
    assert found == ["filled in 100% of the train rows and in no test row: is it still written?"]


def test_protected_columns_are_reported_and_kept(tmp_path):
    made, _ = prepared_of(log(same=pl.col("x"), one=pl.lit(1)), tmp_path, never_drop="same,one")
    assert details(made, "duplicate") == {"same": (False, "x")}
    assert "same" in made.schema.names
    assert details(made, "constant") == {"one": (True, None)}  # nothing can be learned from it, protected or not
    assert next(c for c in made.columns if c.name == "same").protected


def test_rows_and_users_on_both_sides_are_reported(tmp_path):
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "y": rng.integers(0, 2, 2_000),
            "a": rng.integers(0, 3, 2_000),
            "b": rng.integers(0, 3, 2_000),
            "user": rng.integers(0, 100, 2_000),
        }
    )
    made, _ = prepared_of(frame, tmp_path, group="user", split="random")
    overlaps = [f.detail for f in made.findings if f.kind == "split_overlap"]
    assert any("equal a train row" in detail for detail in overlaps)
    assert any("split=group" in detail for detail in overlaps)
    made, _ = prepared_of(frame, tmp_path, group="user", split="group")
    assert made.split_info["overlap"]["test"]["units_in_train"] == 0


def test_text_that_is_not_quite_numbers_is_noted(tmp_path):
    words = pl.when(pl.int_range(2_000) == 5).then(pl.lit("n.a.!")).otherwise(pl.col("z").round(3).cast(pl.String))
    made, _ = prepared_of(log(text=words), tmp_path)
    kinds = {column.name: column.kind for column in made.columns}
    assert kinds["text"] == "numeric"
    assert any(f.column == "text" and "1 cells could not be read as numeric" in f.detail for f in made.findings)


def test_groups_costs_and_summary(tmp_path):
    made, _ = prepared_of(log(), tmp_path, groups={"stream": ["x"], "batch": ["z*"]}, cost={"x": 12.5, "*": 1})
    assert {c.name: (c.group, c.cost) for c in made.columns} == {"x": ("stream", 12.5), "z": ("batch", 1.0)}
    assert made.summary["rows"] == 2_000
    assert made.summary["positives_share"] == pytest.approx(made.summary["target_per_split"]["train"]["1"], abs=0.1)
    assert made.summary["classes"] == ["0", "1"]


def test_duplicates_of_every_kind_are_proven_on_all_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("feature_audit.data.statistics.MAX_SAMPLE_ROWS", 300)
    frame = every_kind(4_000).drop("shop_id", "count")
    kinds = ["amount", "colour", "flag", "tags", "vector", "seen"]
    twins = frame.with_columns(pl.col(name).alias(f"{name}_twin") for name in kinds)
    enum = pl.col("colour").cast(pl.Enum(["red", "green", "blue", "grey"])).alias("colour_enum")
    made, _ = prepared_of(twins.with_columns(enum), tmp_path, time="at", row_id="row", group="user")
    exact = {name: by for name, (excluded, by) in details(made, "duplicate").items() if excluded}
    assert exact == {**{f"{name}_twin": name for name in kinds}, "colour_enum": "colour"}


def test_a_column_that_must_go_carries_no_duplicate(tmp_path):
    """`x` is ruled out, so its copy stays as a feature and carries it, although `x` comes first."""
    made, _ = prepared_of(log(same=pl.col("x")), tmp_path, always_drop="x")
    assert details(made, "duplicate") == {"x": (True, "same")}
    assert "same" in made.schema.names
    assert next(c for c in made.columns if c.name == "x").ruled_out


@pytest.mark.parametrize(
    ("label", "task", "said"),
    [
        (pl.col("row") % 5 + 1, None, True),
        (pl.col("row") % 5 + 1, "multiclass", False),
        (pl.col("row") % 2, None, False),
        (pl.col("row") % 5 + 1.0, None, True),
        (pl.col("row") % 5 + 0.5, None, False),
        (pl.format("class {}", pl.col("row") % 5), None, False),
    ],
)
def test_whole_numbers_taken_for_classes_are_said(tmp_path, label, task, said):
    frame = every_kind().with_columns(stars=label)
    made, _ = prepared_of(frame, tmp_path, target="stars", task=task)
    notes = [finding.detail for finding in made.findings if "taken for classes" in finding.detail]
    assert bool(notes) == said
    assert all("5 whole numbers" in note and "task=regression" in note for note in notes)

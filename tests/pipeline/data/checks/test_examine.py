"""Constants, duplicates, ids, nulls, drift and overlap."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from data_helpers import every_kind, prepared_of
from scipy.stats import rankdata

pytestmark = pytest.mark.usefixtures("without_expectations")


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
    assert "half" in made.schema.names  # a value and nulls are informative


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
    assert exact == {"same": "x", "float_k": "k", "word": "k"}  # "again" is a category of the same 7 values
    assert made.excluded["same"] == "equals x in every train row"


def test_a_column_that_differs_in_one_row_is_not_a_duplicate(tmp_path, monkeypatch):
    """The sample only proposes candidates; all train rows decide."""
    monkeypatch.setattr("feature_audit.data.table.statistics.MAX_SAMPLE_ROWS", 300)
    rows = 4_000
    frame = log(rows, twin=pl.col("x"), almost=pl.when(pl.int_range(rows) == 1_234).then(99.0).otherwise(pl.col("x")))
    made, _ = prepared_of(frame.with_columns(at=pl.int_range(rows)), tmp_path, time="at")
    exact = {name: by for name, (excluded, by) in details(made, "duplicate").items() if excluded}
    assert exact == {"twin": "x"}


def reworked(rows: int = 4_000, seed: int = 1) -> pl.DataFrame:
    """Columns and exact transforms of them, named ``source.transform``."""
    rng = np.random.default_rng(seed)
    amount, x = rng.lognormal(size=rows), rng.normal(size=rows)
    x[rng.random(rows) < 0.1] = np.nan
    city, flag, step = rng.integers(0, 60, rows), rng.random(rows) < 0.15, rng.integers(0, 9, rows) ** 2
    shown = pl.Series([f"city {(c * 7) % 60}" for c in city])
    seen = pl.Series(rng.integers(0, 10**9, rows)).cast(pl.Datetime("ms"))
    return pl.DataFrame(
        {
            "at": np.arange(rows),
            "y": rng.integers(0, 2, rows),
            "amount": amount,
            "amount.log": np.log(amount),
            "amount.negative": -amount,
            "amount.rank": rankdata(amount).astype(int),
            "x": x,
            "x.scaled": 3 * x - 2,
            "x.reversed": 1 - x,
            "x.words": pl.Series(x).fill_nan(None).cast(pl.String),
            "step": step,
            "step.root": np.sqrt(step),
            "city": shown,
            "city.id": pl.Series(city).cast(pl.String) + "c",
            "city.upper": shown.str.to_uppercase(),
            "flag": flag.astype(int),
            "flag.not": 1 - flag,
            "flag.word": np.where(flag, "yes", "no"),
            "flag.bool": flag,
            "flag.points": np.where(flag, -7.5, 40.0),
            "seen": seen,
            "seen.text": seen.dt.strftime("%d.%m.%Y %H:%M:%S"),
        }
    ).with_columns(pl.col("seen").dt.truncate("1s"))


@pytest.mark.parametrize("sampled", [4_000, 500])
def test_exact_transforms_are_carried_by_their_source(tmp_path, monkeypatch, sampled):
    monkeypatch.setattr("feature_audit.data.table.statistics.MAX_SAMPLE_ROWS", sampled)
    made, _ = prepared_of(reworked(), tmp_path, time="at", kinds={"city.id": "categorical"})
    expected = {name: name.split(".")[0] for name in reworked().columns if "." in name}
    assert {name: by for name, (excluded, by) in details(made, "duplicate").items() if excluded} == expected
    assert set(made.schema.names) == {"amount", "x", "step", "city", "flag", "seen"}
    assert "in reverse of amount" in made.excluded["amount.negative"]
    assert "like amount" in made.excluded["amount.rank"]
    assert "one-to-one to city" in made.excluded["city.id"]


def near_misses(rows: int = 4_000) -> pl.DataFrame:
    """Columns that are nearly, but not exactly, transforms of each other, or only agree about which cells are set."""
    rng = np.random.default_rng(2)
    frame = reworked(rows).select("at", "y", "amount", "x", "city", "flag")
    last = pl.int_range(rows) == rows // 2 + 1
    item, bought = rng.integers(0, 40, rows), rng.random(rows) < 0.01
    spend, pause = rng.lognormal(size=rows), rng.lognormal(size=rows)
    price, weight = rng.normal(size=40)[item], rng.normal(size=40)[item]
    return frame.with_columns(
        pl.col("amount").round(1).alias("rounded"),
        pl.col("x").fill_nan(-9.0).alias("x filled"),
        (pl.col("x") - 0.3).abs().alias("x without sign"),
        pl.when(last).then(-5.0).otherwise(-pl.col("amount")).alias("negative but for one row"),
        pl.when(last).then(pl.lit("city new")).otherwise(pl.col("city") + "!").alias("city split"),
        pl.when(last).then(pl.lit(None)).otherwise(pl.col("city") + "?").alias("city with a gap"),
        pl.when(last).then(1 - pl.col("flag")).otherwise(pl.col("flag")).alias("flag but for one row") * 2.0,
        pl.Series("price", price),
        pl.Series("weight", weight),
        pl.Series("spend", np.where(bought, spend, 0.0)),
        pl.Series("pause", np.where(bought, pause, 0.0)),
        pl.Series("few spend", np.where(np.arange(rows) % 250 == 0, spend, np.nan)),
        pl.Series("few pause", np.where(np.arange(rows) % 250 == 0, pause, np.nan)),
        pl.Series("token", [f"t{v}" for v in rng.permutation(rows)]),
        pl.Series("order", [f"o{v}" for v in rng.permutation(rows)]),
    )


@pytest.mark.parametrize("sampled", [4_000, 500])
def test_what_is_not_quite_a_transform_stays(tmp_path, monkeypatch, sampled):
    monkeypatch.setattr("feature_audit.data.table.statistics.MAX_SAMPLE_ROWS", sampled)
    made, _ = prepared_of(near_misses(), tmp_path, time="at")
    assert not details(made, "duplicate")


def test_the_cheapest_allowed_transform_is_kept(tmp_path):
    frame = log(log_x=pl.col("x").exp(), minus_x=-pl.col("x"))
    made, _ = prepared_of(frame, tmp_path, cost={"x": 5, "log_x": 1, "minus_x": 0}, always_drop="minus_x")
    assert details(made, "duplicate") == {"x": (True, "log_x"), "minus_x": (True, "log_x")}
    made, _ = prepared_of(frame, tmp_path, never_drop="minus_x")
    assert details(made, "duplicate") == {"log_x": (True, "x"), "minus_x": (False, "x")}
    assert set(made.schema.names) == {"x", "z", "minus_x"}


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


def unread(rows: int = 2_000) -> dict[str, list[str]]:
    """Text with distinct numbers, dates or lists, in a form that is read as categories."""
    rng = np.random.default_rng(0)
    money, at = rng.lognormal(5, 1.5, rows), [datetime(2024, 1, 1) + timedelta(minutes=37 * i) for i in range(rows)]
    return {
        "price": [f"${v:,.2f}" for v in money],
        "fare": [f"{v:,.2f} EUR".replace(",", " ") for v in money],
        "share": [f"{v:.3f} %" for v in money],
        "length": [f"{v:.1f}km" for v in money],
        "day": [f"{t:%B} {t.day}, {t:%Y at %H:%M}" for t in at],
        "clock": [f"{t:%Y.%m.%d-%H.%M.%S}" for t in at],
        "basket": [" / ".join(rng.choice(["milk", "tea", "rice", "salt", "eggs", "oil"], 5)) for _ in at],
        "path": [">".join(map(str, rng.integers(0, 30, 6))) for _ in at],
    }


@pytest.mark.parametrize("name", unread())
def test_text_that_may_be_numbers_dates_or_lists_is_reported_as_uncertain(tmp_path, name):
    """Whatever kind such text gets, no finding advises to exclude it; as a category it is reported as uncertain."""
    made, _ = prepared_of(log(**{name: pl.Series(unread()[name])}), tmp_path, kinds={name: "categorical"})
    assert not details(made, "id_like")
    asked = [finding.detail for finding in made.findings if finding.column == name and finding.kind == "other"]
    assert len(asked) == 1
    assert f"kinds: {{{name}: numeric}}" in asked[0]
    assert name in made.schema.names


@pytest.mark.parametrize(
    "values",
    [
        [f"t{v}" for v in range(2_000)],
        [f"user-{v:05d}" for v in range(2_000)],
        [f"{v * 2654435761 % 2**32:08x}-{v}" for v in range(2_000)],
        [str(v * 7919 + 10**12) for v in range(2_000)],
        [f"Mr. X{v}" for v in range(2_000)],
    ],
)
def test_codes_name_rows(tmp_path, values):
    made, _ = prepared_of(log(code=pl.Series(values)), tmp_path, kinds={"code": "categorical"})
    assert set(details(made, "id_like")) == {"code"}


@pytest.mark.parametrize("seed", range(3))
def test_distinct_quantities_are_not_taken_for_row_ids(tmp_path, seed):
    rng = np.random.default_rng(seed)
    frame = log(
        cents=pl.Series(rng.choice(10**7, 2_000, replace=False)),
        seconds=pl.Series(1_700_000_000 + rng.permutation(2_000) * 60),
        amount=pl.Series(rng.lognormal(9, 2, 2_000)),
        few=pl.when(pl.int_range(2_000) % 60 == 0).then(pl.Series(rng.choice(500, 2_000))),
    )
    made, _ = prepared_of(frame, tmp_path)
    assert not details(made, "id_like")
    numbered, _ = prepared_of(frame.with_columns(row=pl.int_range(2_000) * 3 + 7), tmp_path)
    assert set(details(numbered, "id_like")) == {"row"}


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
    assert found == ["present in 100% of the train rows but in none of the test rows: is it still written?"]


def test_protected_columns_are_reported_and_kept(tmp_path):
    made, _ = prepared_of(log(same=pl.col("x"), one=pl.lit(1)), tmp_path, never_drop="same,one")
    assert details(made, "duplicate") == {"same": (False, "x")}
    assert "same" in made.schema.names
    assert details(made, "constant") == {"one": (True, None)}  # uninformative, protected or not
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
    assert any(f.column == "text" and "1 cell could not be read as numeric" in f.detail for f in made.findings)


def test_groups_costs_and_summary(tmp_path):
    made, _ = prepared_of(log(), tmp_path, groups={"stream": ["x"], "batch": ["z*"]}, cost={"x": 12.5, "*": 1})
    assert {c.name: (c.group, c.cost) for c in made.columns} == {"x": ("stream", 12.5), "z": ("batch", 1.0)}
    assert made.summary["rows"] == 2_000
    assert made.summary["positives_share"] == pytest.approx(made.summary["target_per_split"]["train"]["1"], abs=0.1)
    assert made.summary["classes"] == ["0", "1"]


def test_duplicates_of_every_kind_are_proven_on_all_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("feature_audit.data.table.statistics.MAX_SAMPLE_ROWS", 300)
    frame = every_kind(4_000).drop("shop_id", "count")
    kinds = ["amount", "colour", "flag", "tags", "vector", "seen"]
    twins = frame.with_columns(pl.col(name).alias(f"{name}_twin") for name in kinds)
    enum = pl.col("colour").cast(pl.Enum(["red", "green", "blue", "grey"])).alias("colour_enum")
    made, _ = prepared_of(twins.with_columns(enum), tmp_path, time="at", row_id="row", group="user")
    exact = {name: by for name, (excluded, by) in details(made, "duplicate").items() if excluded}
    assert exact == {**{f"{name}_twin": name for name in kinds}, "colour_enum": "colour"}


def test_a_column_that_must_go_carries_no_duplicate(tmp_path):
    """`x` is excluded, so its copy is kept and carries it, although `x` comes first."""
    made, _ = prepared_of(log(same=pl.col("x")), tmp_path, always_drop="x")
    assert details(made, "duplicate") == {"x": (True, "same")}
    assert "same" in made.schema.names
    assert next(c for c in made.columns if c.name == "x").ruled_out


@pytest.mark.parametrize(
    ("label", "task", "expected"),
    [
        (pl.col("row") % 5 + 1, None, "5 whole numbers are treated as classes"),
        (pl.col("row") % 5 + 1, "multiclass", None),
        (pl.col("row") % 2, None, None),
        (pl.col("row") % 5 + 1.0, None, "5 whole numbers are treated as classes"),
        (pl.col("row") % 5 + 0.5, None, None),
        (pl.col("row") % 40, None, "40 whole numbers are treated as a quantity"),
        (pl.col("row") % 40, "regression", None),
        (pl.format("class {}", pl.col("row") % 5), None, None),
    ],
)
def test_the_reading_of_a_whole_number_target_is_a_finding(tmp_path, label, task, expected):
    frame = every_kind().with_columns(stars=label)
    made, _ = prepared_of(frame, tmp_path, target="stars", task=task)
    notes = [finding.detail for finding in made.findings if "are treated as" in finding.detail]
    assert len(notes) == (expected is not None)
    other = "task=regression" if "classes" in (expected or "") else "task=multiclass"
    assert all(expected in note and note.endswith(other) for note in notes)

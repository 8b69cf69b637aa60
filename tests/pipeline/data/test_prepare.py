"""From a table to a training store, and the mistakes that a table or configuration can contain."""

from __future__ import annotations

import math
import subprocess
import sys
from datetime import date, time, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from data_helpers import every_kind, kinds_of, prepared_of
from feature_audit.config import AuditConfig
from feature_audit.data import Encoders, Prepared, Store, data_digest
from feature_audit.errors import AuditError

KEYS = {"row_id": "row", "time": "at", "group": "user"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Prepared, Store, pl.DataFrame]:
    frame = every_kind()
    prepared, store = prepared_of(frame, tmp_path_factory.mktemp("kinds"), **KEYS, slices="colour,amount,user")
    return prepared, store, frame


def test_every_kind_is_inferred(made):
    kinds = {column.name: column.kind for column in made[0].columns}
    assert kinds == {
        "amount": "numeric", "count": "numeric", "colour": "categorical", "flag": "boolean", "tags": "multi",
        "vector": "vector", "seen": "datetime", "shop_id": "categorical",
    }  # fmt: skip


def test_forms_follow_kinds(made):
    forms = {field.name: field.form for field in made[0].schema.fields}
    assert forms == {
        "amount": "numeric", "count": "numeric", "colour": "code", "flag": "code", "tags": "bag", "vector": "vector",
        "seen": "bag", "shop_id": "code",
    }  # fmt: skip


def test_key_columns_are_no_features(made):
    assert not {"row", "at", "user", "y"} & set(made[0].schema.names)


def test_rows_are_split_by_time_and_every_row_is_stored_once(made):
    prepared, store, frame = made
    ids = {split: store.row_id(split) for split in ("train", "validation", "test")}
    assert {split: len(rows) for split, rows in ids.items()} == prepared.rows
    assert sorted(np.concatenate(list(ids.values()))) == frame["row"].to_list()
    assert ids["train"].max() < ids["validation"].min() < ids["validation"].max() < ids["test"].min()
    assert prepared.split_info["test_from"] == str(frame.filter(pl.col("row") == ids["test"][0])["at"][0])


def test_store_and_serving_encode_the_same(made, tmp_path):
    prepared, store, frame = made
    raw = frame.filter(pl.col("row").is_in(store.row_id("test").tolist())).drop("y", "at", "user", "row")
    encoders = Encoders.load(prepared.directory / "encoders.json")
    served = encoders.encode(raw, prepared.schema)
    stored = next(store.batches("test", 10_000))
    np.testing.assert_array_equal(served.numeric, stored.numeric)
    np.testing.assert_array_equal(served.codes, stored.codes)
    for one, other in zip(served.bags + served.vectors, stored.bags + stored.vectors, strict=True):
        np.testing.assert_array_equal(one, other)
    encoders.save(tmp_path / "again.json")
    again = Encoders.load(tmp_path / "again.json").encode(raw, prepared.schema)
    np.testing.assert_array_equal(again.numeric, served.numeric)


def test_serving_needs_the_kept_columns_only(made):
    prepared, _, frame = made
    kept = prepared.schema.keep(["amount", "tags"])
    encoders = Encoders.load(prepared.directory / "encoders.json").keep(["amount", "tags"])
    batch = encoders.encode(frame.select("tags", "amount").head(3), kept)
    assert batch.numeric.shape == (3, 1)
    assert batch.codes.shape == (3, 0)
    with pytest.raises(AuditError, match="column tags is missing; the model needs 2 columns"):
        encoders.encode(frame.select("amount"), kept)


def test_slice_ranges_contain_exactly_the_values_of_their_labels(tmp_path):
    """Ranges end at values that occur, so many rows lie on a bound, which belongs to the range below it."""
    frame = pl.DataFrame({"y": np.arange(4_000) % 7 < 3, "x": np.arange(4_000) % 13, "age": np.arange(4_000) % 50})
    _, store = prepared_of(frame.with_columns(row=pl.int_range(4_000)), tmp_path, row_id="row", slices="age")
    ages = store.row_id("test").astype(int) % 50
    for age, label in zip(ages, store.slice_values("test", "age"), strict=True):
        if label.startswith("<= "):
            assert age <= float(label[3:])
        elif label.startswith("> "):
            assert age > float(label[2:])
        else:
            low, high = map(float, label.split(" to "))
            assert low < age <= high


def test_labels_groups_and_slices_are_aligned_with_the_rows(made):
    _, store, frame = made
    rows = frame.filter(pl.col("row").is_in(store.row_id("test").tolist()))
    np.testing.assert_array_equal(store.target("test"), rows["y"].cast(pl.Float32))
    labels = np.array(store.group_labels)[store.group("test")]
    np.testing.assert_array_equal(labels, rows["user"].cast(pl.String))
    np.testing.assert_array_equal(store.slice_values("test", "colour"), rows["colour"].fill_null("(missing)"))
    ranges = store.slice_values("test", "amount")
    assert 2 <= len(set(ranges)) <= 6
    assert (ranges[rows["amount"].is_nan().to_numpy()] == "(missing)").all()
    with pytest.raises(AuditError, match="slices=flag: not stored"):
        store.slice_values("test", "flag")


def test_prepared_survives_saving(made):
    prepared = made[0]
    again = Prepared.load(prepared.directory)
    assert again.schema == prepared.schema
    assert again.columns == prepared.columns
    assert again.findings == prepared.findings
    assert again.rows == prepared.rows
    assert again.summary == prepared.summary


def test_schema_yaml_can_be_put_back_as_kinds(made, tmp_path):
    import yaml

    kinds = yaml.safe_load(made[0].schema_yaml())["kinds"]
    again, _ = prepared_of(every_kind(), tmp_path, **KEYS, kinds=kinds)
    assert again.columns == made[0].columns


def test_kinds_by_glob_win_over_inference(tmp_path):
    made, _ = prepared_of(every_kind(), tmp_path, **KEYS, kinds={"co*": "categorical", "shop_id": "numeric"})
    forms = {field.name: field.form for field in made.schema.fields}
    assert (forms["count"], forms["shop_id"]) == ("code", "numeric")


def test_same_input_gives_the_same_bytes(tmp_path):
    stores = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        stores.append(prepared_of(every_kind(), tmp_path / name, **KEYS)[0])
    assert stores[0].digest == stores[1].digest
    files = sorted(path.relative_to(stores[0].directory) for path in stores[0].directory.rglob("*.bin"))
    assert files
    for file in [*files, Path("encoders.json")]:
        assert (stores[0].directory / file).read_bytes() == (stores[1].directory / file).read_bytes(), file


def test_an_older_store_in_the_folder_leaves_no_rows_behind(tmp_path):
    prepared_of(every_kind(3_000), tmp_path, **KEYS)
    made, store = prepared_of(every_kind(1_000), tmp_path, **KEYS)
    assert sum(made.rows.values()) == 1_000
    assert len(store.row_id("train")) == made.rows["train"]


def test_a_broken_off_preparation_is_not_taken_for_a_finished_one(tmp_path):
    made, _ = prepared_of(every_kind(), tmp_path, **KEYS)
    with pytest.raises(AuditError):
        prepared_of(every_kind(), tmp_path, target="nothing")
    with pytest.raises(AuditError, match="run the load stage again"):
        Prepared.load(made.directory)


def test_digest_follows_data_and_the_keys_that_matter(tmp_path):
    path = tmp_path / "log.parquet"
    every_kind().write_parquet(path)
    base = {"data": str(path), "target": "y"}

    def digest(**keys):
        return data_digest(AuditConfig.model_validate({**base, **keys}), str(path))

    first = digest()
    assert digest(k=5) == first
    assert digest(exclude="flag") != first
    every_kind(seed=1).write_parquet(path)
    assert digest() != first


def test_encoders_learn_from_train_only(tmp_path):
    """A category and an extreme number that occur only in later rows do not affect the encoders."""
    frame = every_kind().with_columns(late=pl.col("row") >= 11_200)
    frame = frame.with_columns(
        pl.when("late").then(pl.lit("only later")).otherwise("colour").alias("colour"),
        pl.when("late").then(1e9).otherwise("amount").alias("amount"),
    ).drop("late")
    made, store = prepared_of(frame, tmp_path, **KEYS)
    text = (made.directory / "encoders.json").read_text()
    assert "only later" not in text
    assert "1000000000.0" not in text
    batch = next(store.batches("test", 10_000))
    codes = [field.name for field in made.schema.fields if field.form == "code"]
    assert (batch.codes[:, codes.index("colour")] == 1).all()  # OOV
    amount = batch.numeric[:, 0]
    assert (amount == made.schema.fields[0].cardinality - 1).all()  # clamped to the last knot


def test_prepare_function_of_the_user(tmp_path, monkeypatch):
    (tmp_path / "my_features.py").write_text(
        "import polars as pl\n"
        "def build(path):\n"
        "    return pl.scan_parquet(path).with_columns(double=pl.col('count') * 2.5)\n"
        "def wrong(path):\n"
        "    return 3\n"
        "def broken(path):\n"
        "    return {}['price']\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    made, _ = prepared_of(every_kind(), tmp_path, **KEYS, prepare="my_features:build")
    assert made.excluded["double"].startswith("orders all train rows like count")
    for name, message in {
        "my_features:wrong": "returned a int; return a Polars LazyFrame",
        "my_features:broken": "prepare=my_features:broken: failed with KeyError: 'price'",
        "my_features:absent": "my_features has no function absent",
        "no_such_module:build": "cannot import no_such_module",
        "my_features": "write it as package.module:function",
    }.items():
        with pytest.raises(AuditError, match=message):
            prepared_of(every_kind(), tmp_path, **KEYS, prepare=name)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"target": "yy"}, "target=yy: no such column; did you mean y"),
        ({"target": "cout >= 4"}, "target=cout >= 4: no column cout; did you mean count"),
        ({"target": None}, "target: not given"),
        ({"target": "1 + 1"}, "does not use any column"),
        ({"target": "count >="}, "neither a column nor an expression"),
        ({"time": "att"}, "time=att: no such column; did you mean at"),
        ({"group": "usr"}, "group=usr: no such column; did you mean user"),
        ({"row_id": "rows"}, "row_id=rows: no such column; did you mean row"),
        ({"exclude": "price_*"}, r"exclude=price_\*: no column matches"),
        ({"exclude": "colur"}, "exclude=colur: no such column; did you mean colour"),
        ({"never_drop": "amont"}, "never_drop=amont: no such column; did you mean amount"),
        ({"never_drop": "user", "group": "user"}, "never_drop=user: the column is not a feature"),
        ({"always_drop": "amont"}, "always_drop=amont: no such column; did you mean amount"),
        ({"always_drop": "y"}, "always_drop=y: the column is not a feature"),
        ({"never_drop": "am*", "always_drop": "*nt"}, "always_drop=amount: the column is also in never_drop"),
        ({"groups": {"a": ["am*"], "b": ["count", "amount"]}}, r"groups\.b: column amount is also in groups\.a"),
        ({"cost": {"colur": 3.0}}, r"cost\.colur: colur: no such column; did you mean colour"),
        ({"cost": "none.csv"}, r"cost=none\.csv: cannot be read"),
        ({"slices": "colors"}, "slices=colors: no such column; did you mean colour"),
        ({"kinds": {"colour": "vector"}}, "kinds.colour=vector: the column is String"),
        ({"kinds": {"colour": "datetime"}}, "kinds.colour=datetime: .* does not match any known datetime format"),
        (
            {"kinds": {"colour": "numeric"}},
            r"kinds\.colour=numeric: 100% of its cells are not numbers, for example '\w+'; give categorical",
        ),
        ({"kinds": {"colour": "boolean"}}, r"kinds\.colour=boolean: 100% of its cells are not true or false"),
        ({"kinds": {"zz*": "numeric"}}, r"kinds=zz\*: no column matches"),
        ({"split": "tme"}, "split=tme: no such column; did you mean time"),
        ({"split": "time"}, "split=time: needs a time column"),
        ({"split": "group"}, "split=group: needs a group column"),
        ({"split": "colour"}, "split=colour: unknown value .*; the column may contain train"),
        ({"exclude": "*"}, "no column is left"),
        ({"task": "binary", "target": "count"}, "target=count: .* values .* but task=binary"),
        ({"task": "regression", "target": "colour"}, "target=colour"),
        ({"row_id": "count"}, "row_id=count: .* duplicate ids"),
    ],
)
def test_wrong_keys_are_one_line(tmp_path, keys, message):
    with pytest.raises(AuditError, match=message) as caught:
        prepared_of(every_kind(), tmp_path, **keys)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "store" / "prepared.json").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("two\nlines", r"data: column 'two\\nlines' has a control character in its name; rename it, or exclude it"),
        ("a\u2028b", "has a control character"),
        ("tab\there", "has a control character"),
        ("", r"data: a column is named ''; give it a name, or drop it"),
        (" ", "data: a column is named ' '"),
    ],
)
def test_a_name_that_no_list_of_features_can_hold_is_refused(tmp_path, name, message):
    frame = every_kind().rename({"amount": name})
    with pytest.raises(AuditError, match=message) as caught:
        prepared_of(frame, tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    made, _ = prepared_of(frame, tmp_path, exclude=[name])
    assert name not in made.schema.names


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("y", pl.lit(1), "target=y: every row is"),
        ("y", pl.lit(None, dtype=pl.Int8), "target=y: 1500 of 1500 rows have no label"),
        (
            "y",
            pl.when(pl.col("row") == 10_007).then(None).otherwise("y"),
            "1 of 1500 rows have no label .first: row 7.",
        ),
        ("at", pl.when(pl.col("row") % 10 != 3).then("at"), "time=at: 150 of 1,500 rows have no time .first: row 3."),
        ("at", pl.lit("soon"), "time=at: 'soon' does not match any known datetime format"),
        ("at", pl.concat_list("count", "user"), "time=at: its type List"),
        ("row", pl.when(pl.col("row") == 10_003).then(None).otherwise("row"), "row_id=row: 1 row has no id"),
        ("row", pl.col("row") // 2, "row_id=row: 750 duplicate ids"),
    ],
)
def test_wrong_values_are_one_line(tmp_path, column, values, message):
    frame = every_kind().with_columns(values.alias(column))
    with pytest.raises(AuditError, match=message) as caught:
        prepared_of(frame, tmp_path, **KEYS)
    assert "\n" not in str(caught.value)


def test_too_little_data_says_which_split(tmp_path):
    with pytest.raises(AuditError, match="the test split has 18 of 90 rows, at least 20 are needed"):
        prepared_of(every_kind(90), tmp_path, **KEYS, validation_share=0.3)


def test_a_test_split_of_one_class_says_so(tmp_path):
    frame = every_kind().with_columns(y=pl.when(pl.col("row") > 11_100).then(0).otherwise("y"))
    with pytest.raises(AuditError, match="every row of the test split is '0'"):
        prepared_of(frame, tmp_path, **KEYS)


def test_no_usable_feature_left(tmp_path):
    frame = every_kind().select("y", "row", one=pl.lit(1), nothing=pl.lit(None, dtype=pl.Float64))
    with pytest.raises(AuditError, match="none of the 2 columns is a usable feature"):
        prepared_of(frame, tmp_path, row_id="row")


def test_unsupported_types_are_findings_not_crashes(tmp_path):
    frame = every_kind().with_columns(nested=pl.struct("count", "flag"), blob=pl.lit(b"x"))
    made, _ = prepared_of(frame, tmp_path, **KEYS)
    assert kinds_of(made)["nested"] == "other"
    assert set(made.excluded) == {"nested", "blob"}
    assert "nested" in {column.name for column in made.columns}


def test_column_names_that_could_collide_with_ours(tmp_path):
    frame = every_kind().rename({"amount": "value", "colour": "n", "shop_id": "label", "flag": "len", "count": "rows"})
    made, _ = prepared_of(frame, tmp_path, **KEYS, slices="n,rows")
    assert {"value", "n", "label", "len", "rows"} <= set(made.schema.names)


PREPARE = """
import sys
from pathlib import Path
from feature_audit.config import AuditConfig
from feature_audit.data import prepare
from feature_audit.data.checks import great_expectations_suite as suite
suite.validate = lambda *_: {"passed": True, "failures": []}  # it takes as long as the rest, and judges exact figures
keys = {"target": "y", "row_id": "row", "time": "at", "group": "user"}
prepare(AuditConfig(data=sys.argv[1], **keys), Path(sys.argv[2]))
print("great_expectations" in sys.modules)
"""


@pytest.mark.slow
def test_the_store_does_not_depend_on_the_number_of_threads(tmp_path):
    path = tmp_path / "log.parquet"
    every_kind(3_000).write_parquet(path, row_group_size=250)
    for threads in ("1", "4"):
        done = subprocess.run(
            [sys.executable, "-c", PREPARE, str(path), str(tmp_path / threads)],
            check=True, stdout=subprocess.PIPE, text=True,
            env={"PYTHONPATH": ":".join(filter(None, sys.path)), "POLARS_MAX_THREADS": threads},
        )  # fmt: skip
        assert done.stdout == "False\n", "Great Expectations was imported although it judged nothing"
    files = sorted(file.relative_to(tmp_path / "1") for file in (tmp_path / "1").rglob("*") if file.is_file())
    assert len(files) > 10
    for file in files:
        assert (tmp_path / "1" / file).read_bytes() == (tmp_path / "4" / file).read_bytes(), file
    one, other = (Prepared.load(tmp_path / threads) for threads in ("1", "4"))
    assert (one.findings, one.columns, one.digest) == (other.findings, other.columns, other.digest)


def odd_columns(rows: int = 600) -> dict[str, pl.Series]:
    """Unusual columns as they occur in practice; each must be encoded, or excluded with a reason."""
    rng = np.random.default_rng(0)
    i = np.arange(rows)
    real = rng.normal(size=rows)
    first = date(2020, 1, 1)
    columns = {
        "decimal": pl.Series(i % 99).cast(pl.Decimal(10, 2)),
        "duration": pl.Series([timedelta(seconds=int(v)) for v in rng.integers(0, 9_999, rows)]),
        "time": pl.Series([time(int(v), 3) for v in i % 24]),
        "array_of_words": pl.Series([["a", "b"] if v % 3 else ["c", "d"] for v in i], dtype=pl.Array(pl.String, 2)),
        "list_of_truths": pl.Series([[True, False][: v % 3] for v in i], dtype=pl.List(pl.Boolean)),
        "list_of_dates": pl.Series([[first] * (v % 3) for v in i]),
        "list_of_lists": pl.Series([[[1, 2], [3]] for _ in i]),
        "list_of_records": pl.Series([[{"a": 1}] for _ in i]),
        "gaps_in_lists": pl.Series([[None, "a"] if v % 2 else None for v in i]),
        "vector_with_gaps": pl.Series([None if v % 2 else [1.0, math.nan] for v in i], dtype=pl.List(pl.Float64)),
        "ragged_vector": pl.Series([[1.5] * (v % 4) for v in i], dtype=pl.List(pl.Float64)),
        "unsigned": pl.Series(rng.integers(0, 2**63, rows).astype(np.uint64) * 2),
        "wide_integer": pl.Series(i).cast(pl.Int128),
        "small": pl.Series(rng.integers(-128, 127, rows).astype(np.int8)),
        "category": pl.Series(rng.choice(["x", "y"], rows)).cast(pl.Categorical),
        "nanoseconds": pl.Series(i).cast(pl.Datetime("ns")),
        "zoned": pl.Series(i * 10**15).cast(pl.Datetime("us")).dt.replace_time_zone("Asia/Tokyo"),
        "day": pl.Series([first + timedelta(days=int(v)) for v in i % 700]),
        "infinite": pl.Series(np.where(i % 7 == 0, np.inf, real)),
        "only_infinite": pl.Series(np.where(i % 7 == 0, -np.inf, np.nan)),
        "huge": pl.Series(real * 1e300),
        "tiny": pl.Series(real * 1e-300),
        "empty_words": pl.Series(["" if v % 2 else "a" for v in i]),
        "ünï «col» /x": pl.Series(rng.choice(["é", "日本"], rows)),
        "long_words": pl.Series(["z" * 2_000 + str(v) for v in i]),
        "bytes": pl.Series([b"1"] * rows),
        "one_value": pl.Series([None] * (rows - 1) + ["a"]),
    }
    return {name: column.rename(name) for name, column in columns.items()}


def test_odd_types_are_encoded_or_set_aside(tmp_path):
    rng = np.random.default_rng(1)
    frame = pl.DataFrame([pl.Series("y", rng.integers(0, 2, 600)), *odd_columns().values()])
    made, store = prepared_of(frame, tmp_path)
    assert {"list_of_dates", "list_of_lists", "list_of_records", "bytes"} <= set(made.excluded)
    assert set(made.schema.names) | set(made.excluded) == set(odd_columns())
    assert np.isfinite(store.matrix("train", made.schema)).all()
    encoders = Encoders.load(made.directory / "encoders.json")
    for rows in (frame.head(5), frame.clear()):
        batch = encoders.encode(rows, made.schema)
        assert len(batch) == len(rows)
        assert all(vector.isfinite().all() for vector in batch.vectors)


def test_a_column_named_like_a_pattern_is_refused(tmp_path):
    with pytest.raises(AuditError, match="looks like a pattern"):
        prepared_of(every_kind().rename({"amount": "^a.*$"}), tmp_path)

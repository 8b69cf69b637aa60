"""The encoders against the definition in ``schema.py``, by property."""

from __future__ import annotations

import json
import math
from datetime import datetime

import numpy as np
import polars as pl
import pytest
from feature_audit.config.sections import EncodingConfig
from feature_audit.data.columns.casting import as_datetime, date_part
from feature_audit.data.encoding.encoder_set import Encoders
from feature_audit.data.encoding.encoders import BagEncoder, CodeEncoder, DateEncoder, NumericEncoder, VectorEncoder
from feature_audit.data.encoding.fit import fit_encoder
from feature_audit.data.encoding.knots import Positions, median_knot, quantile_knots
from feature_audit.data.encoding.vocabulary import FIRST, Buckets, Vocabulary
from feature_audit.data.table.statistics import ColumnFacts
from feature_audit.errors import AuditError
from feature_audit.schema import Column, ModelSchema
from hypothesis import given, settings
from hypothesis import strategies as st

numbers = st.lists(
    st.one_of(st.floats(-1e6, 1e6, allow_nan=False, width=32), st.sampled_from([0.0, 1.0])), min_size=2, max_size=300
)


@given(numbers, st.integers(2, 64))
@settings(max_examples=150)
def test_knots_are_increasing_values_that_occur(values, bins):
    knots = quantile_knots(np.array(values), bins)
    assert 1 <= len(knots) <= bins
    assert (np.diff(knots) > 0).all()
    assert set(knots) <= set(values)
    assert (knots[0], knots[-1]) == (min(values), max(values))


@pytest.mark.parametrize(
    ("values", "origin"),
    [([0.0] * 98 + [-1.0, 1.0], 2), ([0.0] * 60 + list(range(1, 41)), 1), ([math.nan] * 9 + [5.0], 1), ([math.nan], 0)],
)
def test_the_origin_is_the_knot_at_the_median_and_is_kept(values, origin):
    numbers = np.array(values)
    knots = quantile_knots(numbers, 16)
    encoder = NumericEncoder("x", knots, origin=median_knot(numbers, knots))
    assert encoder.field.origin == origin
    assert NumericEncoder.from_state(encoder.state()).field == encoder.field


def test_few_values_are_all_knots_and_atoms_keep_their_own():
    assert quantile_knots(np.array([3.0, 1, 2, 1, np.nan, np.inf]), 48).tolist() == [1, 2, 3]
    rng = np.random.default_rng(0)
    zeros_and_tail = np.concatenate([np.zeros(9_000), rng.exponential(size=1_000)])
    knots = quantile_knots(zeros_and_tail, 32)
    assert 0.0 in knots
    tail = np.histogram(zeros_and_tail[9_000:], np.append(knots[1:], np.inf))[0]
    assert len(knots) >= 30  # the zeros do not use up the knots of the tail
    assert tail.max() < 3 * 1_000 / len(knots)


@given(numbers)
@settings(max_examples=150)
def test_numeric_position(values):
    """On knot j the position is 1 + j exactly; between knots it is linear; outside it is clamped; order is kept."""
    encoder = NumericEncoder("x", quantile_knots(np.array(values), 16))
    knots = encoder.knots
    on = encoder.encode(pl.Series("x", knots))
    np.testing.assert_array_equal(on, np.arange(1, len(knots) + 1, dtype=np.float32))
    middle = encoder.encode(pl.Series("x", (knots[:-1] + knots[1:]) / 2))
    np.testing.assert_allclose(middle, np.arange(1, len(knots)) + 0.5, atol=1e-3)
    assert encoder.encode(pl.Series("x", [-math.inf, math.inf, None, math.nan])).tolist() == [1, len(knots), 0, 0]
    assert (np.diff(encoder.encode(pl.Series("x", sorted(values)))) >= 0).all()


@pytest.mark.parametrize("dtype", [pl.Float32, pl.Float64, pl.Int16, pl.Int64, pl.UInt8, pl.Decimal(10, 2), pl.String])
def test_numeric_reads_any_number_type(dtype):
    encoder = NumericEncoder("x", np.array([1.0, 3.0, 10.0]))
    values = pl.Series("x", [1, 2, 3, None, 10]).cast(dtype)
    assert encoder.encode(values).tolist() == [1, 1.5, 2, 0, 3]


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e12, 1e300])
def test_numeric_keeps_fine_differences_at_any_scale(scale):
    """Epoch milliseconds differ only after many digits; positions must still differ."""
    knots = (1.7e12 + np.arange(40) * 1_000.0) * scale if scale == 1.0 else np.arange(1.0, 41) * scale
    encoder = NumericEncoder("x", knots)
    got = encoder.encode(
        pl.Series(
            "x", np.repeat(knots[:-1], 200) + np.tile(np.linspace(0, 0.99, 200), 39) * np.repeat(np.diff(knots), 200)
        )
    )
    expected = np.repeat(np.arange(1, 40), 200) + np.tile(np.linspace(0, 0.99, 200), 39)
    np.testing.assert_allclose(got, expected, atol=2e-3)


@given(st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), min_size=1, max_size=400), st.integers(0, 5))
@settings(max_examples=150)
def test_numeric_is_interpolation_by_numpy(values, seed):
    rng = np.random.default_rng(seed)
    knots = np.unique(
        np.concatenate([rng.normal(size=30).astype(np.float32), [0.0, 1.0], rng.exponential(1e3, 5).astype(np.float32)])
    )
    raw = np.array(values, dtype=np.float32)
    expected = np.where(np.isnan(raw), 0, np.interp(raw.astype(np.float64), knots, np.arange(1, len(knots) + 1)))
    got = NumericEncoder("x", knots.astype(np.float64)).encode(pl.Series("x", raw))
    np.testing.assert_allclose(got, expected, atol=1e-3)


words = st.lists(st.one_of(st.none(), st.sampled_from(["a", "b", "c", "d", ""])), min_size=1, max_size=60)


@given(words)
@settings(max_examples=80)
def test_codes(values):
    encoder = CodeEncoder("x", Vocabulary("text", ["a", "b"]))
    expected = [0 if v is None else FIRST + ["a", "b"].index(v) if v in ("a", "b") else 1 for v in values]
    assert encoder.encode(pl.Series("x", values, dtype=pl.String)).tolist() == expected


def test_the_same_value_in_any_type_has_the_same_code():
    encoder = CodeEncoder("x", Vocabulary("integer", [7, 12]))
    for values in (pl.Series([7, 12, 5, None]), pl.Series([7.0, 12.0, 5.0, None]), pl.Series(["7", "12 ", "5", None])):
        assert encoder.encode(values).tolist() == [2, 3, 1, 0]
    truth = CodeEncoder("x", Vocabulary("boolean", [0, 1]))
    for values in (pl.Series([True, False, None]), pl.Series([1, 0, None]), pl.Series(["True", "no", None])):
        assert truth.encode(values).tolist() == [3, 2, 0]
    text = CodeEncoder("x", Vocabulary("text", ["a"]))
    assert text.encode(pl.Series(["a", "z", None], dtype=pl.Categorical)).tolist() == [2, 1, 0]
    assert text.encode(pl.Series(["a", None], dtype=pl.Enum(["a", "b"]))).tolist() == [2, 0]
    assert text.encode(pl.Series([None, None])).tolist() == [0, 0]


def test_rare_and_surplus_values_are_oov_or_hashed():
    counts = pl.DataFrame({"value": ["a", "b", "c", "d"], "count": [50, 20, 9, 2]})
    fact = ColumnFacts(counts=counts)
    column, sample = Column("x", "categorical", "String"), pl.Series("x", ["a"])
    plain = fit_encoder(column, fact, sample, EncodingConfig(min_count=8, max_categories=2))
    assert plain.encode(pl.Series(["a", "b", "c", "d", "new"])).tolist() == [2, 3, 1, 1, 1]
    hashed = fit_encoder(column, fact, sample, EncodingConfig(min_count=8, max_categories=2, hash_buckets=5))
    codes = hashed.encode(pl.Series(["a", "c", "c", "new", None]))
    assert codes[0] == 2
    assert codes[1] == codes[2]
    assert set(codes[1:4]) <= set(range(4, 9))
    assert codes[4] == 0
    assert hashed.field.cardinality == 9


lists = st.lists(
    st.one_of(st.none(), st.lists(st.one_of(st.none(), st.sampled_from("abz")), max_size=6)), min_size=1, max_size=30
)


@given(lists)
@settings(max_examples=100)
def test_bags(values):
    encoder = BagEncoder("x", Vocabulary("text", ["a", "b"]), width=4)
    code = {"a": 2, "b": 3, "z": 1, None: 0}
    expected = [([code[v] for v in (row or [])[:4]] + [0] * 4)[:4] for row in values]
    assert encoder.encode(pl.Series("x", values, dtype=pl.List(pl.String))).tolist() == expected


def test_bags_from_text_and_arrays():
    encoder = BagEncoder("x", Vocabulary("text", ["a", "b"]), width=2, separator="|")
    assert encoder.encode(pl.Series(["a|b|c", "b", "", None, "| a"])).tolist() == [
        [2, 3],
        [3, 0],
        [0, 0],
        [0, 0],
        [2, 0],
    ]
    numbers = BagEncoder("x", Vocabulary("integer", [4, 5]), width=2)
    assert numbers.encode(pl.Series([[4, 5]], dtype=pl.Array(pl.Int32, 2))).tolist() == [[2, 3]]


def test_lists_of_fractions_are_bags_of_quantile_ranges():
    rng = np.random.default_rng(0)
    cells = [rng.exponential(size=rng.integers(0, 4)).tolist() for _ in range(2_000)]
    sample = pl.Series("x", cells)
    counts = sample.list.explode(empty_as_null=False).drop_nulls().rename("value").value_counts(name="count")
    fact = ColumnFacts(counts=counts, longest=3, key="float")
    encoder = fit_encoder(Column("x", "multi", ""), fact, sample, EncodingConfig(max_bins=8))
    codes = encoder.encode(pl.Series("x", [[0.01, 100.0], [], None, [math.nan, 1.0]]))
    assert codes.shape == (4, 3)
    assert codes[1].tolist() == codes[2].tolist() == [0, 0, 0]
    assert 2 <= codes[0][0] < codes[0][1] == encoder.field.cardinality - 1
    assert codes[3][0] == 0 < codes[3][1]
    spread = np.bincount(encoder.encode(sample).ravel(), minlength=encoder.field.cardinality)[3:-1]
    assert spread.min() > 0.5 * spread.max()
    again = BagEncoder.from_state(json.loads(json.dumps(encoder.state())))
    np.testing.assert_array_equal(again.encode(sample), encoder.encode(sample))


def test_dates_are_bags_of_parts():
    encoder = DateEncoder("x", ("hour", "weekday"), np.array([datetime(2024, 1, 10).timestamp() * 1e6]))
    codes = encoder.encode(pl.Series([datetime(2024, 1, 1, 5), datetime(2024, 2, 4, 23), None]))
    assert codes[0].tolist() == [2 + 5, 2 + 24 + 0, 2 + 24 + 7 + 0]  # Monday, before the edge
    assert codes[1].tolist() == [2 + 23, 2 + 24 + 6, 2 + 24 + 7 + 1]  # Sunday, after it
    assert codes[2].tolist() == [0, 0, 0]
    assert codes.max() < encoder.field.cardinality
    assert encoder.field.width == 3


@given(st.lists(st.one_of(st.none(), st.datetimes()), min_size=1, max_size=30))
def test_parts_of_a_date_are_those_of_polars(moments):
    cells = pl.Series(moments, dtype=pl.Datetime("us"))
    parts = {"hour": (cells.dt.hour(), 0), "weekday": (cells.dt.weekday(), 1), "day": (cells.dt.day(), 1)}
    for part, (expected, first) in (parts | {"month": (cells.dt.month(), 1)}).items():
        assert date_part(cells, part).tolist() == (expected.cast(pl.Int64) - first).fill_null(0).to_list()


def test_a_column_without_a_cell_is_all_missing():
    """Both by the shortcut and by the encoder."""
    encoders = all_encoders()
    for name, encoder in encoders.by_name.items():
        for rows in (1, 3):
            cells = pl.Series(name, [None] * rows, dtype=pl.Null)
            made, expected = encoders.encode_column(name, cells), encoder.encode(cells)
            np.testing.assert_array_equal(made, expected)
            assert (made.dtype, made.shape) == (expected.dtype, expected.shape)


def test_what_comes_after_the_last_train_value_shares_its_code():
    """A model serves days after its training data; their code must be one that occurred in training."""
    days = [datetime(2024, 1, day) for day in (1, 8, 15, 22)]
    train = pl.Series(days * 100)
    encoder = fit_encoder(Column("x", "datetime", "Datetime"), ColumnFacts(), train, EncodingConfig())
    trained = encoder.encode(train)[:4, -1]
    assert len(set(trained.tolist())) == 4
    later = encoder.encode(pl.Series([datetime(2024, 1, 22, 1), datetime(2031, 1, 1)]))[:, -1]
    assert later.tolist() == [trained[3]] * 2
    numbers = Buckets(np.array([0.5, 1.5, 2.5]))
    assert numbers.codes(pl.Series([0.5, 1.4, 1.5, 2.5, 99.0])).tolist() == [3, 3, 4, 5, 5]


def test_dates_arrive_in_many_types():
    moment = datetime(2024, 3, 1, 12, 30)
    expected = pl.Series([moment, None], dtype=pl.Datetime("us"))
    seconds = int(pl.Series([moment]).dt.epoch("s")[0])
    for values in (
        pl.Series([moment, None], dtype=pl.Datetime("ns")),
        pl.Series([moment, None]).dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo"),
        pl.Series(["2024-03-01 12:30", None]),
        pl.Series([seconds, None]),
        pl.Series([seconds * 1_000.0, None]),
    ):
        assert as_datetime(values, "%Y-%m-%d %H:%M").to_list() == expected.to_list()
    assert as_datetime(pl.Series([moment.date()]), None).to_list() == [datetime(2024, 3, 1)]


def test_vectors_are_standardised_on_train_and_gaps_are_the_mean():
    rng = np.random.default_rng(0)
    train = rng.normal([5, -2, 0], [1, 10, 0], size=(2_000, 3))
    encoder = fit_encoder(Column("x", "vector", ""), ColumnFacts(), pl.Series("x", train.tolist()), EncodingConfig())
    got = encoder.encode(pl.Series("x", train.tolist()))
    np.testing.assert_allclose(got.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(got.std(axis=0), [1, 1, 0], atol=1e-5)
    odd = encoder.encode(pl.Series("x", [None, [1.0, 2.0], [math.nan, -2.0, 0.0]]))
    np.testing.assert_allclose(odd[:2], 0)
    assert odd[2][0] == 0
    array = encoder.encode(pl.Series("x", train[:5], dtype=pl.Array(pl.Float64, 3)))
    np.testing.assert_array_equal(array, got[:5])


def all_encoders() -> Encoders:
    made = [
        NumericEncoder("n", np.array([0.1, 2.5])),
        CodeEncoder("c", Vocabulary("text", ["é", '"q"'], 3)),
        BagEncoder("b", Vocabulary("integer", [3, 1]), 4, "|"),
        DateEncoder("d", ("hour",), np.array([1e15]), "%Y-%m-%d"),
        VectorEncoder("v", np.array([1.0, 2.0]), np.array([0.5, 1.0])),
    ]
    return Encoders({encoder.name: encoder for encoder in made})


def test_encoders_survive_json():
    encoders = all_encoders()
    again = Encoders.from_json(json.loads(json.dumps(encoders.to_json())))
    assert again.fields == encoders.fields
    assert again.to_json() == encoders.to_json()


def test_wrong_types_at_serving_are_one_line():
    encoders = all_encoders()
    schema = ModelSchema(encoders.fields, "binary")
    frame = pl.DataFrame({"n": [1.0], "c": ["x"], "b": [[3]], "d": ["2024-01-01"], "v": ["no vector"]})
    with pytest.raises(AuditError, match="input: column v of type String cannot be encoded as vector") as caught:
        encoders.encode(frame, schema)
    assert "\n" not in str(caught.value)
    with pytest.raises(AuditError, match="input: column n of type List"):
        encoders.encode(frame.with_columns(n=[[1.0]]), schema)


def test_a_hash_of_another_polars_is_refused():
    content = all_encoders().to_json()
    content["hash_probe"] = 1
    with pytest.raises(AuditError, match="hash_buckets"):
        Encoders.from_json(content)


def test_an_unreadable_file_is_one_line(tmp_path):
    (tmp_path / "encoders.json").write_text("{")
    for name in ("encoders.json", "none.json"):
        with pytest.raises(AuditError, match=f"{name}: not a readable encoder file"):
            Encoders.load(tmp_path / name)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shape", ["normal", "zeros", "sentinel", "years", "heavy", "counts", "far"])
def test_positions_are_numpy_interpolation_on_every_shape(shape, seed):
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=20_000)
    values = {
        "normal": normal,
        "zeros": normal * (rng.random(20_000) < 0.2),
        "sentinel": np.where(rng.random(20_000) < 0.1, -999_999, rng.integers(0, 240, 20_000)),
        "years": rng.integers(1990, 2025, 20_000),
        "heavy": np.sign(normal) * np.exp(np.abs(normal) * 4),
        "counts": rng.poisson(np.exp(normal)),
        "far": 1e9 + normal,
    }[shape]
    for numbers in (values.astype(np.float32), values.astype(np.float64)):
        knots = quantile_knots(numbers.astype(np.float64), int(rng.integers(2, 300)))
        expected = np.interp(numbers.astype(np.float64), knots, np.arange(1, len(knots) + 1))
        np.testing.assert_allclose(Positions(knots)(numbers), expected, atol=2e-4, rtol=1e-5)
        np.testing.assert_array_equal(Positions(knots)(knots), np.arange(1, len(knots) + 1))


def test_positions_take_the_fast_way_where_it_matters():
    rng = np.random.default_rng(0)
    for values in (
        rng.normal(size=9_000),
        rng.exponential(size=9_000) * (rng.random(9_000) < 0.3),
        np.arange(1990.0, 2025),
    ):
        assert Positions(quantile_knots(values, 48))._steps
    assert not Positions(np.array([-1e9, 0, 1, 1e9, 1e9 + 1]))._steps


def test_infinite_and_huge_vector_entries_are_missing_and_do_not_affect_others():
    rng = np.random.default_rng(0)
    sound = rng.normal(size=(200, 2))
    wild = sound.copy()
    wild[3, 0], wild[4, 1], wild[5, 0] = np.inf, 1e300, -np.inf
    column = Column("v", "vector", "List(Float64)")
    encoder = fit_encoder(column, ColumnFacts(), pl.Series("v", wild.tolist()), EncodingConfig())
    cells = encoder.encode(pl.Series("v", wild.tolist()))
    assert cells[3, 0] == cells[4, 1] == cells[5, 0] == 0
    assert np.abs(cells).max() < 6
    assert np.abs(cells[6:] - (sound[6:] - sound.mean(0)) / sound.std(0)).max() < 0.2
    assert encoder.encode(pl.Series("v", [[1e90, 0.0]]))[0, 0] == 1_000, "far out, but finite in float32"

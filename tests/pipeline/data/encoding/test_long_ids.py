"""Integers that floats cannot represent stay exact: in files, in lists, as groups and in served rows."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from data_helpers import prepared_of
from feature_audit.data import Encoders
from feature_audit.data.encoding.encoders import CodeEncoder
from feature_audit.data.encoding.vocabulary import Vocabulary
from feature_audit.errors import AuditError

pytestmark = pytest.mark.usefixtures("without_expectations")

USERS, ROWS = 40, 4_000


def users(digits: int, rng: np.random.Generator) -> list[str]:
    """Ids as text, so close to each other that floats would merge them."""
    first = 18 * 10**18 if digits == 20 else 10 ** (digits - 1)
    keys = [str(first + 3 * number) for number in range(USERS)]
    return [keys[number] for number in rng.integers(0, USERS, ROWS)]


@pytest.mark.parametrize(("digits", "guests"), [(17, 3), (19, 0), (19, 3), (20, 0), (45, 3)])
def test_long_ids_in_text_files_keep_every_digit(tmp_path, digits, guests):
    rng = np.random.default_rng(digits)
    cells = users(digits, rng)
    for row in range(guests):
        cells[5 + 1_000 * row] = "guest"
    frame = pl.DataFrame({"user": cells, "x": rng.normal(size=ROWS), "y": rng.integers(0, 2, ROWS)})
    frame.write_csv(tmp_path / "log.csv")
    made, _ = prepared_of(tmp_path / "log.csv", tmp_path)
    field = made.schema.fields[0]
    assert (field.name, field.form, field.cardinality) == ("user", "code", 2 + USERS)
    encoders = Encoders.load(made.directory / "encoders.json")
    ids = sorted(set(cells) - {"guest"})
    codes = encoders.encode_column("user", pl.Series(ids))
    assert len(set(codes.tolist())) == USERS
    assert min(codes) >= 2
    made, _ = prepared_of(tmp_path / "log.csv", tmp_path, group="user")
    labels = pl.read_parquet(made.directory / "group_labels.parquet")["label"]
    assert set(labels) == set(cells)


def test_a_few_words_among_short_ids_leave_them_integers(tmp_path):
    frame = pl.DataFrame({"shop": ["none yet" if i % 500 == 3 else str(100 + i % 60) for i in range(2_000)]})
    frame.with_columns(y=pl.Series(np.random.default_rng(0).integers(0, 2, 2_000))).write_csv(tmp_path / "log.csv")
    made, _ = prepared_of(tmp_path / "log.csv", tmp_path)
    assert made.columns[0].dtype == "Int64"
    assert any("shop: 4 of 2000 cells are not whole numbers" in finding.detail for finding in made.findings)


def test_unsigned_ids_alone_and_in_lists(tmp_path):
    rng = np.random.default_rng(0)
    keys = [2**63 + 3 * number for number in range(30)]
    who = rng.integers(0, 30, (ROWS, 3))
    frame = pl.DataFrame(
        {"items": [[keys[one] for one in row] for row in who], "ad": [keys[row[0]] for row in who]},
        schema={"items": pl.List(pl.UInt64), "ad": pl.UInt64},
    )
    made, store = prepared_of(frame.with_columns(y=pl.Series(rng.integers(0, 2, ROWS))), tmp_path)
    assert {field.name: field.cardinality for field in made.schema.fields} == {"items": 32, "ad": 32}
    assert store.rows("train") > 0
    encoders = Encoders.load(made.directory / "encoders.json")
    known = encoders.encode_column("ad", pl.Series(keys, dtype=pl.UInt64))
    assert sorted(known.tolist()) == list(range(2, 32))
    for same in (pl.Series(keys, dtype=pl.Int128), pl.Series([str(key) for key in keys])):
        assert encoders.encode_column("ad", same).tolist() == known.tolist()
    bags = encoders.encode_column("items", pl.Series([[key] for key in keys], dtype=pl.List(pl.UInt64)))
    assert sorted(bags[:, 0].tolist()) == list(range(2, 32))


def test_floats_of_long_ids_are_refused_not_guessed():
    for vocabulary in (Vocabulary("integer", [2**60 + 1, 5]), Vocabulary("text", [str(2**60 + 1), "5"])):
        encoders = Encoders({"user": CodeEncoder("user", vocabulary)})
        assert encoders.encode_column("user", pl.Series([2**60 + 1, 2**60 + 3, None])).tolist() == [2, 1, 0]
        assert encoders.encode_column("user", pl.Series([5.0, None, float("nan")])).tolist() == [3, 0, 0]
        with pytest.raises(
            AuditError, match=r"column user of type Float64 .*floats cannot distinguish its long codes"
        ) as caught:
            encoders.encode_column("user", pl.Series([float(2**60), None]))
        assert "\n" not in str(caught.value)


def test_words_and_fractions_are_unknown_codes_not_missing():
    encoder = CodeEncoder("user", Vocabulary("integer", [2, 7]))
    assert encoder.encode(pl.Series(["2", "guest", "NA", "", None])).tolist() == [2, 1, 0, 0, 0]
    assert encoder.encode(pl.Series([2.0, 2.5, None])).tolist() == [2, 1, 0]

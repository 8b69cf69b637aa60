"""Numbers formatted for people: one format per column, the same in training and serving."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from data_helpers import prepared_of
from feature_audit.data import Encoders
from feature_audit.data.columns.written_numbers import find_form
from feature_audit.errors import AuditError

pytestmark = pytest.mark.usefixtures("without_expectations")

FORMS = {
    "dollars": (["$1,234.50", "$12.00", "-$5.10", "$1,000,000.00"], [1234.5, 12, -5.1, 1e6]),
    "thousands": (["12,000", "950", "1,234,567"], [12000, 950, 1234567]),
    "percent": (["37.5%", "12 %", ".5%"], [37.5, 12, 0.5]),
    "German": (["1.234,50 €", "12,00 €", "1.000.000 €"], [1234.5, 12, 1e6]),
    "French": (["1 234,50", "12,5", "3"], [1234.5, 12.5, 3]),
    "no-break spaces": (["1\u00a0234,50", "12\u202f345,5", "3"], [1234.5, 12345.5, 3]),
    "Swiss": (["1'234.50", "12", "CHF 1’000’000.5"], [1234.5, 12, 1000000.5]),
    "Brazilian": (["R$ 1.234,56", "R$ 3,00"], [1234.56, 3]),
    "Indian": (["₹12,34,567", "₹5,000.50"], [1234567, 5000.5]),
    "Swedish": (["12 000 kr", "950 kr"], [12000, 950]),
    "Polish": (["1 200,50 zł", "99,99 zł"], [1200.5, 99.99]),
    "code before": (["EUR 12,50", "EUR 1.200,00"], [12.5, 1200]),
    "negative": (["(1,234)", "12", "4.5-", "−3", "–4"], [-1234, 12, -4.5, -3, -4]),
    "sign and mark": (["-$1,200.00", "$-3", "($4)"], [-1200, -3, -4]),
    "factors": (["1.2k", "3.4M", "2B", "950", "1K"], [1200, 3.4e6, 2e9, 950, 1000]),
    "millions": (["1.2M", "800"], [1.2e6, 800]),
    "factor and mark": (["$1.2M", "$900k", "$3B"], [1.2e6, 9e5, 3e9]),
    "one unit": (["5 kg", "2.5 kg", "5kg"], [5, 2.5, 5]),
    "metres": (["5 m", "10 m"], [5, 10]),
    "plural": (["1 day", "12 days"], [1, 12]),
    "times": (["10 ms", "250 ms"], [10, 250]),
    "minutes and seconds": (["12:30", "3:05", "1:02:03"], [750, 185, 3723]),
    "half days": (["12:00 AM", "2:35 pm", "12:10:30 p.m."], [0, 52_500, 43_830]),
    "durations": (["1 day, 3:20:00", "-1 days +23:59:30", "0:00:04.5", "-00:00:05"], [98_400, -30, 4.5, -5]),
    "decimal comma": (["1,5", "2,25", "0,123"], [1.5, 2.25, 0.123]),
}


@pytest.mark.parametrize("name", FORMS)
def test_what_people_write_is_read(name):
    words, numbers = FORMS[name]
    form = find_form(pl.Series(words), 0.995)
    assert form is not None
    assert form.read(pl.Series(words)).to_list() == pytest.approx(numbers)


@pytest.mark.parametrize(
    "words",
    [
        ["5 kg", "500 g"], ["$12", "€13"], ["32B", "34C"], ["16GB", "1TB"],  # several units
        ["A12", "B13"], ["zone 3", "zone 4"], ["h123", "h34"], ["12a", "14c"],  # labels
        ["1.2.3", "1.2.4"], ["2024-01-02", "2024-02-03"], ["01.02.2024", "03.04.2024"],
        ["123,456", "234,567,890", "111"],  # lists of codes of three digits
        ["1.5", "2e3", "-4"], ["word", ""], ["1h 30m", "45m"], ["123 45", "110 00"], ["2:1", "0:3"], ["12:75", "13:80"],
    ],
)  # fmt: skip
def test_other_text_and_plain_numbers_have_no_form(words):
    assert find_form(pl.Series(words), 0.995) is None


def table(rows: int = 1_500) -> pl.DataFrame:
    rng = np.random.default_rng(3)
    price, share, weight = np.exp(rng.normal(6, 1, rows)), rng.beta(2, 5, rows), np.exp(rng.normal(1, 1, rows))
    return pl.DataFrame(
        {
            "price": [f"${value:,.2f}" for value in price],
            "preis": [f"{value:,.2f} €".translate(str.maketrans(",.", ".,")) for value in price[::-1]],
            "views": [f"{value / 1000:.1f}k" if value > 1000 else f"{value:.0f}" for value in 3 * price],
            "off": [f"{100 * value:.1f}%" for value in share],
            "mass": [f"{value:.1f} kg" if value > 1 else f"{1000 * value:.0f} g" for value in weight],
            "few_commas": [f"{value:,.0f}" if value > 9_000 else f"{value:.0f}" for value in 1_000 + 60 * price[::-1]],
            "y": (rng.random(rows) < 1 / (1 + np.exp(6 - np.log(price)))).astype(int),
        }
    ).with_columns(pl.when(pl.int_range(rows) % 300 == 7).then(pl.lit("ask")).otherwise("off").alias("off"))


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_text_is_a_number_in_files_of_either_kind_and_when_served(tmp_path, form):
    frame = table()
    path = tmp_path / f"log.{form}"
    frame.write_parquet(path) if form == "parquet" else frame.write_csv(path)
    made, _ = prepared_of(path, tmp_path)
    kinds = {column.name: column.kind for column in made.columns}
    assert kinds == dict.fromkeys(frame.columns[:-1], "numeric") | {"mass": "categorical"}
    assert any(line.startswith("mass: ") and "kg" in line for line in made.summary["unsure"])
    notes = [finding.detail for finding in made.findings]
    assert "off: 5 cells are not numbers and are treated as missing" in notes
    encoders = Encoders.load(made.directory / "encoders.json")
    plain = frame["price"].str.replace_all(r"[$,]", "").cast(pl.Float64)
    served = encoders.encode_column("price", frame["price"])
    np.testing.assert_array_equal(served, encoders.encode_column("price", plain))
    assert len(np.unique(served)) > 1_000
    german = encoders.encode_column("preis", pl.Series(["1.234,50 €", "1234,5"]))
    np.testing.assert_array_equal(german, encoders.encode_column("preis", pl.Series([1234.5, 1234.5])))
    again = Encoders.from_json(json.loads(json.dumps(encoders.to_json())))
    np.testing.assert_array_equal(again.encode_column("price", frame["price"]), served)


def test_an_ambiguous_comma_groups_digits_and_is_reported(tmp_path):
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"x": [f"{v:,}" for v in rng.integers(100, 9_999, 900)], "y": rng.integers(0, 2, 900)})
    made, _ = prepared_of(frame, tmp_path)
    [line] = made.summary["unsure"]
    assert line.startswith("x: ")
    assert "if the comma is a decimal separator" in line
    clear = frame.with_columns(x=pl.when(pl.int_range(900) == 5).then(pl.lit("1,234.5")).otherwise("x"))
    assert not prepared_of(clear, tmp_path)[0].summary["unsure"]


def test_a_served_cell_that_is_no_number_is_an_error_and_no_missing_value(tmp_path):
    made, _ = prepared_of(table().with_columns(plain=pl.int_range(1_500) % 700), tmp_path)
    encoders = Encoders.load(made.directory / "encoders.json")
    rows = table().head(3).with_columns(plain=pl.Series([1, 2, None]))
    assert encoders.encode(rows, made.schema).numeric.shape == (3, len(made.schema.fields) - 1)
    gaps = rows.with_columns(plain=pl.Series(["NA", "", None]), price=pl.lit(None))
    assert encoders.encode(gaps, made.schema).numeric.shape[0] == 3
    dates = pl.Series(["2024-05-01"] * 3).str.to_datetime()
    words = [pl.Series([None, cell, None]) for cell in ("cheap", "12,5", "5 g", "1.234,50")]
    for bad in (dates, *words):
        with pytest.raises(AuditError, match=r"input: column plain: .* is not a number") as caught:
            encoders.encode(rows.with_columns(plain=bad), made.schema)
        assert "\n" not in str(caught.value)
    with pytest.raises(AuditError, match=r"input: column price: '1\.234,50 €' \(row 1\) is not a number"):
        encoders.encode(rows.with_columns(price=pl.Series(["$1", "1.234,50 €", None])), made.schema)

"""Random files and configurations: read as Python's own readers do, or refused in one line.

``FUZZ_EXAMPLES=5000 pytest tests/faults/test_fuzzing.py`` tries more examples than the default suite.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from data_helpers import prepared_of
from feature_audit.config import AuditConfig
from feature_audit.config.files import given_values, load_config
from feature_audit.data.reading.source import open_source
from feature_audit.errors import AuditError, UsageError
from hostile import CSV, TABLE, parquet
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from polars.testing.parametric import dataframes

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
fuzz = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
TABLES = max(EXAMPLES // 6, 5)  # whole load stages
slow_fuzz = settings(fuzz, max_examples=TABLES)


@pytest.fixture(autouse=True)
def _counted(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """Record the number of examples for the table at the end."""
    record_property("cases", TABLES if "columns" in request.node.name else EXAMPLES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzzing")


def opened(data: Path, **reader: Any) -> pl.DataFrame:
    config = AuditConfig.model_validate({"data": str(data), "target": "y", "reader": reader})
    return open_source(config, str(data), data.parent / "work", lambda message: None).frame.collect()


def attempt(data: Path, **reader: Any) -> tuple[pl.DataFrame | None, str]:
    """The table, or the one-line error that refuses it."""
    try:
        return opened(data, **reader), ""
    except AuditError as error:
        return None, one_line(error)


def one_line(error: AuditError) -> str:
    assert len(str(error).splitlines()) == 1
    return str(error)


def csv_rows(text: str, sign: str) -> list[tuple[str, ...]] | None:
    """The rows after the header as Python's reader reads them; None if it fails or rows differ in length."""
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=sign, strict=True))
    except csv.Error:
        return None
    width = len(rows[0])
    held = [tuple(row or [""] * (width == 1)) for row in rows[1:] if row or width == 1]
    return held if all(len(row) == width for row in held) else None


CELLS = st.one_of(
    st.text(alphabet="ab\"',;|\n\\ 5é#", max_size=6),
    st.sampled_from(['5"', '"x"', '"x,y"', '"x\ny"', '"a""b"', '"a"b', ' "a"', '""', '"', "NA", "\ufeff", "\r\n"]),
)


@fuzz
@given(
    rows=st.integers(1, 3).flatmap(lambda n: st.lists(st.lists(CELLS, min_size=n, max_size=n), min_size=1, max_size=6)),
    sign=st.sampled_from([",", ";", "\t", "|", "^", "]"]),
    end=st.sampled_from(["\n", "\r\n"]),
    packed=st.booleans(),
)
@example(rows=[['5"', "a"], ["b", '6"']], sign=",", end="\n", packed=False)
def test_delimited_text_is_what_the_csv_module_reads(
    folder: Path, rows: list[list[str]], sign: str, end: str, packed: bool
) -> None:
    """Any cells, quoted or not: both read the same rows, or both refuse."""
    text = end.join([sign.join("abc"[: len(rows[0])]), *(sign.join(row) for row in rows), ""])
    path = folder / ("log.csv.gz" if packed else "log.csv")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    expected = csv_rows(text, sign)
    found, line = attempt(path, separator=sign, types={"*": "string"})
    assert found is None or expected is not None, "read although it is broken"
    rows_found = [tuple(cell or "" for cell in row) for row in ([] if found is None else found.rows())]
    if len(rows[0]) > 1:  # rows without cells may be skipped like empty lines
        rows_found, expected = ([row for row in some or [] if any(row)] for some in (rows_found, expected))
    assert rows_found == (expected or []), line


@fuzz
@given(
    name=st.sampled_from(
        ["log.csv", "log.tsv", "log.dat", "log.csv.gz", "log.jsonl", "log.json", "log.parquet", "log.arrow"]
    ),
    start=st.sampled_from([b"", CSV, parquet(TABLE), gzip.compress(CSV), b'{"y": 1}\n']),
    cut=st.integers(0, 400),
    junk=st.binary(max_size=300),
)
def test_random_bytes_are_a_table_or_one_line(folder: Path, name: str, start: bytes, cut: int, junk: bytes) -> None:
    path = folder / name
    path.write_bytes(start[: len(start) - cut] + junk + start[len(start) - cut // 2 :])
    _, line = attempt(path)
    assert line.startswith("data") or not line


@fuzz
@given(numbers=st.lists(st.floats(allow_nan=False) | st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=20))
def test_numbers_are_what_python_reads(folder: Path, numbers: list[float]) -> None:
    path = folder / "numbers.csv"
    path.write_text("x,y\n" + "".join(f"{number!r},0\n" for number in numbers))
    found = opened(path)["x"]
    if found.dtype == pl.String:  # whole numbers beyond 2^53 among others are kept as they are written
        assert any(isinstance(number, int) and abs(number) > 2**53 for number in numbers)
        assert found.to_list() == [repr(number) for number in numbers]
    else:
        assert [float(cell) for cell in found] == pytest.approx([float(number) for number in numbers], rel=1e-15)


DATES = ["%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%d.%m.%Y %H:%M", "%Y/%m/%d", "%Y-%m-%dT%H:%M:%SZ"]


@fuzz
@given(
    moments=st.lists(st.datetimes(datetime(1800, 1, 1), datetime(2300, 1, 1)), min_size=3, max_size=20),
    form=st.sampled_from(DATES),
)
def test_dates_are_what_python_reads(folder: Path, moments: list[datetime], form: str) -> None:
    assume(any(moment.day > 12 for moment in moments))  # else day and month would be ambiguous
    texts = [moment.strftime(form) for moment in moments]
    path = folder / "dates.csv"
    path.write_text("x,y\n" + "".join(f"{text},0\n" for text in texts))
    assert opened(path)["x"].to_list() == [datetime.strptime(text, form) for text in texts]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["auto", "1%", "x,y", "a:b"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(0, 3), inner, max_size=3)
    ),
    max_leaves=5,
)
KEYS = st.sampled_from(sorted(AuditConfig.model_fields)) | st.text(max_size=6)


@fuzz
@given(values=st.dictionaries(KEYS, VALUES, min_size=1, max_size=3))
def test_random_settings_are_checked_or_refused(folder: Path, values: dict[str, Any]) -> None:
    """An accepted configuration reads back unchanged; any other is refused in one line."""
    path = folder / "audit.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    try:
        config = load_config(str(path), {})
    except UsageError as error:
        one_line(error)
        return
    kept = yaml.safe_load(yaml.safe_dump(given_values(config)))
    assert load_config(None, {}, base=kept) == config


@fuzz
@given(text=st.text(max_size=40) | st.binary(max_size=40), key=st.sampled_from(sorted(AuditConfig.model_fields)))
def test_random_words_are_checked_or_refused(folder: Path, text: str | bytes, key: str) -> None:
    """Any file and any word of the command line."""
    path = folder / "audit.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    for files, given_words in ((str(path), {}), (None, {key: text if isinstance(text, str) else text.hex()})):
        try:
            load_config(files, given_words)
        except UsageError as error:
            one_line(error)


@slow_fuzz
@given(
    frame=dataframes(min_cols=1, max_cols=6, min_size=200, max_size=200, excluded_dtypes=[pl.Object, pl.Categorical])
)
def test_columns_of_any_type_are_features_or_left_out(folder: Path, frame: pl.DataFrame) -> None:
    """Columns of any Polars type, nested and extreme, together with an ordinary feature."""
    honest = TABLE.head(200)
    try:
        frame = frame.rename({name: f"f{place}" for place, name in enumerate(frame.columns)})
        frame.lazy().sink_parquet(folder / "probe.parquet")
    except pl.exceptions.PolarsError:
        assume(False)  # no file format supports it
    made, store = prepared_of(pl.concat([honest, frame], how="horizontal"), folder)
    assert {"x", "z"} <= set(made.schema.names)
    assert all(math.isfinite(value) for value in store.target("train"))

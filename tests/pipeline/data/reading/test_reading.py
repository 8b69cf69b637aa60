"""Every format opens as the same table, in the same order; every broken file is one line that names it."""

from __future__ import annotations

import csv
import gzip
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from data_helpers import every_kind, prepared_of
from feature_audit.config import AuditConfig
from feature_audit.data.reading.input_digest import input_digest
from feature_audit.data.reading.row_shape import shape_of
from feature_audit.data.reading.source import Source, open_source
from feature_audit.errors import AuditError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal


def opened(data: Path | str, tmp_path: Path, **keys) -> Source:
    config = AuditConfig.model_validate({"data": str(data), **keys})
    return open_source(config, str(data), tmp_path / "work", lambda message: None)


def flat(rows: int = 400) -> pl.DataFrame:
    """The columns of ``every_kind`` that a text file can contain."""
    return every_kind(rows).drop("tags", "vector").with_columns(pl.col("amount").fill_nan(None))


@pytest.mark.parametrize("form", ["parquet", "arrow", "csv", "tsv", "csv.gz", "glob", "folder", "hive"])
def test_every_format_gives_the_same_table(tmp_path, form):
    frame = flat()
    path = tmp_path / f"log.{form}"
    if form == "parquet":
        frame.write_parquet(path)
    elif form == "arrow":
        frame.write_ipc(path)
    elif form == "csv":
        frame.write_csv(path)
    elif form == "tsv":
        frame.write_csv(path, separator="\t")
    elif form == "csv.gz":
        path.write_bytes(gzip.compress(frame.write_csv().encode()))
    elif form in ("glob", "folder"):
        (tmp_path / "parts").mkdir()
        for number, part in enumerate(frame.iter_slices(150)):
            part.write_parquet(tmp_path / "parts" / f"part-{number}.parquet")
        path = tmp_path / "parts" / ("part-*.parquet" if form == "glob" else "")
    else:
        frame = frame.with_columns(day=pl.col("at").dt.date().cast(pl.String)).sort("day", maintain_order=True)
        path = tmp_path / "hive"
        frame.write_parquet(pl.PartitionBy(path, key="day"), mkdir=True)
    got = opened(path, tmp_path).frame.collect()
    if form == "hive":  # Polars reads a key that looks like a date as one
        got = got.select(frame.columns).with_columns(pl.col("day").cast(pl.String))
    integers = {name: pl.Int64 for name, dtype in frame.schema.items() if dtype.is_integer()}
    assert_frame_equal(got.cast(integers), frame.cast(integers))


def test_headerless_text_with_names(tmp_path):
    path = tmp_path / "log.txt"
    path.write_text("1\t\t2.5\tx\n0\t7\t\ty\n")
    got = opened(path, tmp_path, reader={"has_header": False, "columns": ["label", "i1", "i2", "c1"]}).frame.collect()
    assert got.to_dict(as_series=False) == {"label": [1, 0], "i1": [None, 7], "i2": [2.5, None], "c1": ["x", "y"]}


def test_row_names_written_by_pandas_and_r_are_left_out_with_a_note(tmp_path):
    frame = flat(60)
    for number, part in enumerate((frame.head(30), frame.tail(30))):
        part.to_pandas().to_csv(tmp_path / f"part-{number}.csv")
    source = opened(tmp_path / "*.csv", tmp_path)
    assert source.frame.collect_schema().names() == frame.columns
    assert len(source.frame.collect()) == 60
    assert any("no name" in note and "left out" in note for note in source.notes)


def test_text_types_are_decided_over_all_rows(tmp_path):
    """A type that appears only after thousands of rows is detected; words among numbers count as missing."""
    rows = 30_000
    path = tmp_path / "log.csv"
    table = {
        "whole": [str(i) for i in range(rows)],
        "late_float": ["3"] * (rows - 1) + ["3.5"],
        "late_word": ["3"] * (rows - 200) + ["word"] * 200,
        "na": ["NA" if i % 3 else str(i) for i in range(rows)],
        "code": ["007"] + [str(i % 50) for i in range(rows - 1)],
        "truth": ["TRUE" if i % 2 else "False" for i in range(rows)],
        "day": [f"2024-01-{i % 28 + 1:02d}" for i in range(rows)],
        "us_day": [f"{i % 12 + 1}/{i % 28 + 1}/2024 10:30" for i in range(rows)],
        "mixed_day": [f"2024-01-{i % 28 + 1:02d}" if i % 2 else "soon" for i in range(rows)],
        "words": ["NA", "None", "x"] * (rows // 3),
    }
    pl.DataFrame(table).write_csv(path)
    source = opened(path, tmp_path)
    got = source.frame.collect()
    kinds = {name: str(dtype).split("(")[0] for name, dtype in got.schema.items()}
    assert kinds == {
        "whole": "Int64", "late_float": "Float64", "late_word": "String", "na": "Int64", "code": "String",
        "truth": "Boolean", "day": "Datetime", "us_day": "Datetime", "mixed_day": "String", "words": "String",
    }  # fmt: skip
    assert got["na"].null_count() == rows - len(range(0, rows, 3))
    assert got["us_day"][0] == datetime(2024, 1, 1, 10, 30)
    assert got["words"].n_unique() == 3
    assert source.notes == ()


def test_a_few_odd_cells_count_as_missing_and_are_noted(tmp_path):
    path = tmp_path / "log.csv"
    pl.DataFrame({"x": ["oops"] + [str(i / 2) for i in range(999)], "z": ["w"] * 1000}).write_csv(path)
    source = opened(path, tmp_path)
    assert source.frame.collect()["x"].null_count() == 1
    assert source.notes == ("x: 1 of 1000 cells are not numbers and are treated as missing",)


def test_reader_types_win(tmp_path):
    path = tmp_path / "log.csv"
    pl.DataFrame({"zip": ["10115", "80331"], "when": ["2024-05-01", "x"]}).write_csv(path)
    got = opened(path, tmp_path, reader={"types": {"z*": "string", "when": "datetime"}}).frame.collect()
    assert got["zip"].to_list() == ["10115", "80331"]
    assert got["when"].to_list() == [datetime(2024, 5, 1), None]
    with pytest.raises(AuditError, match=r"reader\.types=zap: no such column; did you mean zip"):
        opened(path, tmp_path, reader={"types": {"zap": "string"}})


@pytest.mark.parametrize(
    ("name", "reader", "message"),
    [
        ("log.parquet", {"types": {"x": "string"}}, r"types=.*: parquet files are read without it; .*kinds says"),
        ("log.parquet", {"row_number": "row"}, r"row_number=row: parquet files are read without it; leave it out"),
        ("log.arrow", {"null_values": ["NA"]}, r"null_values=.*: arrow files"),
        ("log.jsonl", {"separator": ";"}, r"separator=;: json files"),
        ("remote.parquet", {"types": {"x": "string"}}, r"types=.*: files of a URI"),
        ("remote.csv", {"separator": ";"}, r"separator=;: files of a URI .* copy the files to this machine"),
        ("prepared", {"has_header": False}, r"has_header=False: the table that prepare builds"),
    ],
)
def test_a_reader_key_without_effect_is_refused(tmp_path, name, reader, message):
    frame, path = pl.DataFrame({"x": ["1", "2"]}), tmp_path / name
    data, keys = str(path), {"prepare": "package.module:function"} if name == "prepared" else {}
    if name.startswith("remote"):
        path, data = tmp_path / name, f"file://{path}"
    {"parquet": frame.write_parquet, "arrow": frame.write_ipc, "jsonl": frame.write_ndjson}.get(
        path.suffix[1:], frame.write_csv
    )(path)
    with pytest.raises(AuditError, match=r"^reader\." + message):
        opened(data, tmp_path, reader=reader, **keys)


def test_json_and_any_file_take_the_reader_keys_that_they_use(tmp_path):
    pl.DataFrame({"x": ["1|2", "3"]}).write_ndjson(tmp_path / "log.jsonl")
    pl.DataFrame({"x": ["1|2", "3"]}).write_parquet(tmp_path / "log.parquet")
    assert "row" in opened(tmp_path / "log.jsonl", tmp_path, reader={"row_number": "row"}).frame.collect_schema()
    opened(tmp_path / "log.parquet", tmp_path, reader={"list_separator": "|", "null_values": [""]})


@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ("[", "]"), ('[{"a":', "}]")])
def test_json_that_is_nested_beyond_use_is_refused_before_it_is_read(tmp_path, opening, closing):
    def nested(levels: int) -> Path:
        path = tmp_path / f"{levels}.jsonl"
        path.write_text(f'{{"y": 1, "x": {opening * levels}1{closing * levels}}}\n' * 2)
        return path

    assert opened(nested(20), tmp_path).frame.collect_schema().names() == ["y", "x"]
    with pytest.raises(AuditError, match=r"field x is nested (3|6)00 levels deep; at most 64 are read; leave it out"):
        opened(nested(300), tmp_path)


def test_quotes_byte_order_mark_and_other_encodings(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b'\xef\xbb\xbfname,n\n"a,b\nc",1\ncaf\xe9,2\n')
    got = opened(path, tmp_path).frame.collect()
    assert got.columns == ["name", "n"]
    assert got["name"][0] == "a,b\nc"
    assert got["n"].to_list() == [1, 2]


def write_atomic(folder: Path, item_rows: tuple[str, ...] = ("i1\tSome Film\tDrama War", "i2\tOther\t")) -> Path:
    (folder / "ml.inter").write_text(
        "user_id:token\titem_id:token\trating:float\tts:float\nu1\ti2\t4\t10\nu2\ti1\t2\t11\nu1\ti3\t5\t12\n"
    )
    (folder / "ml.user").write_text("user_id:token\tage:token\tw:float_seq\nu1\t24\t0.5 1\nu2\t30\t1 2\n")
    (folder / "ml.item").write_text("item_id:token\ttitle:token_seq\tgenre:token_seq\n" + "\n".join(item_rows) + "\n")
    return folder / "ml.inter"


def test_atomic_files_are_joined_in_the_order_of_the_interactions(tmp_path):
    source = opened(write_atomic(tmp_path), tmp_path)
    got = source.frame.collect()
    assert got["user_id"].to_list() == ["u1", "u2", "u1"]
    assert got["age"].to_list() == ["24", "30", "24"]
    assert got["title"].to_list() == [["Other"], ["Some", "Film"], None]
    assert got["genre"].to_list()[1] == ["Drama", "War"]
    assert got["w"].to_list()[0] == [0.5, 1.0]
    assert source.origin["age"] == "user"
    assert source.origin["genre"] == "item"
    assert source.origin["rating"] == "inter"


def test_atomic_companions_count_in_the_digest(tmp_path):
    path = write_atomic(tmp_path)
    before = input_digest(str(path))
    (tmp_path / "ml.user").write_text("user_id:token\tage:token\nu1\t25\nu2\t30\n")
    assert input_digest(str(path)) != before


def test_broken_atomic_files_name_file_and_line(tmp_path):
    path = write_atomic(tmp_path, ("i1\ta\tb", "i1\tc\td"))
    with pytest.raises(AuditError, match=r"ml\.item: item_id=i1 occurs 2 times"):
        opened(path, tmp_path)
    path = write_atomic(tmp_path, ("i1\ta\tb", "i2\tc\td\te"))
    with pytest.raises(AuditError, match=r"ml\.item: line 3 has 4 cells, but the header has 3"):
        opened(path, tmp_path)
    (tmp_path / "ml.item").write_text("item_id\ttitle\ni1\ta\n")
    with pytest.raises(AuditError, match=r"header `item_id` is not name:type"):
        opened(path, tmp_path)
    (tmp_path / "ml.item").write_text("film:token\ttitle:token\ni1\ta\n")
    with pytest.raises(AuditError, match=r"ml\.item: shares no id column with ml\.inter"):
        opened(path, tmp_path)
    (tmp_path / "ml.item").write_text("")
    with pytest.raises(AuditError, match=r"ml\.item: the file is empty"):
        opened(path, tmp_path)


def test_parquet_that_breaks_in_the_middle_is_one_line(tmp_path):
    """The footer is intact, but a page is not, which appears only when the column is read."""
    path = tmp_path / "log.parquet"
    frame = every_kind(3_000).drop("tags", "vector")
    frame.write_parquet(path, row_group_size=500, compression="uncompressed")
    content = bytearray(path.read_bytes())
    content[2_000:20_000] = b"\xff" * 18_000
    path.write_bytes(content)
    with pytest.raises(AuditError, match="data") as caught:
        prepared_of(path, tmp_path)
    assert "\n" not in str(caught.value)


def test_narrow_and_wide_numbers_of_a_glob_are_one_type(tmp_path):
    pl.DataFrame({"x": [1, 2]}, schema={"x": pl.Int64}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"x": [3]}, schema={"x": pl.Int32}).write_parquet(tmp_path / "b.parquet")
    assert opened(tmp_path / "*.parquet", tmp_path).frame.collect()["x"].to_list() == [1, 2, 3]


def test_empty_lines_are_skipped_with_a_note(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b"a,b\r\n1,x\r\n\r\n2,y\r\n\r\n")
    source = opened(path, tmp_path)
    assert source.frame.collect().rows() == [(1, "x"), (2, "y")]
    assert source.notes == ("log.csv: 2 empty lines are skipped",)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.lists(st.text(alphabet='ab",;\n 5', max_size=5), min_size=1, max_size=4), min_size=1, max_size=6),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_the_shape_of_any_written_file_is_what_the_csv_module_reads(tmp_path, rows, quoting):
    """Oracle: Python's reader, row by row."""
    path = tmp_path / "log.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream, quoting=quoting, lineterminator="\n").writerows([["x"] * 3, *rows])
    with path.open(newline="") as stream:
        reader = csv.reader(stream)
        read = [(len(row), reader.line_num) for row in reader]
    bad = next(((line, cells) for cells, line in read if cells not in (0, 3)), (None, 0))
    shape = shape_of(path, ",", 3, tmp_path / "copy.csv")
    assert (shape.bad_line, shape.cells) == bad
    if shape.bad_line is None:
        assert shape.blank == sum(cells == 0 for cells, _ in read)


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ({"word": "float"}, r"reader\.types\.word=float: 3 of 3 cells cannot be read as float; give string"),
        ({"word": "datetime"}, r"reader\.types\.word=datetime"),
    ],
)
def test_a_type_that_most_cells_do_not_have_is_refused(tmp_path, types, message):
    (tmp_path / "log.csv").write_text("word,n\nred,1\nblue,2\n,3\ngrey,4\n")
    with pytest.raises(AuditError, match=message):
        opened(tmp_path / "log.csv", tmp_path, reader={"types": types})


@pytest.mark.parametrize("seed", range(8))
def test_flipped_bytes_of_a_parquet_file_never_escape_as_anything_but_one_line(tmp_path, seed):
    """Damage anywhere: either values are read (these Parquet pages have no checksum), or the error is one line."""
    path = tmp_path / "log.parquet"
    every_kind(2_000).write_parquet(path, row_group_size=500)
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    start = int(rng.integers(4, len(content) - 200))
    content[start : start + 150] = rng.integers(0, 256, 150, dtype=np.uint8).tobytes()
    path.write_bytes(content)
    message = ""
    try:
        prepared_of(path, tmp_path, time="at", row_id="row", group="user")
    except AuditError as error:
        message = str(error)
    assert "\n" not in message


def test_text_files_must_agree(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("x,z\n1,2\n")
    with pytest.raises(AuditError, match=r"b\.csv: its header differs from that of a\.csv: z in place of y"):
        opened(tmp_path / "*.csv", tmp_path)
    (tmp_path / "b.csv").write_text("y,x\n2,1\n")
    with pytest.raises(AuditError, match=r"y in place of x; all files need the same columns in the same order$"):
        opened(tmp_path / "*.csv", tmp_path)
    (tmp_path / "b.csv").write_text("x,y\nred,2\n")
    with pytest.raises(AuditError, match=r"b\.csv: column x contains text here, but numbers in a\.csv"):
        opened(tmp_path / "*.csv", tmp_path)


def test_missing_files_and_folders_are_named(tmp_path):
    (tmp_path / "train.parquet").write_bytes(b"x")
    (tmp_path / "mlflow.db").write_bytes(b"x")
    (tmp_path / ".audit").mkdir()
    with pytest.raises(AuditError, match=r"tain\.parquet: no such file; did you mean train\.parquet\?$"):
        opened(tmp_path / "tain.parquet", tmp_path)
    with pytest.raises(AuditError, match=r"clicks\.csv: no such file; the folder has train\.parquet$"):
        opened(tmp_path / "clicks.csv", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AuditError, match=r"no such file; the folder /.*empty has no log; give another path$"):
        opened(tmp_path / "empty" / "clicks.csv", tmp_path)
    with pytest.raises(AuditError, match=r"\*\.csv: the glob matches no file"):
        opened(tmp_path / "*.csv", tmp_path)
    with pytest.raises(AuditError, match=r"no such file; there is no folder .* either"):
        opened(tmp_path / "no" / "such.parquet", tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(AuditError, match="the folder contains no Parquet, Arrow, CSV or JSON file"):
        opened(tmp_path / "folder", tmp_path)
    with pytest.raises(AuditError, match=r"s3://no-such/x\.parquet|file:///no"):
        opened("file:///no/such/x.parquet", tmp_path)


@pytest.mark.parametrize("name", ["log.parquet", "log.arrow", "log.csv"])
def test_remote_data_that_was_replaced_is_other_data(tmp_path, name):
    """Remote data are not read completely for the digest; only for Parquet and Arrow are the last rows known."""
    path, rows = tmp_path / name, flat(5_000)
    write = {".parquet": pl.DataFrame.write_parquet, ".arrow": pl.DataFrame.write_ipc, ".csv": pl.DataFrame.write_csv}

    def digest(frame):
        write[path.suffix](frame, path)
        return input_digest(path.as_uri())

    first = digest(rows)
    assert digest(rows) == first
    assert digest(rows.reverse()) != first
    assert (digest(rows.head(-1)) != first) == (path.suffix != ".csv")


def test_a_file_uri_is_read(tmp_path):
    flat(60).write_parquet(tmp_path / "log.parquet")
    assert opened(f"file://{tmp_path}/log.parquet", tmp_path).frame.collect().height == 60


def test_chunks_cover_the_table_in_order(tmp_path):
    frame = pl.DataFrame({"x": np.arange(10_000)})
    frame.write_parquet(tmp_path / "log.parquet", row_group_size=3_000)
    chunks = list(opened(tmp_path / "log.parquet", tmp_path).chunks(1_024))
    assert max(chunk.height for chunk in chunks) <= 1_024
    assert_frame_equal(pl.concat(chunks), frame)


def test_gzip_that_breaks_off(tmp_path):
    packed = gzip.compress(flat(5_000).write_csv().encode())
    (tmp_path / "log.csv.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(AuditError, match=r"log\.csv\.gz") as caught:
        opened(tmp_path / "log.csv.gz", tmp_path)
    assert "\n" not in str(caught.value)


def test_chunks_of_many_files_come_in_the_order_of_the_files(tmp_path):
    frame = pl.DataFrame({"x": np.arange(20_000), "word": np.arange(20_000).astype(str)})
    for number, part in enumerate(frame.iter_slices(1_700)):
        part.write_parquet(tmp_path / f"part-{number:02d}.parquet", row_group_size=400)
    chunks = list(opened(tmp_path / "part-*.parquet", tmp_path).chunks(999))
    assert_frame_equal(pl.concat(chunks), frame)

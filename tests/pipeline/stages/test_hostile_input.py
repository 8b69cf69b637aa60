"""Invalid and unusual files, names, values and labels: refused in one line, or read as intended.

The tests are a table: a case has the content of the file, the arguments and the expected message. Refused means exit
code 1 or 2, one line that names file, column or key, and no run left in state RUNNING.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from io import BytesIO
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from command_line import parents, tracking_in
from feature_audit.data import Prepared
from hostile import CSV, ROWS, TABLE, Case, check, parquet

THIRD = ROWS // 3
PARQUET = parquet(TABLE)


def csv(*, header: str | None = None, tail: bytes = b"", **swaps: bytes) -> bytes:
    """The table as CSV with another header, further lines, or another text for ``ams``."""
    lines = CSV.split(b"\n", 1)
    head = lines[0] if header is None else header.encode()
    return head + b"\n" + lines[1].replace(b"ams", swaps.get("ams", b"ams")) + tail


def two(first: pl.DataFrame, second: pl.DataFrame) -> object:
    def write(folder: Path) -> None:
        first.write_parquet(folder / "a.parquet")
        second.write_parquet(folder / "b.parquet")

    return write


def two_formats(folder: Path) -> None:
    TABLE.write_parquet(folder / "a.parquet")
    TABLE.write_csv(folder / "c.csv")


def texts(first: bytes, second: bytes) -> object:
    def write(folder: Path) -> None:
        (folder / "a.csv").write_bytes(first)
        (folder / "b.csv").write_bytes(second)

    return write


def hive(suffix: str) -> object:
    """The table in three folders ``week=1``, ``week=2``, ``week=3``."""

    def write(folder: Path) -> None:
        for week in range(1, 4):
            (folder / f"week={week}").mkdir()
            getattr(TABLE[week - 1 :: 3], f"write_{suffix}")(folder / f"week={week}" / f"part.{suffix}")

    return write


def zstd(content: bytes) -> bytes:
    return pa.Codec("zstd").compress(content, asbytes=True)


def arrow_stream() -> bytes:
    stream = BytesIO()
    TABLE.write_ipc_stream(stream)
    return stream.getvalue()


def broken_page() -> bytes:
    """A Parquet file with an intact footer and a corrupt page, which appears only when the rows are read."""
    content = parquet(TABLE)
    return content[:100] + b"\xff" * 2_000 + content[2_100:]


FILES = [
    Case("parquet cut", PARQUET[:-300], ("not a readable parquet file", "write it again"), file="log.parquet"),
    Case("parquet half", PARQUET[: len(PARQUET) // 2], ("log.parquet: not a readable",), file="log.parquet"),
    Case("parquet garbage", b"PAR1 nothing PAR1", ("not a readable parquet file",), file="log.parquet"),
    Case("parquet page", broken_page(), ("data", "write the file again"), file="log.parquet"),
    Case("parquet without bytes", b"", ("log.parquet: the file is empty",), file="log.parquet"),
    Case("parquet without rows", TABLE.clear(), ("log.parquet: no rows",)),
    Case("parquet without columns", pl.DataFrame(), ("no rows",)),
    Case("CSV named parquet", CSV, ("not a readable parquet file",), file="log.parquet"),
    Case("parquet named CSV", PARQUET, ("log.csv: is a Parquet file; name it .parquet",)),
    Case("arrow cut", b"ARROW1\0\0", ("not a readable arrow file",), file="log.arrow"),
    Case("zip", b"PK\x03\x04" + bytes(range(256)), ("is a zip archive", "Excel"), file="log.txt"),
    Case("Excel", b"PK\x03\x04", ("unknown format .xlsx; known: .parquet",), file="log.xlsx"),
    Case("no suffix", b"1", ("unknown format (no suffix)",), file="log"),
    Case("gzip cut", gzip.compress(CSV)[:-200], ("log.csv.gz", "write it again"), file="log.csv.gz"),
    Case("gzip with a tail", gzip.compress(CSV) + b"tail", ("log.csv.gz", "write it again"), file="log.csv.gz"),
    Case("no gzip", CSV, ("Not a gzipped file", "write it again"), file="log.csv.gz"),
    Case("gzip of nothing", gzip.compress(b""), ("the file is empty",), file="log.csv.gz"),
    Case("gzip twice", gzip.compress(gzip.compress(CSV)), ("is gzip-compressed",), file="log.csv.gz"),
    Case("gzip named CSV", gzip.compress(CSV), ("is gzip-compressed, although its name does not say so; add .gz",)),
    Case("zstd", zstd(CSV), ("300 rows, 3 features",), 0, "log.csv.zst"),
    Case("zstd with open quotes", zstd(csv(tail=b'1,2,5",1\n' * 5)), ("305 rows, 3 features",), 0, "log.CSV.ZST"),
    Case("zstd cut", zstd(CSV)[:-200], ("log.csv.zst", "write it again"), file="log.csv.zst"),
    Case("zstd named CSV", zstd(CSV), ("is compressed with zstd, although its name does not say so; add .zst",)),
    Case("JSON in zstd", zstd(TABLE.write_ndjson().encode()), ("300 rows, 3 features",), 0, "log.jsonl.zst"),
    Case("bzip2", b"BZh9", (".bz2 files are not read; unpack it, or compress it as .gz or .zst",), file="log.csv.bz2"),
    Case("arrow stream", arrow_stream(), ("log.arrow: an Arrow stream, not an Arrow file",), file="log.arrow"),
    Case("title", b"Clicks of May\n" + CSV, ("the first line is no header", "remove the lines above"),),
    Case("gzip in parts", gzip.compress(CSV[:99]) + gzip.compress(CSV[99:]), ("3 features",), 0, "log.csv.gz"),
    Case("empty", b"", ("log.csv: the file is empty",)),
    Case("empty lines", b"\n\n\n", ("log.csv: the file is empty",)),
    Case("blanks", b"  \n   \n", ("target=y: no such column; the table has ' '",)),
    Case("header only", b"x,z,c,y", ("no rows",)),
    Case("mark only", b"\xef\xbb\xbf", ("log.csv: the file is empty",)),
    Case("short row", csv(tail=b"1,2\n"), ("line 302 has 2 cells, but the header has 4; quote or fix",)),
    Case("long row", csv(tail=b"1,2,ams,1,5\n"), ("line 302 has 5 cells, but the header has 4",)),
    Case("longer rows", csv(header="x,z,c"), ("line 2 has 4 cells, but the header has 3",)),
    Case("gzipped short row", gzip.compress(csv(tail=b"1\n")), ("line 302 has 1 cells",), file="log.csv.gz"),
    Case("short row after line breaks", csv(tail=b'1,2,"a\nb",1\n"1,2",3\n'), ("line 304 has 2 cells",)),
    Case("short row of tabs", b"x\ty\n1\n", ("log.tsv: line 2 has 1 cells",), file="log.tsv"),
    Case("open quote", csv(tail=b'1,2,"ams,1\n1,2,ber,1\n'), ("line 302", "unexpected end of data", "fix its")),
    Case("text behind a quote", csv(tail=b'1,2,"am"s,1\n'), ("line 302", "expected after", "fix its quotes")),
    Case("inch marks", csv(tail=b'1,2,5",1\n2,1,6" or 7",0\n' * 5), (f"{ROWS + 10} rows, 3 features",), 0),
    Case("numbers for names", b"1.5,2,3\n4,5,6\n", ("first line contains numbers instead of names",)),
    Case("web page", b"<html><body>404</body></html>", ("no rows",)),
    Case("like deflate", CSV.replace(b",", b"^"), ("log.txt: starts with x^",), file="log.txt"),
    Case("zero bytes", bytes(1_000), ("log.csv: contains zero bytes",)),
    Case("a zero byte in a word", csv(ams=b"a\0ms"), ("3 features (2 numeric, 1 category)",), 0),
    Case("UTF-16", CSV.decode().encode("utf-16"), ("is written in UTF-16; write it as UTF-8",)),
    Case("UTF-16 without a mark", CSV.decode().encode("utf-16-le"), ("contains zero bytes, like UTF-16",)),
    Case("UTF-32", CSV.decode().encode("utf-32"), ("write it as UTF-8",)),
    Case("gzipped UTF-16", gzip.compress(CSV.decode().encode("utf-16")), ("UTF-16",), file="log.csv.gz"),
    Case("Latin-1", csv(ams=b"caf\xe9"), ("cells are not UTF-8", "write the file as UTF-8"), 0),
    Case("UTF-8 with a mark", b"\xef\xbb\xbf" + CSV, ("300 rows, 3 features (2 numeric, 1 category)",), 0),
    Case("old Mac line ends", CSV.replace(b"\n", b"\r"), ("only a carriage return; use line feeds",)),
    Case("Windows line ends", CSV.replace(b"\n", b"\r\n"), ("300 rows, 3 features",), 0),
    Case("two kinds of line ends", CSV.replace(b"\n", b"\r\n", 9), ("300 rows, 3 features",), 0),
    Case("no last line end", CSV.rstrip(), ("300 rows, 3 features",), 0),
    Case("broken JSON", b'{"y":1}\n{', ("cannot be read as JSON lines",), file="log.jsonl"),
    Case("JSON of no records", b"[1, 2]", ("cannot be read as JSON lines",), file="log.json"),
    Case("JSON without records", b"[]", ("log.json: no rows",), file="log.json"),
    Case("JSON without names", b"{}\n{}\n", ("log.jsonl: no columns",), file="log.jsonl"),
    Case("JSON in UTF-16", '{"y":1}\n'.encode("utf-16"), ("cannot be read as JSON",), file="log.jsonl"),
    Case("nothing there", lambda folder: None, ("log.csv: no such file",)),
    Case("no match", lambda folder: None, ("the glob matches no file",), file="*.csv"),
    Case("empty folder", lambda folder: (folder / "log.csv").mkdir(), ("the folder contains no",)),
    Case("link to itself", lambda folder: os.symlink(folder / "log.csv", folder / "log.csv"), ("no such file",)),
    Case("endless path", b"", ("no such file",), words=("--data", "a" * 5_000)),
    Case("a file without content", b"", ("/proc/self/mem: ",), words=("--data", "/proc/self/mem")),
    Case(
        "types that differ", two(TABLE, TABLE.with_columns(pl.col("z").cast(pl.String))),
        ("b.parquet: column z is String, but Float64 in a.parquet",), file="*.parquet",
    ),
    Case(
        "columns that differ", two(TABLE, TABLE.drop("z")), ("b.parquet: column z is only in a.parquet",),
        file="*.parquet",
    ),
    Case("a column less", texts(CSV, TABLE.drop("c", "y").write_csv().encode()), ("without c, y;",), file="*.csv"),
    Case("hive keys of text", hive("csv"), ("300 rows, 4 features (3 numeric, 1 category)",), 0, "."),
    Case("hive keys of text, by a glob", hive("csv"), ("300 rows, 4 features",), 0, "week=*/*.csv"),
    Case("hive keys of JSON", hive("ndjson"), ("300 rows, 4 features (3 numeric, 1 category)",), 0, "."),
    Case("hive keys of Parquet, by a glob", hive("parquet"), ("300 rows, 4 features (3 numeric",), 0, "**/*.parquet"),
    Case("a glob of folders", hive("parquet"), ("200 rows, 4 features",), 0, "week=[12]"),
    Case("formats that differ", two_formats, ("c.csv: a text file among parquet files",), file="*"),
]  # fmt: skip


def noise(name: str) -> pl.Expr:
    return pl.col("z").shuffle(zlib.crc32(name.encode())).alias(name)


#: Names that look like special files, globs or options.
ODD_NAMES = (
    "x*",
    "x[1]",
    "../x",
    "`x`",
    "a,b",
    'q"q',
    "$(rm)",
    "null",
    "row",
    "<script>alert(1)</script>",
    "w" * 10_000,
)
NAMES = [
    Case("header twice", csv(header="z,z,c,y"), ("column 'z' occurs twice in the header; rename one",)),
    Case("header without a name", csv(header="x,,c,y"), ("a column is named ''; give it a name",)),
    Case("trailing separator", CSV.replace(b"\n", b",\n"), ("without a name has no cells", "3 features"), 0),
    Case("blank around the label", csv(header="x,z,c, y"), ("target=y: no such column; did you mean ' y'?",)),
    Case("the label in capitals", csv(header="x,z,c,Y"), ("target=y: no such column; did you mean Y?",)),
    Case("odd names", TABLE.with_columns(noise(name) for name in ODD_NAMES), ("14 features",), 0),
    *(
        Case(f"name {name!r}", TABLE.rename({"x": name}), (says,))
        for name, says in {
            **dict.fromkeys(("a\nb", "a\tb", "\0x", "a\u2028b"), "has a control character in its name; rename it"),
            " ": "a column is named ' '",
            "^x$": "looks like a pattern",
        }.items()
    ),
    *(
        Case(f"label as {target!r}", TABLE.rename({"y": "Sold? (0/1)"}), (says,), target=target)
        for target, says in {
            "Sold": "no such column; did you mean Sold? (0/1)?",
            "sold? (0/1)": "neither a column nor an expression",
            "SOLD? (0/1)": "did you mean Sold? (0/1)?",
            'c == "ams"': "no column ams; if it is text, write it in single quotes: 'ams'",
            "Sold? (0/1) = 1": 'write a name like this one in double quotes: "Sold? (0/1)"',
        }.items()
    ),
    *(
        Case(f"label {name[:9]!r}", TABLE.rename({"y": name}), ("3 features",), 0, target=name)
        for name in ("y = 1", "a\nb", "y" * 10_000)
    ),
]  # fmt: skip


def every(*values: object) -> list[object]:
    return [values[row % len(values)] for row in range(ROWS)]


def stored(numbers: list[object], dtype: object) -> pl.Series:
    """Stored integers of dates and durations, valid or not."""
    return pl.Series(numbers, dtype=pl.Int64).cast(pl.Int32 if dtype == pl.Date else pl.Int64).cast(dtype)


OVERFLOWN = every(2**63 - 1, -(2**63) + 1, 0)
BEYOND = "200 dates outside the years 1 to 9999 are treated as missing"
NO_TYPE = "is not supported; unnest or cast it"
#: Column -> cells, and its kind as a feature (None = not a feature), or the expected message.
VALUES: dict[str, tuple[pl.Series, str | None]] = {
    "infinite": (pl.Series(every(float("inf"))), None),
    "no_numbers": (pl.Series(every(float("nan"))), None),
    "nulls": (pl.Series(every(None), dtype=pl.Float64), None),
    "nulls_of_no_type": (pl.Series(every(None), dtype=pl.Null), None),
    "some_infinite": (pl.Series(every(float("inf"), -float("inf"), 1.5, 2.5)), "numeric"),
    "huge": (pl.Series(every(1e308, -1e308, 1e-308, 0.0, 1.0)), "numeric"),
    "denormal": (pl.Series([5e-324 * (row % 7) for row in range(ROWS)]), "numeric"),
    "int64": (pl.Series(every(2**63 - 1, -(2**63), 0, 1), dtype=pl.Int64), "categorical"),
    "uint64": (pl.Series([2**64 - 1 - row % 11 for row in range(ROWS)], dtype=pl.UInt64), "categorical"),
    "int128": (pl.Series([2**100 + row % 13 for row in range(ROWS)], dtype=pl.Int128), "categorical"),
    "first_and_last_day": (pl.Series(every(date.min, date.max, date(2024, 1, 1))), "datetime"),
    "first_and_last_moment": (pl.Series(every(datetime.min, datetime.max, datetime(2024, 1, 1), None)), "datetime"),
    "days_beyond": (stored(every(2**31 - 1, -(2**31), 0), pl.Date), BEYOND),
    "microseconds_beyond": (stored(OVERFLOWN, pl.Datetime("us")), BEYOND),
    "milliseconds_beyond": (stored(OVERFLOWN, pl.Datetime("ms")), BEYOND),
    "beyond_in_a_zone": (stored(OVERFLOWN, pl.Datetime("us", "Asia/Tokyo")), BEYOND),
    "nanoseconds": (stored(every(2**63 - 1, -(2**63) + 1, 0, 1, 1), pl.Datetime("ns")), "datetime"),
    "durations": (stored(every(0, 86_400, 2**62, None), pl.Duration("us")), "numeric"),
    "times": (pl.Series([time(row % 24) for row in range(ROWS)]), "numeric"),
    "decimals": (pl.Series([Decimal("1.10") * (row % 17) for row in range(ROWS)], dtype=pl.Decimal(38, 10)), "numeric"),
    "large_decimals": (
        pl.Series(every(Decimal("-9999999999.9"), Decimal("9999999999.9"), Decimal(0)), dtype=pl.Decimal(38, 28)),
        "numeric",
    ),
    "truths": (pl.Series(every(True, False, None)), "boolean"),
    "truths_as_words": (pl.Series(every("True", "False", "yes", "y")), "categorical"),
    "lists_of_nulls": (pl.Series(every([None, None]), dtype=pl.List(pl.Int64)), None),
    "empty_lists": (pl.Series(every([]), dtype=pl.List(pl.Int64)), None),
    "lists_of_no_numbers": (pl.Series(every([float("inf"), float("nan")])), None),
    "lists_of_lists": (pl.Series(every([[1, 2], [3]])), NO_TYPE),
    "lists_of_records": (pl.Series(every([{"a": 1}])), NO_TYPE),
    "long_lists": (pl.Series([list(range(row)) for row in range(ROWS)]), "multi"),
    "records": (pl.Series(every({"a": 1, "b": {"c": "u"}})), NO_TYPE),
    "arrays_of_no_numbers": (pl.Series(every([float("inf"), 2.0]), dtype=pl.Array(pl.Float64, 2)), None),
    "bytes": (pl.Series(every(b"\xff\x00", b"a")), NO_TYPE),
    "long_words": (pl.Series(every("w" * 100_000, "v", "u", "t", "s")), "categorical"),
    "odd_words": (pl.Series(every("a\0b", "a\nb", "<b>", "😀", " ", "=1+1")), "categorical"),
    "numbers_as_words": (pl.Series(every("inf", "1e999", "nan", "1", "2", "3", "4")), "numeric"),
    "days_of_no_calendar": (pl.Series(every("2024-02-30", "2024-01-01", "2024-03-01", "2024-04-31")), "categorical"),
}  # fmt: skip


def label(*values: object, dtype: object = None) -> pl.DataFrame:
    return TABLE.with_columns(y=pl.Series(every(*values), dtype=dtype, strict=False))


NO_LABEL = "cannot be a label; give a number, a boolean or a category"
REGRESSION = ("--task", "regression")
LABELS = [
    Case("all null", label(None, dtype=pl.Int64), ("target=y: 300 of 300 rows have no label", "drop_rows=no_label")),
    Case("all null, of no type", label(None), ("target=y: 300 of 300 rows have no label",)),
    Case("no number", label(float("nan")), ("target=y: 300 of 300 rows have no label",)),
    Case("some null", label(1, None), ("target=y: 150 of 300 rows have no label (first: row 1)",)),
    Case("one class", label(1), ("target=y: every row is 1", "at least two values")),
    Case("one class but for nulls", label(1, None), ("every row is 1; give",), words=("--drop_rows", "no_label")),
    Case("one positive", TABLE.with_columns(y=(pl.int_range(pl.len()) == 0).cast(int)), ("every row of the train",)),
    Case("three classes", label(0, 1, 2), ("3 values (0, 1, 2), but task=binary",), words=("--task", "binary")),
    Case("as many classes as rows", label(*(f"c{row}" for row in range(ROWS))), ("classes with fewer than 2",)),
    Case("infinite", label(float("inf"), 1.0, 2.0), ("target=y: inf is not a finite number",)),
    Case("infinite, of two", label(float("inf"), 1.0), ("target=y: inf is not a finite number",)),
    Case("infinite number", label(float("inf"), 1.0, 2.0), ("inf is not a finite",), words=REGRESSION),
    Case("huge", label(1e308, -1e308, 0.0), ("target=y: numbers from -1e+308 to 1e+308",), words=REGRESSION),
    Case("tiny", label(1e-320, 0.0, 2e-320), ("target=y: numbers from 0 to", "another unit"), words=REGRESSION),
    Case("far from zero", label(1.7e9, 1.7e9 + 1, 1.7e9 + 2), ("indistinguishable in 32-bit",), words=REGRESSION),
    Case("int64", label(2**63 - 1, -(2**63), 0), ("give an expression with another unit or offset",), words=REGRESSION),
    Case("constant number", label(2.5), ("every row is 2.5; give a label with at least two values",), words=REGRESSION),
    Case("words as numbers", label("a", "b"), ("'a' is not a finite number",), words=REGRESSION),
    Case("a list", label([1]), (NO_LABEL,)),
    Case("a record", label({"a": 1}), (NO_LABEL,)),
    Case("a day", label(date(2024, 1, 1), date(2024, 1, 2)), (NO_LABEL,)),
    Case("a duration", label(timedelta(1), timedelta(2)), (NO_LABEL,)),
    Case("bytes", label(b"a", b"b"), (NO_LABEL,)),
    Case("decimals", label(Decimal(0), Decimal(1)), ("50 % positive",), 0),
    Case("words of digits", label("0", "1", "1"), ("66.7 % positive",), 0),
    Case("words of truth", label("TRUE", "false", "false"), ("33.3 % positive",), 0),
    Case("an empty word", label("", "x", "z"), ("3 classes ('', x, z)",), 0),
    Case("one row", TABLE.head(1), ("every row is",)),
    Case("few rows", TABLE.head(10), ("the train split has 7 of 10 rows, at least 50 are needed",)),
    Case("no features", TABLE.select("y"), ("no column is left to use as a feature",)),
    Case("the same row again and again", pl.concat([TABLE.head(1), TABLE[3:4]] * 150), ("usable feature",)),
]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a tracking store; at the end, no run may be in state RUNNING."""
    with tracking_in(tmp_path_factory.mktemp("hostile")) as folder:
        yield folder
        assert {run.info.status for run in parents()} <= {"FINISHED", "FAILED"}


@pytest.mark.parametrize("case", FILES, ids=lambda case: case.name)
def test_files(home: Path, capfd: pytest.CaptureFixture[str], case: Case) -> None:
    check(case, home, capfd)


@pytest.mark.parametrize("case", NAMES, ids=lambda case: case.name)
def test_names(home: Path, capfd: pytest.CaptureFixture[str], case: Case) -> None:
    check(case, home, capfd)


def test_values(home: Path, capfd: pytest.CaptureFixture[str], record_property: Callable[[str, object], None]) -> None:
    """No cell of a feature ends an audit: it is read, counts as missing, or its column is excluded by name.

    The cells are shuffled column by column, because equal columns would be duplicates.
    """
    record_property("cases", len(VALUES))
    columns = [cells.shuffle(number).alias(name) for number, (name, (cells, _)) in enumerate(VALUES.items())]
    words = ("--work_dir", "values", "--encoding", "{min_count: 2}")
    check(Case("values", TABLE.with_columns(columns), ("300 rows",), 0, words=words), home, capfd)
    [folder] = (place for place in (home / "values" / "load").iterdir() if place.is_dir())
    prepared = Prepared.load(folder)
    kinds = {column.name: column.kind for column in prepared.columns}
    features = {name: kinds[name] if name in prepared.schema.names else None for name in VALUES}
    details = [finding.detail for finding in prepared.findings]
    messages = {name: [line for line in details if line.startswith(name)] for name in VALUES}
    messages |= {name: [*messages[name], *(f.detail for f in prepared.findings if f.column == name)] for name in VALUES}
    wanted = {name: says for name, (_, says) in VALUES.items()}
    expected = {name: says for name, says in wanted.items() if says and " " in says}
    assert {name: features[name] for name in VALUES if name not in expected} == {
        name: kind for name, kind in wanted.items() if name not in expected
    }
    assert [name for name, says in expected.items() if not any(says in line for line in messages[name])] == []


@pytest.mark.parametrize("case", LABELS, ids=lambda case: case.name)
def test_labels(home: Path, capfd: pytest.CaptureFixture[str], case: Case) -> None:
    check(case, home, capfd)

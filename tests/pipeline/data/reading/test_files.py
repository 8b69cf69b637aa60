"""Which files are read: formats, separators, literal names, hidden files, versioned tables, splits."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from data_helpers import prepared_of
from feature_audit.config import AuditConfig
from feature_audit.config.files import load_config
from feature_audit.data.reading.input_digest import input_digest
from feature_audit.data.reading.source import Source, open_source
from feature_audit.errors import AuditError, UsageError

TABLE = {"u": [1, 1, 2], "name": ["Café (x)", None, "b"], "t": [10, 20, 30]}


def opened(data: Path | str, tmp_path: Path, **keys: object) -> Source:
    config = AuditConfig.model_validate({"data": str(data), **keys})
    assert input_digest(str(data))
    return open_source(config, str(data), tmp_path / "work", lambda message: None)


def text_of(sign: str, end: str = "\n") -> str:
    rows = [list(TABLE), *zip(*TABLE.values(), strict=True)]
    return "".join(sign.join("" if cell is None else str(cell) for cell in row) + end for row in rows)


@pytest.mark.parametrize(
    ("name", "sign", "noted"),
    [
        ("log.dat", "::", True),
        ("log.dat", "|", True),
        ("log.txt", ";", True),
        ("log.csv", ";", True),
        ("log.csv", "\t", False),
        ("log.txt", "\t", False),
        ("log.dat.gz", "::", True),
    ],
)
def test_a_separator_that_is_not_given_is_found(tmp_path, name: str, sign: str, noted: bool) -> None:
    raw = text_of(sign).encode()
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    source = opened(tmp_path / name, tmp_path)
    assert source.frame.collect().to_dict(as_series=False) == TABLE
    assert any("set reader.separator to change this" in note for note in source.notes) == noted


@pytest.mark.parametrize("sign", ["\t|\t", "||", "::", "<>", "¦", "\x01"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_any_given_separator_is_read(tmp_path, sign: str, end: str) -> None:
    (tmp_path / "log.txt").write_text(text_of(sign, end), newline="")
    assert (
        opened(tmp_path / "log.txt", tmp_path, reader={"separator": sign}).frame.collect().to_dict(as_series=False)
        == TABLE
    )


def test_movielens_as_it_is_packed(tmp_path) -> None:
    path = tmp_path / "ratings.dat"
    path.write_text("1::1193::5::978300760\n1::661::3::978302109\n")
    with pytest.raises(
        AuditError, match=r"the first line contains numbers instead of names \(1, 1193.*reader\.has_header: false"
    ):
        opened(path, tmp_path)
    reader = {"has_header": False, "columns": ["user", "film", "stars", "at"]}
    got = opened(path, tmp_path, reader=reader).frame.collect()
    assert got.rows() == [(1, 1193, 5, 978300760), (1, 661, 3, 978302109)]
    path.write_text("1::1193::5::978300760\n1::661::3\n")
    with pytest.raises(AuditError, match=r"ratings\.dat: line 2 has 3 cells, but the header has 4"):
        opened(path, tmp_path, reader=reader)


@pytest.mark.parametrize("name", ["log.jsonl", "log.ndjson", "log.jsonl.gz", "log.json"])
def test_json_lines(tmp_path, name: str) -> None:
    """Types are inferred from all rows; fields may be missing."""
    raw = "".join(f'{{"n": {number}, "tags": ["a"]}}\n' for number in range(2_000)) + '{"n": 0.5, "late": "x"}\n'
    (tmp_path / name).write_bytes(gzip.compress(raw.encode()) if name.endswith(".gz") else raw.encode())
    got = opened(tmp_path / name, tmp_path).frame.collect()
    assert got.schema == {"n": pl.Float64, "tags": pl.List(pl.String), "late": pl.String}
    assert got["n"].to_list()[-2:] == [1999.0, 0.5]


def test_json_arrays_and_broken_json(tmp_path) -> None:
    (tmp_path / "log.json").write_text(' [{"a": 1}, {"a": 2}]')
    assert opened(tmp_path / "log.json", tmp_path).frame.collect()["a"].to_list() == [1, 2]
    for content in ('{"a": 1}\n{"a": \n', '{"a": 1}\n[2]\n'):
        (tmp_path / "bad.jsonl").write_text(content)
        with pytest.raises(AuditError, match=r"bad\.jsonl: cannot be read as JSON lines") as caught:
            opened(tmp_path / "bad.jsonl", tmp_path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["log.xlsx", "part-00000", "log.avro"])
def test_an_unknown_format_says_what_to_do(tmp_path, name: str) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(AuditError, match=r"unknown format .*known: .*\.jsonl.*reader\.separator.*prepare="):
        opened(tmp_path / name, tmp_path)


@pytest.mark.parametrize("suffix", ["parquet", "csv", "arrow", "feather", "jsonl"])
def test_a_literal_name_is_no_glob(tmp_path, suffix: str) -> None:
    write = {"parquet": "write_parquet", "csv": "write_csv", "jsonl": "write_ndjson"}.get(suffix, "write_ipc")
    for name, value in (("log[1]", 7), ("log1", 8)):
        getattr(pl.DataFrame({"a": [value]}), write)(tmp_path / f"{name}.{suffix}")
    assert opened(tmp_path / f"log[1].{suffix}", tmp_path).frame.collect()["a"].to_list() == [7]
    (tmp_path / f"log[1].{suffix}").unlink()
    assert opened(tmp_path / f"log[1].{suffix}", tmp_path).frame.collect()["a"].to_list() == [8]


def test_hidden_files_do_not_count_and_linked_folders_do(tmp_path) -> None:
    folder = tmp_path / "log"
    for place in ("", "_temporary/0", ".ipynb_checkpoints", "day/.tmp", "day"):
        (folder / place).mkdir(parents=True, exist_ok=True)
        pl.DataFrame({"a": [place.count("day")]}).write_parquet(folder / place / "part.parquet")
    (folder / "_metadata.parquet").write_bytes(b"x")
    for data in (folder, folder / "**" / "*.parquet"):
        assert sorted(opened(data, tmp_path).frame.collect()["a"].to_list()) == [0, 1]
    around = tmp_path / "around"
    around.mkdir()
    os.symlink(folder, around / "link")
    os.symlink(around, around / "loop")
    assert opened(around, tmp_path).frame.collect().height == 2


@pytest.mark.parametrize(
    ("mark", "what"),
    [
        ("_delta_log/0.json", "a Delta table"),
        ("metadata/v1.metadata.json", "an Iceberg table"),
        (".hoodie/x", "a Hudi table"),
    ],
)
def test_tables_with_versions_are_refused(tmp_path, mark: str, what: str) -> None:
    table = tmp_path / "table"
    (table / mark).parent.mkdir(parents=True)
    (table / mark).write_text("{}")
    (table / "data").mkdir()
    pl.DataFrame({"a": [1]}).write_parquet(table / "data" / "a.parquet")
    for data in (table, table / "data", table / "data" / "*.parquet"):
        with pytest.raises(AuditError, match=f"{what}, whose folder also contains old versions.*prepare="):
            opened(data, tmp_path)


def write_splits(folder: Path, suffix: str) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"x": rng.normal(size=600), "y": rng.integers(0, 2, 600)})
    for name, first, count in (("train", 0, 400), ("valid", 400, 80), ("test", 480, 120)):
        part = frame[first : first + count]
        path = folder / f"{name}_sample.{suffix}"
        part.write_parquet(path) if suffix == "parquet" else part.write_csv(
            path
        ) if suffix == "csv" else part.write_ndjson(path)
    return frame


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_separate_files_give_the_splits(tmp_path, suffix: str) -> None:
    frame = write_splits(tmp_path, suffix)
    names = {"train": "train*", "validation": "valid_*", "test": str(tmp_path / f"test_sample.{suffix}")}
    made, store = prepared_of(tmp_path / f"*_sample.{suffix}", tmp_path / "a", split_files=names)
    assert made.rows == {"train": 400, "validation": 80, "test": 120}
    assert store.target("test").tolist() == frame["y"][480:].to_list()
    assert made.schema.names == ("x",)
    made, _ = prepared_of(tmp_path / f"*_sample.{suffix}", tmp_path / "b")
    question = next(finding.detail for finding in made.findings if "look like splits" in finding.detail)
    assert (
        f"split_files: {{test: test_sample.{suffix}, train: train_sample.{suffix}, validation: valid_sample.{suffix}}}"
        in question
    )


def test_split_files_alone_name_the_data(tmp_path) -> None:
    write_splits(tmp_path, "csv")
    (tmp_path / "audit.yaml").write_text(
        f"target: y\nsplit_files:\n  train: {tmp_path}/train_sample.csv\n  test: {tmp_path}/test*.csv\n"
    )
    config = load_config(str(tmp_path / "audit.yaml"), {})
    source = open_source(config, config.data, tmp_path / "work", lambda message: None)
    assert source.frame.collect()["split_file"].value_counts(sort=True).rows() == [("train", 400), ("test", 120)]


@pytest.mark.parametrize(
    ("split_files", "message"),
    [
        ({"train": "train*", "test": "test*"}, r"split_files: valid_sample\.csv is not in any split"),
        (
            {"train": "tran*", "test": "test*"},
            r"split_files\.train=tran\*: matches none of the files \(test_sample\.csv, ",
        ),
        (
            {"train": "*", "test": "test*"},
            r"split_files\.test=test\*: .*test_sample\.csv is also in split_files\.train",
        ),
    ],
)
def test_splits_that_do_not_fit_the_files_are_one_line(tmp_path, split_files: dict[str, str], message: str) -> None:
    write_splits(tmp_path, "csv")
    with pytest.raises(AuditError, match=message):
        opened(tmp_path / "*_sample.csv", tmp_path, split_files=split_files)


def test_split_files_are_checked_before_the_log_is_opened() -> None:
    for keys, message in (
        ({"split_files": {"train": "a"}}, "give the files of train and test"),
        (
            {"split_files": {"train": "a", "test": "b"}, "split": "random"},
            "split=random: split_files already defines the split",
        ),
        ({"split_files": {"train": "a", "tests": "b"}}, r"split_files\.tests"),
    ):
        with pytest.raises(UsageError, match=message):
            load_config(None, keys)

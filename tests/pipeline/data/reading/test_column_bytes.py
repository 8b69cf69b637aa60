"""Bytes per row of each column, against the files themselves."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from data_helpers import every_kind, prepared_of
from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, prepare

pytestmark = pytest.mark.usefixtures("without_expectations")


def stored(made: Prepared) -> dict[str, float]:
    return {one.name: one.bytes_per_row for one in made.columns if one.bytes_per_row is not None}


def test_parquet_bytes_are_those_of_its_column_chunks(tmp_path: Path) -> None:
    frame = every_kind()
    made, _ = prepared_of(frame, tmp_path)
    metadata = pq.read_metadata(tmp_path / "log.parquet")
    chunks = [
        metadata.row_group(g).column(c) for g in range(metadata.num_row_groups) for c in range(len(frame.columns))
    ]
    for name, column in ((one.name, one) for one in made.columns):
        mine = [chunk for chunk in chunks if chunk.path_in_schema.partition(".")[0] == name]
        assert column.bytes_per_row == pytest.approx(sum(one.total_compressed_size for one in mine) / frame.height)
        assert column.plain_bytes_per_row == pytest.approx(
            sum(one.total_uncompressed_size for one in mine) / frame.height
        )
    assert {"tags", "vector"} <= set(stored(made)), "nested columns belong to their column"
    assert "statistics of the Parquet files" in made.summary["bytes_from"]


def test_bytes_of_hive_files_add_up_and_keys_have_none(tmp_path: Path) -> None:
    frame = every_kind().select("amount", "shop_id", "y").with_columns(region=pl.Series(["a", "b", "c"] * 500))
    for (region,), part in frame.group_by("region", maintain_order=True):
        (tmp_path / "log" / f"region={region}").mkdir(parents=True)
        part.drop("region").write_parquet(tmp_path / "log" / f"region={region}" / "part.parquet")
    made, _ = prepared_of(tmp_path / "log", tmp_path)
    files = list((tmp_path / "log").rglob("*.parquet"))
    amount = sum(pq.read_metadata(file).row_group(0).column(0).total_compressed_size for file in files)
    assert stored(made)["amount"] == pytest.approx(amount / frame.height)
    assert stored(made)["region"] == 0


def test_a_name_with_dots_is_one_column(tmp_path: Path) -> None:
    frame = every_kind().select(pl.col("tags").alias("user.tags"), pl.col("amount").alias("user"), "y")
    made, _ = prepared_of(frame, tmp_path)
    plain, _ = prepared_of(frame.rename({"user.tags": "tags"}), tmp_path)
    assert stored(made)["user.tags"] == pytest.approx(stored(plain)["tags"])


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_text_byte_estimates_add_up_to_the_file(tmp_path: Path, suffix: str) -> None:
    frame = every_kind().select("amount", "count", "colour", "shop_id", "y")
    path = tmp_path / f"log.{suffix}"
    frame.write_ndjson(path) if suffix == "jsonl" else frame.write_csv(path, separator="\t" if suffix == "tsv" else ",")
    made, _ = prepared_of(path, tmp_path)
    label = 8 if suffix == "jsonl" else 2  # the cell of the label, separators and the line end
    whole = path.stat().st_size / frame.height
    assert sum(stored(made).values()) + label == pytest.approx(whole, rel=0.12)
    assert "estimated" in made.summary["bytes_from"]


def test_arrow_bytes_are_those_of_the_cells_in_memory(tmp_path: Path) -> None:
    frame = every_kind().select("amount", "count", "y")
    frame.write_ipc(tmp_path / "log.arrow")
    made, _ = prepared_of(tmp_path / "log.arrow", tmp_path)
    assert stored(made)["amount"] == pytest.approx(8, rel=0.05)
    assert "memory size of the cells" in made.summary["bytes_from"]


def test_remote_parquet_is_left_out(tmp_path: Path) -> None:
    every_kind().write_parquet(tmp_path / "log.parquet")
    config = AuditConfig(data=(tmp_path / "log.parquet").as_uri(), target="y")
    made = prepare(config, tmp_path / "store")
    assert stored(made) == {}
    assert "bytes_from" not in made.summary


def test_a_type_that_the_statistics_reader_does_not_know_leaves_them_out(tmp_path: Path) -> None:
    frame = every_kind().select("amount", "y", pl.col("count").cast(pl.Int128))
    made, _ = prepared_of(frame, tmp_path)
    assert stored(made) == {}

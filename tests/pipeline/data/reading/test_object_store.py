"""Logs in an object store are read as the same tables as from a disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from data_helpers import every_kind
from feature_audit.config import AuditConfig
from feature_audit.data import Store, data_digest, prepare
from feature_audit.errors import AuditError
from object_store import object_store


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("s3")
    logs = folder / "logs" / "clicks"
    logs.mkdir(parents=True)
    table = every_kind(600).drop("tags", "vector", "seen", "at")
    table[:250].write_parquet(logs / "part_0.parquet")
    table[250:].write_parquet(logs / "part_1.parquet")
    (folder / "logs" / "text").mkdir()
    table.write_csv(folder / "logs" / "text" / "clicks.csv")
    table.write_ndjson(folder / "logs" / "text" / "clicks.jsonl")
    with object_store(folder):
        yield folder


@pytest.mark.parametrize(
    "key",
    [
        "clicks/*.parquet",
        pytest.param("clicks/", marks=pytest.mark.slow),
        pytest.param("text/clicks.csv", marks=pytest.mark.slow),
        "text/clicks.jsonl",
    ],
)
def test_the_table_is_that_of_the_same_files_on_a_disk(bucket: Path, tmp_path: Path, key: str) -> None:
    remote, local = (
        prepare(AuditConfig(data=f"{place}{key}", target="y", group="user"), tmp_path / name)
        for name, place in (("remote", "s3://logs/"), ("local", f"{bucket}/logs/"))
    )
    assert remote.rows == local.rows
    assert remote.schema == local.schema
    for split in ("train", "validation", "test"):
        ours, theirs = (Store.open(made.directory).target(split) for made in (remote, local))
        np.testing.assert_array_equal(ours, theirs)


def test_a_log_that_has_grown_is_another_one(bucket: Path) -> None:
    config = AuditConfig(data="s3://logs/clicks/*.parquet", target="y")
    before = data_digest(config, config.data)
    assert data_digest(config, config.data) == before
    added = bucket / "logs" / "clicks" / "part_2.parquet"
    pl.read_parquet(bucket / "logs" / "clicks" / "part_1.parquet").write_parquet(added)
    try:
        assert data_digest(config, config.data) != before
    finally:
        added.unlink()


@pytest.mark.parametrize("key", ["nothing.parquet", "nothing/*.parquet", "nothing/"])
def test_what_is_not_there_is_one_line(bucket: Path, tmp_path: Path, key: str) -> None:
    config = AuditConfig(data=f"s3://logs/{key}", target="y")
    with pytest.raises(AuditError, match=r"^data=s3://logs/nothing") as refused:
        prepare(config, tmp_path)
    assert "\n" not in str(refused.value)

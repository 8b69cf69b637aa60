"""The loader benchmark measures what an audit does: the same store, and the same rows for any length of the file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from feature_audit.config import AuditConfig
from feature_audit.data import Store, prepare
from polars.testing import assert_frame_equal

pytestmark = pytest.mark.slow  # of a benchmark, no part of the program

BENCHMARK = Path(__file__).parents[4] / "benchmarks" / "loader"


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The benchmark's modules, imported as its command does."""
    import importlib

    monkeypatch.syspath_prepend(str(BENCHMARK))
    names = ("generate", "model", "store", "contenders")
    yield {name: importlib.import_module(name) for name in names}
    for name in names:
        sys.modules.pop(name, None)


def test_the_log_has_fifty_columns_and_its_start_does_not_depend_on_its_length(loader: Any, tmp_path: Path) -> None:
    short = loader["generate"].write(tmp_path / "short.parquet", 500)
    loader["generate"].PART = 500
    long = loader["generate"].write(tmp_path / "long.parquet", 1_200)
    assert pl.scan_parquet(long).select(pl.len()).collect().item() == 1_200
    assert len(pl.read_parquet_schema(short)) == 50
    assert_frame_equal(pl.read_parquet(short), pl.read_parquet(long).head(500))


def test_the_store_without_checks_is_the_audits_store(loader: Any, tmp_path: Path) -> None:
    log = loader["generate"].write(tmp_path / "log.parquet", 3_000)
    config = AuditConfig(data=str(log), target="clicked", time="time", group="user")
    prepare(config, tmp_path / "audit")
    loader["store"].encode_only(config, tmp_path / "bare")
    audit, bare = Store.open(tmp_path / "audit"), Store.open(tmp_path / "bare")
    assert audit.schema == bare.schema
    for split in ("train", "validation", "test"):
        for one in sorted((tmp_path / "audit" / split).glob("*.bin")):
            assert one.read_bytes() == (tmp_path / "bare" / split / one.name).read_bytes(), one


@pytest.mark.parametrize("name", ["ours", "dataloader"])
def test_contenders_train_on_the_same_share(loader: Any, tmp_path: Path, name: str) -> None:
    log = loader["generate"].write(tmp_path / "log.parquet", 3_000)
    clock = loader["contenders"].Clock()
    trained = loader["contenders"].CONTENDERS[name](log, tmp_path, clock)
    assert trained % 2_040 == 0  # ours makes several passes over so small a table
    assert {"imports", "read and encode", "epoch", "batches only"} == set(clock.parts)

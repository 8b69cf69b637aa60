"""The decision table: what a later command reuses from an earlier one."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from click_log import make_log
from command_line import artifact, feature_audit, newest_run, tracking_in
from feature_audit.orchestration import decisions

COLUMNS = ("impression", "price_gap", "price_gap_copy", "taste", "device", "noise_00", "noise_cat_0", "clicked")
WORDS = (
    "--data", "log.parquet", "--target", "clicked", "--row_id", "impression", "--model", "mlp", "--profile", "quick",
    "--threads", "1", "--boosting_reference", "false", "--k", "2", "--k_min", "2",
)  # fmt: skip


def table() -> pl.DataFrame:
    """The decision table of a ``select``."""
    assert feature_audit("select", *WORDS) == 0
    return pl.read_parquet(artifact(newest_run(), "selection/ranking.parquet"))


def test_associations_are_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tracking_in(tmp_path):
        make_log(1_000).select(COLUMNS).write_parquet("log.parquet")
        first = table()
        assert first["carried_by"].drop_nulls().len() + first["reason"].str.starts_with("no signal").sum() > 0
        with monkeypatch.context() as patch:
            patch.setattr(decisions, "proxies", None)
            assert table().equals(first)
        [kept] = tmp_path.glob(".audit/select/*/associations_2.json")
        kept.write_text(kept.read_text(encoding="utf-8")[:40], encoding="utf-8")
        assert table().equals(first), "what is damaged is measured again"

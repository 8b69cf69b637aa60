"""``rows``: the selection reads a sample of the users, everything else all rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click_log import SIGNALS, make_log
from command_line import feature_audit, newest_audit, tracking_in
from feature_audit.config.question_keys import read_rows
from feature_audit.data import Store
from mlflow import MlflowClient

BASE = ["--data", "log.parquet", "--target", "clicked", "--row_id", "impression", "--time", "ts"]
BASE += ["--group", "user_id", "--margin", "0.01", "--k", "8"]
QUICK = ["--model", "mlp", "--profile", "quick", "--threads", "1"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("rows")
    make_log(9_000).write_parquet(folder / "log.parquet")
    with tracking_in(folder):
        yield folder


@pytest.mark.parametrize("value", ["0", "-5", "-10%", "0%", "101%", "1", "1.5", "many", "10 percent", "nan", "inf"])
def test_what_is_no_number_of_rows_is_refused_before_the_log_is_opened(
    home: Path, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert feature_audit("run", *BASE, "--data", "nowhere.parquet", "--rows", value) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert f"rows={value}" in line.replace("'", "")
    assert "give a number of rows above 1, or a share of them such as 10% or .1" in line


@pytest.mark.parametrize(
    ("given", "read"),
    [("10%", 0.1), (".1", 0.1), (0.1, 0.1), ("2000", 2000), (2e6, 2_000_000), ("1_000", 1000), ("100%", None)],
)
def test_numbers_and_shares(given: object, read: float | None) -> None:
    assert read_rows(given) == read


@pytest.mark.slow
def test_an_audit_selects_on_a_sample_and_judges_on_all(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[str, str, int | None]] = []
    batches = Store.batches

    def watched(store: Store, split: Any, size: int, **given: Any) -> Any:
        schema = given.get("schema")
        drawn.append((store.directory.name, split, None if schema is None else len(schema.fields)))
        return batches(store, split, size, **given)

    monkeypatch.setattr(Store, "batches", watched)
    assert feature_audit("run", *BASE, *QUICK, "--rows", "40%") == 0
    shown = capsys.readouterr()
    assert "the selection reads 40% of the rows, which saves" in shown.err
    assert "1,800 test rows" in shown.out
    assert {folder for folder, _, fields in drawn if fields is None} == {"sample"}  # trials and curve name no schema
    retrainings = {folder for folder, _, fields in drawn if fields is not None and fields < 20}
    assert retrainings
    assert "sample" not in retrainings
    run = newest_audit()
    assert run.data.tags["audit.verdict"] == "pass"
    folder = Path(MlflowClient().download_artifacts(run.info.run_id, "", str(home / "artifacts")))
    report = json.loads((folder / "report/report.json").read_text())
    assert "of 7,200 train and validation rows (sampled by user_id)" in report["k_reason"]
    kept = (folder / "recommendation/kept_features.txt").read_text().split()
    assert sum(any(name.startswith(signal) for signal in SIGNALS) for name in kept) >= 3
    assert not list((home / ".audit").rglob("sample"))


@pytest.mark.slow
def test_more_rows_than_there_are_is_all_of_them(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--rows", "90000"]):
        assert feature_audit("select", *BASE, *QUICK, *words) == 0
    lines = capsys.readouterr().err.splitlines()
    assert "select: rows=90000 has no effect: train and validation have only 7,200 rows" in lines
    reasons = [line for line in lines if line.startswith("select: K = ") and "is the smallest" in line]
    assert len(reasons) == 2
    assert reasons[0] == reasons[1]
    assert "sampled" not in reasons[0]


@pytest.mark.slow
def test_a_sample_that_is_too_small_is_refused_before_the_full_training(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert feature_audit("run", *BASE, *QUICK, "--work_dir", "small", "--rows", "5") == 1
    output = capsys.readouterr().err
    assert "rows: the sample has" in output
    assert "give more rows" in output
    assert "baseline: running" not in output

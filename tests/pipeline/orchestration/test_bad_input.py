"""Invalid and unusual logs through the command line: one line that names file and column, or a finding."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from click_log import make_log
from command_line import artifact, feature_audit, newest_audit, newest_run, tracking_in
from mlflow import MlflowClient

KEYS = ["--target", "clicked", "--row_id", "impression", "--time", "ts", "--group", "user_id", "--threads", "1"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a tracking store."""
    with tracking_in(tmp_path_factory.mktemp("bad_input")) as folder:
        yield folder


def write(case: str, folder: Path) -> str:
    """Write the files of the case; returns the value of ``--data``."""
    log = make_log(500)
    folder.mkdir()
    data = folder / "a.parquet"
    log.write_parquet(data)
    match case:
        case "time":
            log.with_columns(ts=pl.when(pl.col("impression") % 10 != 3).then("ts")).write_parquet(data)
        case "ids":
            log.with_columns(impression=pl.col("impression") // 2).write_parquet(data)
    return str(data)


@pytest.mark.parametrize(
    ("case", "words", "says"),
    [
        ("time", [], ["time=ts: 50 of 500 rows have no time"]),
        ("ids", [], ["row_id=impression: 250 duplicate ids"]),
        ("kinds", ["--config", "kinds.yaml"], ["kinds.device=numeric: 100% of its cells are not numbers", "'phone'"]),
    ],
)
def test_a_broken_log_is_one_line_and_exit_1(
    home: Path, capfd: pytest.CaptureFixture[str], case: str, words: list[str], says: list[str]
) -> None:
    (home / "kinds.yaml").write_text("kinds: {device: numeric}\n")
    data = write(case, home / case)
    driver = MlflowClient().create_run("0")
    capfd.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "MLFLOW_RUN_ID", driver.info.run_id)
        code = feature_audit("run", "--data", data, *KEYS, *words)
    written = capfd.readouterr().err
    assert code == 1, written
    lines = [line for line in written.splitlines() if "error:" in line]
    assert len(lines) == 1
    for word in says:
        assert word in lines[0]
    assert "Traceback" not in written
    run = MlflowClient().get_run(driver.info.run_id)
    assert run.data.tags["audit.verdict"] == "error"


def test_credentials_of_an_address_are_shown_nowhere(
    home: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table is read with them; they are not in the terminal, run, artifacts or cache markers."""
    log = make_log(500)
    seen = []

    def scan(uri: str, **_: object) -> pl.LazyFrame:
        seen.append(uri)
        return log.lazy()

    monkeypatch.setattr(pl, "scan_parquet", scan)
    address = "s3://kim:secret@bucket/log.parquet?sig=hidden&se=2027"
    assert feature_audit("load", "--data", address, *KEYS, "--work_dir", "remote") == 0
    assert seen == [address] * len(seen) != []
    run = newest_run()
    parts = [*capfd.readouterr(), str(run.to_dictionary()), str(run.inputs.to_dictionary())]
    for name in ("config/resolved.yaml", "config/given.yaml"):
        parts.append(artifact(run, name).read_text())
    parts += [path.read_text() for path in (home / "remote").rglob("*.json")]
    for text in parts:
        assert "secret" not in text
        assert "hidden" not in text
    assert run.data.params["cfg.data"] == "s3://***@bucket/log.parquet?sig=***&se=***"
    assert run.info.run_name == "load done: log"

    assert feature_audit("baseline", "--audit", run.info.run_id) == 2
    assert "give data again" in capfd.readouterr().err


def test_a_run_that_the_environment_invents_is_one_line(
    home: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_log(300).write_parquet(home / "small.parquet")
    monkeypatch.setenv("MLFLOW_RUN_ID", "0123456789abcdef0123456789abcdef")
    assert feature_audit("run", "--data", str(home / "small.parquet"), *KEYS) == 2
    [line] = capfd.readouterr().err.splitlines()
    assert "MLFLOW_RUN_ID=0123456789abcdef0123456789abcdef" in line
    assert "unset MLFLOW_RUN_ID" in line


def test_an_error_note_is_text_whatever_the_cell_holds(home: Path) -> None:
    """MLflow renders a run's note as Markdown; a cell must not load an image from a server."""
    cell = "![pixel](https://example.org/p.png) <img src=x>"
    make_log(500).with_columns(device=pl.lit(cell)).write_parquet(home / "picture.parquet")
    assert feature_audit("run", "--data", str(home / "picture.parquet"), *KEYS, "--kinds", "{device: numeric}") == 1
    client = MlflowClient()
    run = newest_audit()
    children = client.search_runs([run.info.experiment_id], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    notes = [one.data.tags["mlflow.note.content"] for one in (run, *children)]
    assert len(notes) == 2
    for note in notes:
        assert "pixel" in note
        assert "](" not in note.replace("\\](", "")
        assert "<img" not in note


def test_a_panic_of_a_library_is_one_line_too(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Polars' panic is not an ``Exception``; only the entry point of the command catches it."""
    make_log(300).write_parquet(home / "panic.parquet")

    def panic(*_: object) -> None:
        raise pl.exceptions.PanicException("index out of bounds")

    monkeypatch.setattr("feature_audit.orchestration.run.load.load", panic)
    assert feature_audit("run", "--data", str(home / "panic.parquet"), *KEYS) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == (
        "feature-audit: error: a library crashed (index out of bounds); if it was reading a file, write that file again"
    )


@pytest.mark.slow
def test_new_categories_and_columns_that_stop_are_audited_and_reported(home: Path) -> None:
    """In the test rows, `device` has words that are not in train, and `taste` is empty."""
    last = pl.col("impression") >= 2_300
    log = make_log(3_000).with_columns(
        device=pl.when(last).then(pl.lit("watch")).otherwise("device"),
        taste=pl.when(~last).then("taste"),
    )
    log.write_parquet(home / "moved.parquet")
    quick = ["--model", "mlp", "--profile", "quick", "--trials", "1", "--seeds", "2", "--margin", "0.05"]
    quick += ["--k", "8", "--k_min", "8", "--training", "{max_epochs: 2}"]
    assert feature_audit("run", "--data", str(home / "moved.parquet"), *KEYS, *quick) == 0
    run = newest_audit()
    report = json.loads(artifact(run, "report/report.json").read_text())
    found = {(row["column"], row["kind"]): row["detail"] for row in report["findings"]}
    assert "in none of the test rows: is it still written?" in found["taste", "high_null"]
    assert ("device", "drift") in found
    predictions = pl.read_parquet(artifact(run, "parity/predictions.parquet"))
    assert predictions.select(pl.col("baseline", "^pruned_.*$").is_finite().all()).row(0) == (True,) * 3

"""`--audit RUN` does not run code that is named only in the tracking store."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click_log import make_log
from command_line import feature_audit, newest_run, tracking_in
from mlflow import MlflowClient

CODE = """
from pathlib import Path
import polars as pl

Path("imported").touch()


def table(data):
    Path("ran").touch()
    return pl.scan_parquet(data)
"""
KEYS = {"target": "clicked", "row_id": "impression", "time": "ts", "model": "mlp", "profile": "quick", "threads": 1}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a log, a team's module and a tracking store."""
    folder = tmp_path_factory.mktemp("stored_code")
    make_log(400).write_parquet(folder / "log.parquet")
    (folder / "team_code.py").write_text(CODE)
    with tracking_in(folder):
        yield folder


@pytest.fixture
def home(store: Path) -> Path:
    """The folder, with neither the module imported nor the log read."""
    sys.modules.pop("team_code", None)
    for name in ("imported", "ran"):
        (store / name).unlink(missing_ok=True)
    shutil.rmtree(store / ".audit", ignore_errors=True)
    return store


def stored(**values: object) -> str:
    """A run with the given configuration, as anyone with write access to the store can create it."""
    client = MlflowClient()
    run = client.create_run("0").info.run_id
    client.log_text(run, yaml.safe_dump({"data": "log.parquet", **KEYS, **values}), "config/given.yaml")
    return run


@pytest.mark.parametrize("stage", ["load", "parity"])
@pytest.mark.parametrize(
    ("values", "given", "says"),
    [
        ({"prepare": "team_code:table"}, [], "prepare=team_code:table"),
        ({"prepare": "runpy:run_path", "data": "team_code.py"}, [], "prepare=runpy:run_path"),
        ({"model": "team_code:table"}, [], "model=team_code:table"),
        ({"model": "team_code:table", "prepare": "team_code:table"}, ["--prepare", "os:listdir"], "--model team_code:"),
        ({"prepare": "team_code:table"}, ["--model", "team_code:table"], "prepare=team_code:table"),
        ({"prepare": "team_code:table;touch imported"}, [], "--prepare 'team_code:table;touch imported'"),
        ({"prepare": "team_code:table"}, ["--trust", "false"], "or --trust"),
    ],
)
def test_code_that_only_the_store_names_is_shown_and_not_imported(
    home: Path,
    capfd: pytest.CaptureFixture[str],
    stage: str,
    values: dict[str, object],
    given: list[str],
    says: str,
) -> None:
    run = stored(**values)
    capfd.readouterr()
    assert feature_audit(stage, "--audit", run, *given) == 2
    [line] = capfd.readouterr().err.splitlines()
    assert f"audit={run}: its configuration runs your code" in line
    assert says in line
    assert not (home / "imported").exists()
    assert not (home / "ran").exists()
    assert newest_run().info.run_id == run


@pytest.mark.parametrize("how", ["again", "file", "trust", "trust of mlflow run", "replaced"])
def test_code_that_is_named_again_or_trusted_runs(home: Path, how: str) -> None:
    (home / "mine.yaml").write_text("prepare: team_code:table\n")
    words = {
        "again": ["--prepare", "team_code:table"],
        "file": ["--config", "mine.yaml"],
        "trust": ["--trust"],
        "trust of mlflow run": ["--trust", "true"],
        "replaced": ["--prepare", "team_code:table"],
    }[how]
    run = stored(prepare="no_such:thing" if how == "replaced" else "team_code:table")
    assert feature_audit("load", "--audit", run, *words) == 0
    assert (home / "ran").exists()


def test_a_configuration_without_code_asks_nothing(home: Path) -> None:
    assert feature_audit("load", "--audit", stored()) == 0


def test_the_command_that_continues_names_the_code(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [word for key, value in KEYS.items() for word in (f"--{key}", str(value))]
    assert feature_audit("load", "--data", "log.parquet", *words, "--prepare", "team_code:table") == 0
    output = capsys.readouterr().out.splitlines()[-1]
    again = shlex.split(output.partition("continue to the verdict with ")[2])
    command = ["feature-audit", "parity", "--audit", newest_run().info.run_id, "--prepare", "team_code:table"]
    assert again == command
    assert feature_audit("load", *again[2:]) == 0

"""A tracking store that is unreachable, refuses, or is none: one line, within seconds, before the log is read."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import answering
import mlflow
import pytest
from click_log import make_log
from command_line import feature_audit, newest_run
from feature_audit.tracking import where_to_look
from mlflow import MlflowClient

#: Seconds on a busy machine, imports included; MLflow alone tries for 255.
SOON = 90
COMMANDS = {
    "history": ("history",),
    "promote": ("promote", "--model_name", "ranker", "--version", "1"),
    "rollback": ("rollback",),
    "continued": ("parity", "--audit", "5f1c7a"),
    "run": ("run", "--data", "nothing.parquet", "--target", "clicked", "--row_id", "id"),
}
ANSWERS: dict[str, tuple[Callable[[], AbstractContextManager[str]], str]] = {
    "nobody": (answering.nobody, "Connection refused"),
    "silence": (answering.silent, "timed out"),
    "broken": (lambda: answering.server(500, "oops"), "too many 500 error responses"),
    "busy": (lambda: answering.server(503, "busy"), "too many 503 error responses"),
    "a stranger": (
        lambda: answering.server(401, '{"error_code": "UNAUTHENTICATED", "message": "who are you?"}'), "who are you?",
    ),
    "a wrong path": (lambda: answering.server(404, "<html>not found</html>"), "404"),
    "another service": (lambda: answering.server(404, '{"detail": "Not Found"}'), "Not Found"),
    "a login page": (lambda: answering.server(200, "<html>log in</html>"), "log in"),
}  # fmt: skip


@pytest.fixture
def point_to(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Set the tracking store; it is restored at the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)

        def point(uri: str) -> None:
            patch.setenv("MLFLOW_TRACKING_URI", uri)
            mlflow.set_tracking_uri(uri)

        patch.setenv("MLFLOW_EXPERIMENT_ID", "0")
        patch.delenv("MLFLOW_EXPERIMENT_ID")
        yield point
    mlflow.set_tracking_uri(None)


def refused(words: tuple[str, ...], capfd: pytest.CaptureFixture[str]) -> str:
    """The one line with which a command ends."""
    capfd.readouterr()
    assert feature_audit(*words) == 1
    out, line = capfd.readouterr()
    assert out == ""
    assert line.count("\n") == 1, line
    return line


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_unreachable_or_wrong_tracking_server_is_reported(
    answer: str, point_to: Callable[[str], None], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1" if answer == "silence" else "5")
    make, reason = ANSWERS[answer]
    with make() as place:
        point_to(f"http://kim:secret@{place}")
        for words in (COMMANDS["run"],) if answer == "silence" else COMMANDS.values():
            started = time.monotonic()
            line = refused(words, capfd)
            assert time.monotonic() - started < SOON
            assert reason in line
            assert f"(store http://***@{place})" in line
            assert "MLFLOW_TRACKING_URI" in line
            assert "no such" not in line
            assert "secret" not in line


@pytest.mark.slow
def test_a_silent_server_times_out_in_seconds_by_default(
    point_to: Callable[[str], None], capfd: pytest.CaptureFixture[str]
) -> None:
    with answering.silent() as place:
        point_to(f"http://{place}")
        started = time.monotonic()
        assert "timed out" in refused(("history",), capfd)
        assert time.monotonic() - started < SOON


def test_a_failed_command_does_not_wait_for_an_unreachable_server(
    point_to: Callable[[str], None], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering.nobody() as place:
        point_to(f"http://{place}")
        monkeypatch.setenv("MLFLOW_RUN_ID", "5f1c7a")
        started = time.monotonic()
        assert feature_audit("run", "--data", "nothing.parquet", "--target", "clicked") == 1
        assert "Connection refused" in capfd.readouterr().err
        assert time.monotonic() - started < SOON


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("sqlite:////proc/nowhere/mlflow.db", "No such file or directory"),
        ("sqlite:///page.html", "file is not a database"),
        ("ftp://kim:secret@host/store", "unsupported URI"),
    ],
)
def test_a_store_that_cannot_be_opened_is_one_line(
    uri: str, reason: str, point_to: Callable[[str], None], capfd: pytest.CaptureFixture[str]
) -> None:
    Path("page.html").write_text("<html>" + " " * 5000, encoding="utf-8")
    point_to(uri)
    for words in COMMANDS.values():
        line = refused(words, capfd)
        assert reason in line
        assert "secret" not in line


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://kim:secret@127.0.0.1:1/mlflow",
        "postgresql://kim:x/secret@127.0.0.1:1/mlflow",
        "mysql+pymysql://kim:x?#'secret@127.0.0.1:1/mlflow",
        "postgresql://127.0.0.1:1/mlflow?user=kim&password=secret",
        "http://kim:secret@127.0.0.1:1/?sig=secret",
        "databricks+x://token:secret@127.0.0.1",
    ],
)
def test_a_stores_credentials_are_not_shown_in_an_error(
    uri: str, point_to: Callable[[str], None], capfd: pytest.CaptureFixture[str]
) -> None:
    point_to(uri)
    for words in (("history",), ("-v", "history"), COMMANDS["run"]):
        capfd.readouterr()
        assert feature_audit(*words) == 1
        out, err = capfd.readouterr()
        assert "(store " in err
        assert "secret" not in out + err


def test_a_stores_credentials_are_left_nowhere_by_an_audit(
    point_to: Callable[[str], None], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    make_log(300).write_parquet("log.parquet")
    point_to(f"sqlite:///{tmp_path / 'mlflow.db'}?timeout=98765")
    keys = ["--target", "clicked", "--row_id", "impression", "--time", "ts"]
    assert feature_audit("load", "--data", "log.parquet", *keys) == 0
    run = newest_run()
    parts = [*capfd.readouterr(), str(run.to_dictionary()), *where_to_look(run.info.run_id)]
    parts += [file.read_text() for file in Path(MlflowClient().download_artifacts(run.info.run_id, "")).rglob("*.*")]
    parts += [file.read_text() for place in (".audit", "mlruns") for file in Path(place).rglob("*.json")]
    assert "timeout=***" in "".join(parts)
    assert "98765" not in "".join(parts)


def test_what_the_tracking_store_lacks_is_reported(
    point_to: Callable[[str], None], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    point_to(f"sqlite:///{tmp_path / 'mlflow.db'}")
    for command in ("history", "promote", "rollback"):
        said = refused(COMMANDS[command], capfd)
        assert f"no such registered model in sqlite:///{tmp_path / 'mlflow.db'}; set MLFLOW_TRACKING_URI to" in said
    said = refused(COMMANDS["continued"], capfd)
    assert f"audit=5f1c7a: no such run in sqlite:///{tmp_path / 'mlflow.db'}; copy the id from the MLflow UI" in said


OPEN = "from feature_audit.tracking import registry; registry.check_ready('ranker'); print('ready')"


@pytest.mark.slow
def test_processes_that_make_one_store_at_once_wait_for_each_other(tmp_path: Path) -> None:
    commands = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
            env=environment(tmp_path),
        )
        for _ in range(3)
    ]  # fmt: skip
    ends = [command.communicate(timeout=300) for command in commands]
    assert [out for out, _ in ends] == ["ready\n"] * 3, ends


def environment(folder: Path) -> dict[str, str]:
    root = Path(__file__).parents[3]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(root / part) for part in ("pipeline", "selectors")),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
    }

"""Promotions and rollbacks that are repeated or interrupted, conflict with others, or find a damaged registry."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from command_line import feature_audit
from feature_audit.errors import AuditError
from feature_audit.orchestration import promotion
from feature_audit.tracking import moves, registry
from mlflow import MlflowClient
from registered import PASSED, alias, make_model
from stores import store_in

_numbers = itertools.count()


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with store_in(tmp_path_factory.mktemp("registry")):
        yield


@pytest.fixture
def name() -> str:
    """A registered model with versions 1 to 3, all passed on the same data."""
    chosen = f"ranker {next(_numbers)}"
    make_model(chosen, [PASSED] * 3)
    return chosen


def promote(name: str, version: str | None) -> str:
    return promotion.promote(name, version, force=False, reason=None)


def actions(name: str) -> list[str]:
    """Each line of the history without its time and author."""
    return [line.strip().partition("+00:00 ")[2].partition(")")[0] + ")" for line in promotion.history(name)]


def test_a_promotion_that_is_repeated_is_done_once(name: str) -> None:
    promote(name, "1")
    promote(name, "2")
    assert f"version 2 of {name} has been in production since" in promote(name, "2")
    assert actions(name) == ["promote -> 1 (was none)", "promote -> 2 (was 1)"]
    assert promotion.rollback(name).startswith(f"{name} is back at production version 1")
    assert alias(name) == "1"


def test_what_a_colleague_moved_is_rolled_back_only_by_force(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    client = MlflowClient()
    promote(name, "1")
    promote(name, "2")
    client.set_registered_model_alias(name, "production", "3")
    assert feature_audit("rollback", "--model_name", name) == 1
    line = capfd.readouterr().err
    assert "production is version 3, but the last recorded move set version 2" in line
    assert line.count("\n") == 1
    assert feature_audit("rollback", "--model_name", name, "--force") == 1
    assert "give a reason" in capfd.readouterr().err
    assert alias(name) == "3"
    assert "version 3; it was not moved by promote or rollback" in promotion.history(name)[-1]
    assert feature_audit("rollback", "--model_name", name, "--force", "--reason", "Kim agrees") == 0
    assert alias(name) == "2"
    assert promotion.history(name)[-1].endswith("forced: Kim agrees")
    promotion.rollback(name)
    assert alias(name) == "1"


@pytest.mark.parametrize("moved_to", ["2", "3"])
def test_a_promotion_after_a_colleagues_move_can_be_rolled_back_to_it(name: str, moved_to: str) -> None:
    promote(name, "1")
    MlflowClient().set_registered_model_alias(name, "production", moved_to)
    promote(name, "2")
    assert alias(name) == "2"
    promotion.rollback(name)
    assert alias(name) == ("1" if moved_to == "2" else "3")


def event(action: str, version: str | None, replaced: str | None, **more: object) -> str:
    return json.dumps(
        {"time": "2026-01-01T00:00:00+00:00", "action": action, "version": version, "replaced": replaced} | more
    )


EARLIER = {
    "a promotion typed twice": (
        [event("promote", "1", None), event("promote", "2", "1"), event("promote", "2", "2")], "1",
    ),
    "a killed promotion and its retry": ([event("promote", "1", None), event("promote", "2", "2")], "1"),
    "a rollback": (
        [
            event("promote", "1", None, forced=False, reason=None, by="kim", undoes=None),
            event("promote", "3", "1"),
            event("rollback", "1", "3", undoes="audit.event.101"),
            event("promote", "2", "1"),
        ],
        "1",
    ),
    "two at once": ([event("promote", "1", None), event("promote", "3", "1"), event("promote", "2", "1")], "1"),
}  # fmt: skip


@pytest.mark.parametrize("case", EARLIER)
def test_logs_of_earlier_releases_lead_back_to_the_last_different_version(name: str, case: str) -> None:
    client = MlflowClient()
    texts, expected = EARLIER[case]
    for number, text in enumerate(texts, start=100):
        client.set_registered_model_tag(name, f"audit.event.{number}", text)
    client.set_registered_model_alias(name, "production", "2")
    promotion.rollback(name)
    assert alias(name) == expected


DAMAGED = {
    "audit.event.": event("promote", "3", "2"),
    "audit.event.x": event("promote", "3", "2"),
    "audit.event.007": event("promote", "3", "2", finished=False),
    "audit.event.1_0": event("promote", "3", "2", finished=False),
    "audit.event.7": "{",
    "audit.event.8": "[]",
    "audit.event.9": "null",
    "audit.event.10": json.dumps({"action": "promote"}),
    "audit.event.11": event("promote", "3", "2", time="yesterday"),
    "audit.event.12": event("promote", "3", "2", time="2026-01-01T00:00:00"),
    "audit.event.13": event("remove", "3", "2"),
    "audit.event.14": json.dumps(json.loads(event("promote", None, "2")) | {"version": 3}),
    "audit.event.15": event("promote", "3", "2", time=5),
}  # fmt: skip


@pytest.mark.parametrize("key", DAMAGED)
def test_a_damaged_event_is_named_and_stops_nothing(name: str, key: str) -> None:
    promote(name, "1")
    MlflowClient().set_registered_model_tag(name, key, DAMAGED[key])
    promote(name, "2")
    assert f"{key}: this tag of {name} does not contain a readable event" in promotion.history(name)
    assert actions(name)[:2] == ["promote -> 1 (was none)", "promote -> 2 (was 1)"]
    promotion.rollback(name)
    assert alias(name) == "1"


def test_a_deleted_version_is_one_line_with_the_way_on(name: str) -> None:
    client = MlflowClient()
    for version in ("1", "2", "3"):
        promote(name, version)
    client.delete_model_version(name, "2")
    with pytest.raises(AuditError, match=r"the previous version 2 was deleted .* promote --version 1$"):
        promotion.rollback(name)
    assert alias(name) == "3"
    promotion.promote(name, "1", force=True, reason="2 was deleted")
    client.delete_model_version(name, "1")  # and with it the alias
    assert promotion.history(name)[-1].startswith(
        "production is now no version; it was not moved by promote or rollback"
    )
    with pytest.raises(AuditError, match=r"the previous version 1 was deleted .* promote --version 3$"):
        promotion.rollback(name)
    with pytest.raises(AuditError, match=r"version=1: no such version; see the registry in the MLflow UI$"):
        promote(name, "1")
    client.set_registered_model_alias(name, "prune-candidate", "3")
    with pytest.raises(AuditError, match=r"version=7: no such version; the candidate is version 3$"):
        promote(name, "7")
    with pytest.raises(AuditError, match=rf"model_name={name}s: no such registered model .* did you mean {name}\?$"):
        promotion.history(f"{name}s")


@pytest.mark.parametrize("version", ["x", "-1", "1.5", "²", ""])
def test_a_version_that_is_no_number_is_refused(name: str, version: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert feature_audit("promote", "--model_name", name, "--version", version) == 1
    line = capfd.readouterr().err
    assert ("give the number of a version" in line) if version else ("no version has the alias" in line)


def test_a_reason_is_one_line_of_limited_length(name: str) -> None:
    with pytest.raises(AuditError, match="reason: 5,000 characters; give at most 1,000"):
        promotion.promote(name, "1", force=True, reason="x" * 5000)
    with pytest.raises(AuditError, match="give a reason"):
        promotion.promote(name, "1", force=True, reason=" \n")
    promotion.promote(name, "1", force=True, reason="agreed\nwith Kim")
    assert [line.partition("forced: ")[2] for line in promotion.history(name)] == ["agreed with Kim"]


DAY = {"audit.verdict": "pass", "audit.data_until": "2026-03-01 00:00:00"}
AGES = {
    "newer data": (DAY | {"audit.data_until": "2026-03-02 00:00:00"}, DAY, None),
    "the same last day": (DAY, DAY, None),
    "older data": (DAY, DAY | {"audit.data_until": "2026-03-01 00:00:01"}, "its data ends at 2026-03-01 00:00:00"),
    "numbers": ({**DAY, "audit.data_until": "9.0"}, {**DAY, "audit.data_until": "10.0"}, "its data ends at 9.0"),
    "a number and a date": ({**DAY, "audit.data_until": "9.0"}, DAY, "audited later"),
    "no time": ({"audit.verdict": "pass", "audit.data_digest": "a"}, DAY, "it is unknown whose data is newer"),
    "the same data": (PASSED, PASSED, None),
}  # fmt: skip


@pytest.mark.parametrize("case", AGES)
def test_promoting_a_version_from_older_data_needs_force(case: str) -> None:
    wanted, current, doubt = AGES[case]
    name = f"aged {next(_numbers)}"
    make_model(name, [wanted, current])
    promote(name, "2")
    if doubt is None:
        promote(name, "1")
    else:
        with pytest.raises(AuditError, match=doubt) as caught:
            promote(name, "1")
        assert "--force --reason" in str(caught.value)
        assert "(forced: agreed)" in promotion.promote(name, "1", force=True, reason="agreed")
    assert alias(name) == "1"


def announced(name: str, version: str, *, ago: timedelta) -> None:
    """A promotion in progress on another host, whose processes cannot be checked."""
    text = event(
        "promote", version, "1", time=(datetime.now(UTC) - ago).isoformat(), by="kim", finished=False,
        process=json.dumps({"host": "another", "pid": 1, "started": 0.0}),
    )  # fmt: skip
    MlflowClient().set_registered_model_tag(name, "audit.event.5", text)


def test_a_promotion_under_way_elsewhere_is_waited_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "PATIENCE", 0.3)
    promote(name, "1")
    announced(name, "2", ago=timedelta(seconds=30))
    with pytest.raises(AuditError, match=r"a promote to version 2 by kim began at .* and is not finished; try again"):
        promote(name, "3")
    assert promotion.history(name)[-1].endswith("promote -> 2: in progress")
    assert alias(name) == "1"


@pytest.mark.parametrize("moved", [True, False])
def test_a_promotion_left_behind_elsewhere_is_settled(name: str, moved: bool) -> None:
    promote(name, "1")
    announced(name, "2", ago=timedelta(hours=1))
    if moved:
        MlflowClient().set_registered_model_alias(name, "production", "2")
    promote(name, "3")
    assert ("promote -> 2 (was 1)" in actions(name)) == moved
    promotion.rollback(name)
    assert alias(name) == ("2" if moved else "1")


def at_the_move(monkeypatch: pytest.MonkeyPatch, before: Callable[[], Any], after: Callable[[], Any]) -> None:
    """An event around the next move of an alias, after the command has last read it."""
    move = MlflowClient.set_registered_model_alias

    def once(client: MlflowClient, *arguments: str) -> None:
        monkeypatch.setattr(MlflowClient, "set_registered_model_alias", move)
        before()
        move(client, *arguments)
        after()

    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", once)


def test_a_move_in_the_same_moment_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    promote(name, "1")
    client = MlflowClient()
    at_the_move(monkeypatch, lambda: None, lambda: client.set_registered_model_alias(name, "production", "3"))
    with pytest.raises(AuditError, match=r"production was moved to version 2, but at the same time .* to version 3"):
        promote(name, "2")
    assert "production is now version 3; it was not moved by promote or rollback" in promotion.history(name)[-1]
    promotion.rollback(name, force=True, reason="agreed")
    assert alias(name) == "2"


def test_a_command_that_was_taken_for_dead_and_goes_on_is_in_the_log(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(name, "1")

    def another_one_promotes() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(moves, "ABANDONED", -1.0)
            promote(name, "3")

    at_the_move(monkeypatch, another_one_promotes, lambda: None)
    promote(name, "2")
    assert alias(name) == "2"
    assert actions(name) == ["promote -> 1 (was none)", "promote -> 3 (was 1)", "promote -> 2 (was 3)"]


KILLED = """
import os, signal, sys
from mlflow import MlflowClient
move = MlflowClient.set_registered_model_alias
def killed(*arguments):
    move(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
MlflowClient.set_registered_model_alias = killed
from feature_audit.cli import entry
entry()
"""


@pytest.mark.slow
def test_a_command_that_is_killed_when_the_alias_has_moved_can_be_typed_again(name: str) -> None:
    promote(name, "1")
    root = Path(__file__).parents[3]
    path = os.pathsep.join(str(root / part) for part in ("pipeline", "selectors"))

    def killed(*words: str) -> None:
        command = [sys.executable, "-c", KILLED, *words, "--model_name", name]
        assert subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=False).returncode == -9

    killed("promote", "--version", "2")
    assert alias(name) == "2"
    assert "has been in production since" in promote(name, "2")
    promote(name, "3")
    killed("rollback")
    assert alias(name) == "2"
    assert "this completed the rollback that was interrupted" in promotion.rollback(name)
    assert alias(name) == "2"
    promotion.rollback(name)
    assert alias(name) == "1"


def test_several_commands_at_once_leave_one_chain(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "PATIENCE", 600.0)  # on a busy machine, one would give up
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda version=version: answers.append(promote(name, version)))
        for version in ("1", "2", "3") * 2
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 6
    log = registry.history(name)
    chain = [None, *(one.version for one in log.finished.values())]
    assert [one.replaced for one in log.finished.values()] == chain[:-1]
    assert alias(name) == chain[-1]
    assert not log.unfinished


def test_history_reports_a_withdrawn_version_in_production(name: str) -> None:
    promote(name, "2")
    MlflowClient().set_model_version_tag(name, "2", "audit.verdict", "withdrawn")
    assert "production is version 2, but its audit withdrew it" in promotion.history(name)[-1]

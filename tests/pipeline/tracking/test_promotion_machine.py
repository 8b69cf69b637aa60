"""Promote, rollback, kill, delete, moves by others, two commands at once, in any order: the history is correct.

The expected version in production is derived from the requests that moved the alias, never from the log under test.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, ClassVar

import interleaved
import pytest
from feature_audit.errors import AuditError
from feature_audit.tracking import registry
from feature_audit.tracking.moves import Move
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from interleaved import Command
from registered import PASSED, alias, make_model
from stores import store_in

VERSIONS = ("1", "2", "3", "4")
Step = tuple[str, str | None, bool]  # action, version of a promotion, forced


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with store_in(tmp_path_factory.mktemp("registry")):
        yield


class Truth:
    """The versions that were in production, according to the requests that moved the alias.

    Attributes:
        stack: versions that successive rollbacks would restore; the last one is in production.
        by_others: True if the last one was put there by other means, and no command has recorded it.
    """

    def __init__(self) -> None:
        self.stack: list[str | None] = [None]
        self.by_others = False

    def promoted(self, version: str) -> None:
        if self.stack[-1] != version:
            self.stack.append(version)
        self.by_others = False

    def rolled_back(self, version: str | None) -> None:
        self.stack.pop()
        assert self.stack[-1] == version, "a rollback returns to the last different version"
        self.by_others = False

    def moved_by_others(self, version: str | None) -> None:
        if self.by_others:
            self.stack.pop()
        self.by_others = self.stack[-1] != version
        if self.by_others:
            self.stack.append(version)


class Production(RuleBasedStateMachine):
    """Commands on one registered model."""

    numbers: ClassVar[Iterator[int]] = itertools.count()

    @initialize()
    def register(self) -> None:
        self.name = f"model {next(self.numbers)}"
        self.truth, self.ended = Truth(), set[str]()
        self.there = set(VERSIONS)
        self.client = make_model(self.name, [PASSED for _ in VERSIONS])
        self.patches = ExitStack()
        self.patches.enter_context(interleaved.simulated(self.ended, self.watch))

    def teardown(self) -> None:
        if hasattr(self, "patches"):
            self.the_log_says_what_happened()
            self.patches.close()

    def watch(self, request: str, arguments: tuple[Any, ...]) -> None:
        if request == "set_registered_model_tag" and arguments[1].startswith("audit.event."):
            self.recorded_by_commands([json.loads(arguments[2])], finished=True)
        if request.endswith("_registered_model_alias"):
            action = getattr(interleaved.current(), "action", "")
            version = arguments[2] if request.startswith("set") else None
            self.truth.promoted(str(version)) if action == "promote" else self.truth.rolled_back(version)

    def recorded_by_commands(self, events: list[dict[str, Any]], *, finished: bool) -> None:
        """Note whether one of the events records the version that others have put into production.

        A promotion to the version that is there already needs no move: once announced it is recorded, by the next
        command if it is killed.
        """
        for one in events:
            if one["finished"] == finished and one["action"] == "promote" and one["version"] == self.truth.stack[-1]:
                self.truth.by_others = False

    def command(self, step: Step, killed_before: int | None = None) -> Command:
        action, version, force = step
        reason = "agreed" if force else None
        call: Callable[[], Any] = (
            (lambda: registry.promote(self.name, version, force=force, reason=reason))
            if action == "promote"
            else (lambda: registry.rollback(self.name, force=force, reason=reason))
        )
        command = Command(call, killed_before=killed_before)
        command.action = action  # type: ignore[attr-defined]
        return command

    def run(self, *commands: Command, order: tuple[int, ...] = ()) -> None:
        interleaved.run(*commands, ended=self.ended, order=order)

    def left(self) -> list[dict[str, Any]]:
        """Moves that killed commands announced and did not finish."""
        tags = self.client.get_registered_model(self.name).tags
        found = [json.loads(text) for key, text in tags.items() if key.startswith("audit.event.")]
        return [one for one in found if not one["finished"]]

    @rule(version=st.sampled_from(VERSIONS))
    def promote(self, version: str) -> None:
        before = self.truth.stack[-1], self.truth.by_others
        command = self.command(("promote", version, False))
        self.run(command)
        if version not in self.there:
            assert "no such version" in str(command.result)
        else:
            assert isinstance(command.result, Move), command.result
            assert command.result.event.version == version
            assert command.result.repeated == (before == (version, False))
            assert alias(self.name) == version

    @rule(force=st.booleans())
    def rollback(self, force: bool) -> None:
        stack, by_others = list(self.truth.stack), self.truth.by_others
        finished = [one for one in self.left() if one["action"] == "rollback" and one["version"] == stack[-1]]
        command = self.command(("rollback", None, force))
        self.run(command)
        answer = str(command.result)
        if finished:
            assert command.result.repeated
            assert self.truth.stack == stack, "a rollback that is asked for again is done once"
        elif len(stack) == 1:
            assert "no promotion to roll back" in answer
        elif stack[-2] is not None and stack[-2] not in self.there:
            assert f"the previous version {stack[-2]} was deleted" in answer
        elif by_others and not force:
            assert "it was moved without feature-audit" in answer
        else:
            assert isinstance(command.result, Move), answer
            assert alias(self.name) == stack[-2]

    steps = st.tuples(st.sampled_from(["promote", "promote", "rollback"]), st.sampled_from(VERSIONS), st.booleans())
    places = st.integers(3, 14)

    @rule(step=steps, place=places)
    def kill(self, step: Step, place: int) -> None:
        self.run(self.command(step, killed_before=place))
        self.recorded_by_commands(self.left(), finished=False)

    @rule(one=steps, other=steps, order=st.lists(st.integers(0, 1), max_size=25), killed=st.none() | places)
    def at_once(self, one: Step, other: Step, order: list[int], killed: int | None) -> None:
        commands = self.command(one, killed), self.command(other)
        self.run(*commands, order=tuple(order))
        for command in commands[1 if killed else 0 :]:
            assert isinstance(command.result, Move | AuditError)
            assert "is not finished" not in str(command.result), "it had all the time of the other one to wait"
        self.recorded_by_commands(self.left(), finished=False)

    @rule(version=st.sampled_from([*VERSIONS, None]))
    def a_colleague_moves_the_alias(self, version: str | None) -> None:
        self.the_log_says_what_happened()  # else it is unknown whether a killed command had moved it before
        if version is None:
            self.client.delete_registered_model_alias(self.name, "production")
        elif version in self.there:
            self.client.set_registered_model_alias(self.name, "production", version)
        self.truth.moved_by_others(alias(self.name))

    @precondition(lambda self: len(self.there) > 2)
    @rule(version=st.sampled_from(VERSIONS))
    def delete(self, version: str) -> None:
        self.the_log_says_what_happened()
        if version in self.there:
            self.there.remove(version)
            self.client.delete_model_version(self.name, version)  # and with it its aliases
            self.truth.moved_by_others(alias(self.name))

    @rule()
    def the_log_says_what_happened(self) -> None:
        log = registry.history(self.name)
        assert not log.unfinished
        recorded = self.truth.stack[: -1 if self.truth.by_others else None]
        assert log.in_use == recorded
        assert log.production == self.truth.stack[-1]

    @invariant()
    def production_is_what_was_put_there_last(self) -> None:
        if hasattr(self, "truth"):
            assert alias(self.name) == self.truth.stack[-1]


def explore(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Production,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        ),
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_production_is_what_the_log_says_whatever_happens() -> None:
    explore(40, 15)

"""The production log: one tag on the registered model per move of the alias ``production``.

A move is announced before it is made (``finished`` is false) and marked as finished afterwards. Each move has a
separate tag, ``audit.event.<number>``, and the numbers give the order.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

PRODUCTION = "production"
CANDIDATE = "prune-candidate"
_EVENT = "audit.event."


@dataclass(frozen=True)
class Event:
    """One move of the alias ``production``.

    Attributes:
        time: ISO 8601, UTC.
        action: ``promote`` or ``rollback``.
        version: the version that ``production`` points to afterwards; None = the alias was removed.
        replaced: the version that it pointed to before; None = none.
        forced, reason: set if a person overrode a refusal.
        by: the user, according to the environment.
        process: the process that makes the move (``processes.this_process``).
        finished: False from the announcement until the alias is moved.
    """

    time: str
    action: str
    version: str | None
    replaced: str | None
    forced: bool = False
    reason: str | None = None
    by: str = ""
    process: str = ""
    finished: bool = True

    @property
    def age(self) -> float:
        """Seconds since the announcement, by this host's clock; negative if clocks differ."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.time)).total_seconds()


@dataclass(frozen=True)
class Log:
    """Snapshot of the registry's state of one model.

    Attributes:
        production, candidate: the versions that these aliases point to; None = none.
        finished: number -> event, oldest first.
        unfinished: number -> event that was announced but not finished, oldest first.
        damaged: keys of event tags that cannot be parsed.
    """

    production: str | None
    candidate: str | None
    finished: dict[int, Event]
    unfinished: dict[int, Event]
    damaged: tuple[str, ...]

    @property
    def in_use(self) -> list[str | None]:
        """The versions that successive rollbacks would restore, with the one in production last.

        Neighbours differ, and the first is None. An event whose ``replaced`` differs from the version of the event
        before it reveals a move that was not recorded (for example in MLflow's pages), which counts like any other.
        """
        stack: list[str | None] = [None]
        for event in self.finished.values():
            if event.replaced != stack[-1]:
                stack.append(event.replaced)
            if event.action == "rollback" and event.version in stack:
                while stack[-1] != event.version:
                    stack.pop()
            elif event.version != stack[-1]:
                stack.append(event.version)
        return stack

    @property
    def next_number(self) -> int:
        """Above every number so far, even if this host's clock is behind another's."""
        return max([time.time_ns(), *(number + 1 for number in (*self.finished, *self.unfinished))])


def read(client: Any, model_name: str) -> Log:
    """The log of one registered model.

    Raises:
        MlflowException: as raised by the client.
    """
    model = client.get_registered_model(model_name)
    events: dict[int, Event] = {}
    damaged = []
    for key, text in model.tags.items():
        if key.startswith(_EVENT):
            try:
                events[_number(key)] = _parse(text)
            except (ValueError, TypeError, KeyError):
                damaged.append(key)
    ordered = dict(sorted(events.items()))
    alias = {name: str(version) for name, version in model.aliases.items()}
    return Log(
        production=alias.get(PRODUCTION),
        candidate=alias.get(CANDIDATE),
        finished={number: event for number, event in ordered.items() if event.finished},
        unfinished={number: event for number, event in ordered.items() if not event.finished},
        damaged=tuple(sorted(damaged)),
    )


def write(client: Any, model_name: str, number: int, event: Event) -> None:
    """Write one event, replacing an event with the same number."""
    client.set_registered_model_tag(model_name, f"{_EVENT}{number}", json.dumps(asdict(event)))


def erase(client: Any, model_name: str, number: int) -> None:
    """Remove the event of a move that was not made."""
    client.delete_registered_model_tag(model_name, f"{_EVENT}{number}")


def shown(version: str | None) -> str:
    """A version, for messages."""
    return "no version" if version is None else f"version {version}"


def _number(key: str) -> int:
    """The number of an event's tag, in canonical form, as ``write`` and ``erase`` format it."""
    digits = key.removeprefix(_EVENT)
    if str(int(digits)) != digits:
        raise ValueError(key)
    return int(digits)


def _parse(text: str) -> Event:
    """Parse an event written by this or an earlier release, whose keys may differ."""
    content = json.loads(text)
    event = Event(**{one.name: content[one.name] for one in fields(Event) if one.name in content})
    moment = datetime.fromisoformat(event.time)
    versions = (event.version, event.replaced)
    if moment.tzinfo is None or event.action not in ("promote", "rollback"):
        raise ValueError(text)
    if not all(version is None or isinstance(version, str) for version in versions):
        raise ValueError(text)
    return event

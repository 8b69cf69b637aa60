"""The log of what was in production: one tag on the registered model per move of the alias ``production``.

A move is written down before it is made (``finished`` is false) and marked finished afterwards. Each has a tag of its
own, ``audit.event.<number>``, and the numbers order them.
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
        version: the version that ``production`` names afterwards; None = the alias was removed.
        replaced: the version that it named before; None = none.
        forced, reason: set where a person overrode a refusal.
        by: who did it, as far as the environment says.
        process: which process does it (``processes.this_process``).
        finished: False from the announcement until the alias was moved.
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
        """Seconds since it was announced, by this host's clock; negative where the clocks differ."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.time)).total_seconds()


@dataclass(frozen=True)
class Log:
    """What the registry says about one model at one moment.

    Attributes:
        production, candidate: the versions that these aliases name; None = none.
        finished: number -> event, oldest first.
        unfinished: number -> event that was announced and not finished, oldest first.
        damaged: keys of tags that hold no event that can be read.
    """

    production: str | None
    candidate: str | None
    finished: dict[int, Event]
    unfinished: dict[int, Event]
    damaged: tuple[str, ...]

    @property
    def in_use(self) -> list[str | None]:
        """The versions that a rollback would put back one after the other, the one in production last.

        Neighbours differ, and the first is None. An event that replaced something else than what the event before it
        left shows a move that was not recorded (one in MLflow's pages, for example): it counts like any other.
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
        """Above every number so far, also where this host's clock is behind another's."""
        return max([time.time_ns(), *(number + 1 for number in (*self.finished, *self.unfinished))])


def read(client: Any, model_name: str) -> Log:
    """The log of one registered model.

    Raises:
        MlflowException: as the client.
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
    """Write one event, over the one that has its number."""
    client.set_registered_model_tag(model_name, f"{_EVENT}{number}", json.dumps(asdict(event)))


def erase(client: Any, model_name: str, number: int) -> None:
    """Remove an event that came to nothing."""
    client.delete_registered_model_tag(model_name, f"{_EVENT}{number}")


def shown(version: str | None) -> str:
    """A version in a sentence."""
    return "no version" if version is None else f"version {version}"


def _number(key: str) -> int:
    """The number of an event's tag, in the only way in which ``write`` and ``erase`` find that tag again."""
    digits = key.removeprefix(_EVENT)
    if str(int(digits)) != digits:
        raise ValueError(key)
    return int(digits)


def _parse(text: str) -> Event:
    """An event as written by this or an earlier release, whose keys may be fewer or others."""
    content = json.loads(text)
    event = Event(**{one.name: content[one.name] for one in fields(Event) if one.name in content})
    moment = datetime.fromisoformat(event.time)
    versions = (event.version, event.replaced)
    if moment.tzinfo is None or event.action not in ("promote", "rollback"):
        raise ValueError(text)
    if not all(version is None or isinstance(version, str) for version in versions):
        raise ValueError(text)
    return event

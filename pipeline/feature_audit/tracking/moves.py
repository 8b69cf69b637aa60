"""How ``production`` is moved: announced in the model's log, made, marked finished; by one command at a time.

The announcement is the lock as well: a command moves the alias only after it has announced its move and then seen no
other announcement, so of two at once at most one goes on. What a killed command left is settled by the next one.

MLflow has no compare-and-swap. Two gaps remain, each one request long. Somebody moves the alias by other means (in
MLflow's pages) between this command's last look and its move: that move is overwritten unseen, a later one is noticed.
Or a command is stopped there for longer than ``ABANDONED`` seconds and then goes on: both moves are in the log, in the
order in which they took effect.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from feature_audit.errors import AuditError
from feature_audit.tracking import events, processes
from feature_audit.tracking.connection import answers_soon, is_missing
from feature_audit.tracking.events import PRODUCTION, Event, Log, shown

#: Seconds after which an announcement counts as left behind, whether or not its process can be looked for.
ABANDONED = 120.0
#: Seconds that a command waits for another one that is at work.
PATIENCE = 20.0


@dataclass(frozen=True)
class Move:
    """What a command came to.

    Attributes:
        event: the event that now stands in the log.
        repeated: nothing was left to do, an earlier command had done it.
    """

    event: Event
    repeated: bool


Decide = Callable[[Any, Log, Event | None], Event | Move]


def act(model_name: str, decide: Decide) -> Move:
    """Decide on what the log says, and make the move that was decided on while no other process makes one.

    Args:
        model_name: registered model.
        decide: client, log, the event of a killed command that was just settled -> the move to make, or what stands.
    """
    with answers_soon(f"model_name={model_name}"):
        client = open_model(model_name)
        until = time.monotonic() + PATIENCE
        settled = None
        while True:
            log, newly = settled_log(client, model_name)
            settled = newly or settled
            if not log.unfinished:
                decided = decide(client, log, settled)
                if isinstance(decided, Move):
                    return decided
                number = log.next_number
                events.write(client, model_name, number, decided)
                if events.read(client, model_name) == replace(log, unfinished={number: decided}):
                    return Move(_carry_out(client, model_name, number, decided), repeated=False)
                events.erase(client, model_name, number)
            if time.monotonic() > until:
                raise AuditError(f"model_name={model_name}: {_at_work(log)}; try again in two minutes")
            time.sleep(random.uniform(0.05, 0.3))  # of two that saw each other, one comes first now


def _carry_out(client: Any, model_name: str, number: int, event: Event) -> Event:
    """Move the alias and mark the event as finished."""
    from mlflow.exceptions import MlflowException

    try:
        if event.version is None:
            client.delete_registered_model_alias(model_name, PRODUCTION)
        else:
            client.set_registered_model_alias(model_name, PRODUCTION, event.version)
    except MlflowException as error:
        if not is_missing(error):  # it may have been moved: the next command looks
            raise
        events.erase(client, model_name, number)
        raise AuditError(f"model_name={model_name}: {shown(event.version)} was deleted from the registry") from None
    log = events.read(client, model_name)
    if number not in log.unfinished and number not in log.finished:
        # Taken for dead, because it was stopped for so long: others went on, and then this move came after theirs.
        number, event = log.next_number, replace(event, replaced=log.in_use[-1])
    _finish(client, model_name, number, event)
    if log.production != event.version:
        raise AuditError(
            f"model_name={model_name}: production was moved to {shown(event.version)}, but at the same time something "
            f"else moved it to {shown(log.production)}, where it is now; see `feature-audit history`, then promote "
            "the version that you want"
        )
    return event


def _finish(client: Any, model_name: str, number: int, event: Event) -> Event:
    from mlflow.exceptions import MlflowException

    if event.action == "promote":
        try:
            client.set_model_version_tag(model_name, event.version, "audit.replaced", event.replaced or "none")
        except MlflowException as error:
            if not is_missing(error):  # deleted since; the log keeps it
                raise
    finished = replace(event, finished=True)
    events.write(client, model_name, number, finished)
    return finished


def settled_log(client: Any, model_name: str) -> tuple[Log, Event | None]:
    """The log without what dead processes left in it: a move that was made is finished, another one erased.

    Returns:
        The log, and the last event that was finished for its process.
    """
    log, finished = events.read(client, model_name), None
    left = {number: event for number, event in log.unfinished.items() if _is_left(event)}
    for number, event in left.items():
        if log.production == event.version:
            finished = _finish(client, model_name, number, event)
        else:
            events.erase(client, model_name, number)
    return (events.read(client, model_name) if left else log), finished


def _is_left(event: Event) -> bool:
    return processes.has_ended(event.process) or abs(event.age) > ABANDONED


def _at_work(log: Log) -> str:
    event = next(iter(log.unfinished.values()), None)
    if event is None:
        return "other commands keep moving production"
    return (
        f"a {event.action} to {shown(event.version)} by {event.by or 'another user'} began at {event.time} and is not "
        "finished"
    )


def open_model(model_name: str) -> Any:
    """A client, once the registry has answered that it holds the model."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient()
    try:
        client.get_registered_model(model_name)
    except MlflowException as error:
        if not is_missing(error):
            raise
        raise AuditError(f"model_name={model_name}: no such registered model; run an audit that passes first") from None
    return client

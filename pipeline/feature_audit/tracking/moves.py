"""How ``production`` is moved: announced in the model's log, made, and marked as finished; by one command at a time.

The announcement is also the lock: a command moves the alias only if, after announcing its move, it sees no other
announcement, so at most one of two concurrent commands continues. The next command cleans up after a killed one.

MLflow has no compare-and-swap. Two gaps remain, each one request long. First, someone may move the alias by other means
(in MLflow's pages) between this command's last check and its move: that move is overwritten without notice, while a
later one is noticed. Second, a command may be suspended there for longer than ``ABANDONED`` seconds and then continue:
both moves are then in the log, in the order in which they took effect.
"""

from __future__ import annotations

import difflib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from feature_audit.errors import AuditError
from feature_audit.masking import masked
from feature_audit.tracking import events, processes
from feature_audit.tracking.connection import answers_soon, is_missing
from feature_audit.tracking.events import PRODUCTION, Event, Log, shown

#: Seconds after which an announcement counts as abandoned, whether or not its process can be checked.
ABANDONED = 120.0
#: Seconds that a command waits for another running command.
PATIENCE = 20.0
_ELSEWHERE = "set MLFLOW_TRACKING_URI to the store of the audit, start in its folder, or run an audit that passes first"


@dataclass(frozen=True)
class Move:
    """Result of a command.

    Attributes:
        event: the event that is now in the log.
        repeated: nothing was left to do, because an earlier command had done it.
    """

    event: Event
    repeated: bool


Decide = Callable[[Any, Log, Event | None], Event | Move]


def act(model_name: str, decide: Decide) -> Move:
    """Decide based on the log and, if no other process is making a move, make the decided move.

    Args:
        model_name: registered model.
        decide: (client, log, event of a killed command that was just completed) -> the move to make, or the result.
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
            time.sleep(random.uniform(0.05, 0.3))  # breaks the tie between two commands that saw each other


def _carry_out(client: Any, model_name: str, number: int, event: Event) -> Event:
    """Move the alias and mark the event as finished."""
    from mlflow.exceptions import MlflowException

    try:
        if event.version is None:
            client.delete_registered_model_alias(model_name, PRODUCTION)
        else:
            client.set_registered_model_alias(model_name, PRODUCTION, event.version)
    except MlflowException as error:
        if not is_missing(error):  # the alias may have been moved; the next command checks
            raise
        events.erase(client, model_name, number)
        raise AuditError(f"model_name={model_name}: {shown(event.version)} was deleted from the registry") from None
    log = events.read(client, model_name)
    if number not in log.unfinished and number not in log.finished:
        # This process was suspended and considered dead: others continued, and this move came after theirs.
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
            if not is_missing(error):  # deleted in the meantime; the log keeps it
                raise
    finished = replace(event, finished=True)
    events.write(client, model_name, number, finished)
    return finished


def settled_log(client: Any, model_name: str) -> tuple[Log, Event | None]:
    """Clean up after dead processes: moves that were made are marked as finished, others are erased.

    Returns:
        The log, and the last event that was marked as finished here.
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
    """A client, after the registry has confirmed that the model exists."""
    import mlflow
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient()
    try:
        client.get_registered_model(model_name)
    except MlflowException as error:
        if not is_missing(error):
            raise
        names = [model.name for model in client.search_registered_models(max_results=100)]
        near = difflib.get_close_matches(model_name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else _ELSEWHERE
        where = masked(mlflow.get_registry_uri())
        raise AuditError(f"model_name={model_name}: no such registered model in {where}; {hint}") from None
    return client

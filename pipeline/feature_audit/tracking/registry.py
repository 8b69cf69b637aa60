"""The model registry: candidates are registered (``registration.py``), promoted, and rolled back.

The alias ``prune-candidate`` names the newest version that passed, ``production`` the one in use. Every move of
``production`` is an event of its own under a tag key of its own on the registered model, so that concurrent promotions
never overwrite each other's record.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from feature_audit.errors import AuditError
from feature_audit.tracking.connection import connect, store_problem
from feature_audit.tracking.registration import (
    CANDIDATE,
    RawInput,
    check_name,
    check_ready,
    example_of,
    register,
    signature_of,
)

__all__ = [
    "CANDIDATE", "PRODUCTION", "Event", "RawInput", "check_name", "check_ready", "example_of", "history", "promote",
    "register", "rollback", "signature_of", "withdraw",
]  # fmt: skip

PRODUCTION = "production"
_EVENT = "audit.event."
_ATTEMPTS = 6


@dataclass(frozen=True)
class Event:
    """One move of the alias ``production``.

    Attributes:
        time: ISO 8601, UTC.
        action: ``promote`` or ``rollback``.
        version: the version that ``production`` names afterwards; None = the alias was removed.
        replaced: the version that it named before; None = none.
        forced, reason: set where a person overrode the verdict.
        by: who did it, as far as the environment says.
        undoes: for a rollback, the key of the promotion that it takes back.
    """

    time: str
    action: str
    version: str | None
    replaced: str | None
    forced: bool = False
    reason: str | None = None
    by: str = ""
    undoes: str | None = None


def withdraw(address: str) -> None:
    """Take the alias ``prune-candidate`` off a version whose audit no longer recommends it.

    Args:
        address: ``models:/<name>/<version>``.

    Raises:
        AuditError: the registry refuses or does not answer.
    """
    connect()
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    model_name, version = address.removeprefix("models:/").rsplit("/", 1)
    client = MlflowClient()
    try:
        if _alias(client, model_name, CANDIDATE) == version:
            client.delete_registered_model_alias(model_name, CANDIDATE)
        client.set_model_version_tag(model_name, version, "audit.verdict", "withdrawn")
    except MlflowException as error:
        raise AuditError(f"{address} is no longer recommended: {store_problem(error)}") from error


def promote(model_name: str, version: str | None, *, force: bool, reason: str | None) -> Event:
    """Move ``production`` to ``version`` (default: the candidate) and record what it replaced.

    Raises:
        AuditError: no such model or version; the verdict is not pass and ``force`` is not set, or set without a reason.
    """
    client = _client(model_name)
    version = version or _alias(client, model_name, CANDIDATE)
    if version is None:
        raise AuditError(
            f"model_name={model_name}: no version carries the alias {CANDIDATE}; run an audit that passes first"
        )
    verdict = _version_tags(client, model_name, version).get("audit.verdict", "none")
    if verdict != "pass" and not force:
        raise AuditError(
            f"model_name={model_name} version={version}: its verdict is {verdict}, not pass; "
            "audit again, or override with --force --reason '...'"
        )
    if force and not reason:
        raise AuditError("force=true: give a reason, e.g. --reason 'agreed with the ranking team'; it is recorded")
    replaced = _alias(client, model_name, PRODUCTION)
    event = Event(_now(), "promote", version, replaced, force, reason, _who())
    _insist(client.set_registered_model_alias, model_name, PRODUCTION, version)
    _record(client, model_name, event)
    _insist(client.set_model_version_tag, model_name, version, "audit.replaced", replaced or "none")
    return event


def rollback(model_name: str) -> Event:
    """Put back the version that the last promotion still standing replaced.

    Raises:
        AuditError: no such model, or no promotion is left to take back.
    """
    client = _client(model_name)
    events = _events(client, model_name)
    undone = {event.undoes for _, event in events if event.action == "rollback"}
    standing = [(key, event) for key, event in events if event.action == "promote" and key not in undone]
    if not standing:
        raise AuditError(f"model_name={model_name}: no promotion to roll back; see `feature-audit history`")
    key, last = standing[-1]
    current = _alias(client, model_name, PRODUCTION)
    if last.replaced is None:
        client.delete_registered_model_alias(model_name, PRODUCTION)
    else:
        _insist(client.set_registered_model_alias, model_name, PRODUCTION, last.replaced)
    event = Event(_now(), "rollback", last.replaced, current, by=_who(), undoes=key)
    _record(client, model_name, event)
    return event


def history(model_name: str) -> list[Event]:
    """All events, oldest first.

    Raises:
        AuditError: no such model.
    """
    return [event for _, event in _events(_client(model_name), model_name)]


def _client(model_name: str) -> Any:
    connect()
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient()
    try:
        client.get_registered_model(model_name)
    except MlflowException:
        raise AuditError(f"model_name={model_name}: no such registered model; run an audit that passes first") from None
    return client


def _alias(client: Any, model_name: str, alias: str) -> str | None:
    version = client.get_registered_model(model_name).aliases.get(alias)
    return None if version is None else str(version)


def _insist(write: Callable[..., Any], *arguments: str) -> None:
    """Write to the registry, whoever else does so at the same moment.

    MLflow's sqlite store inserts a new alias or tag without looking whether another process just did; asked again, it
    updates.
    """
    from mlflow.exceptions import MlflowException

    for attempt in range(_ATTEMPTS):
        try:
            write(*arguments)
        except MlflowException:
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(0.05 * 2**attempt)
        else:
            return


def _version_tags(client: Any, model_name: str, version: str) -> dict[str, str]:
    from mlflow.exceptions import MlflowException

    try:
        return dict(client.get_model_version(model_name, version).tags)
    except MlflowException:
        raise AuditError(
            f"model_name={model_name} version={version}: no such version; see the registry in the MLflow UI"
        ) from None


def _record(client: Any, model_name: str, event: Event) -> None:
    # nanoseconds order the events and keep two processes' keys apart
    _insist(client.set_registered_model_tag, model_name, f"{_EVENT}{time.time_ns()}", json.dumps(asdict(event)))


def _events(client: Any, model_name: str) -> list[tuple[str, Event]]:
    tags = client.get_registered_model(model_name).tags
    keys = sorted((key for key in tags if key.startswith(_EVENT)), key=lambda key: int(key.removeprefix(_EVENT)))
    return [(key, Event(**json.loads(tags[key]))) for key in keys]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _who() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user in a bare container
        return ""

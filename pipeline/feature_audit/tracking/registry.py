"""The model registry: candidates are registered (``registration.py``), promoted, and rolled back.

The alias ``prune-candidate`` points to the newest version that passed, ``production`` to the one in use. This module
decides which moves are allowed; ``moves.py`` makes them, and ``events.py`` is the log of all moves.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from feature_audit.errors import AuditError
from feature_audit.tracking import processes
from feature_audit.tracking.connection import answers_soon, is_missing
from feature_audit.tracking.data_age import DATA_UNTIL, older
from feature_audit.tracking.events import CANDIDATE, PRODUCTION, Event, Log, shown
from feature_audit.tracking.job_models import check_job_model
from feature_audit.tracking.moves import Move, act, open_model, settled_log
from feature_audit.tracking.registration import (
    RawInput,
    check_name,
    check_ready,
    example_of,
    register,
    signature_of,
)

__all__ = [
    "CANDIDATE", "DATA_UNTIL", "PRODUCTION", "Event", "Log", "Move", "RawInput", "check_job_model", "check_name",
    "check_ready",
    "example_of", "history", "is_withdrawn", "promote", "register", "rollback", "shown", "signature_of",
]  # fmt: skip


_REASON_LIMIT = 1000


def promote(model_name: str, version: str | None, *, force: bool, reason: str | None) -> Move:
    """Move ``production`` to ``version`` (default: the candidate) and record what it replaced.

    Raises:
        AuditError: the model or version does not exist; the verdict is not pass, or the version in production was
            audited on newer data, and ``force`` is not set, or set without a reason; another command is running; or the
            registry does not respond.
    """
    reason = _checked(force, reason)

    def decide(client: Any, log: Log, settled: Event | None) -> Event | Move:
        wanted = version or log.candidate
        if wanted is None:
            raise AuditError(
                f"model_name={model_name}: no version has the alias {CANDIDATE}; run an audit that passes first"
            )
        found = _version(client, model_name, wanted)
        if found is None:
            hint = f"the candidate is version {log.candidate}" if log.candidate else "see the registry in the MLflow UI"
            raise AuditError(f"model_name={model_name} version={wanted}: no such version; {hint}")
        wanted = str(found.version)
        before = log.in_use[-1]
        if wanted == log.production == before:
            return Move(list(log.finished.values())[-1], repeated=True)
        doubt = _verdict_doubt(found) or (
            older(found, _version(client, model_name, log.production)) if log.production else None
        )
        if doubt and not force:
            raise AuditError(
                f"model_name={model_name} version={wanted}: {doubt}, or override with --force --reason '...'"
            )
        # Someone else had moved it there; from now on the log records it.
        replaced = before if wanted == log.production else log.production
        return _event("promote", wanted, replaced, force=force, reason=reason)

    return act(model_name, decide)


def rollback(model_name: str, *, force: bool = False, reason: str | None = None) -> Move:
    """Restore the version that was in production before the current one.

    If an earlier rollback was killed after moving the alias, this call completes that rollback and goes no further
    back.

    Raises:
        AuditError: no such model; no previous version, or it was deleted; ``production`` was moved without
            feature-audit and ``force`` is not set, or set without a reason; another command is running; the registry
            does not answer.
    """
    reason = _checked(force, reason)

    def decide(client: Any, log: Log, settled: Event | None) -> Event | Move:
        if settled and settled.action == "rollback":
            return Move(settled, repeated=True)
        stack = log.in_use
        moved = log.production != stack[-1]
        if moved:
            stack.append(log.production)
        if len(stack) == 1:
            raise AuditError(
                f"model_name={model_name}: there is no promotion to roll back; see `feature-audit history`"
            )
        there = [one is None or _version(client, model_name, one) is not None for one in stack[:-1]]
        if not there[-1]:
            left = [one for one, exists in zip(stack, there, strict=False) if one and exists and one != log.production]
            hint = f"version {left[-1]}, in use before it" if left else "another version"
            number = left[-1] if left else "<number>"
            raise AuditError(
                f"model_name={model_name}: the previous version {stack[-2]} was deleted from the registry; promote "
                f"{hint}: feature-audit promote --version {number}"
            )
        if moved and not force:
            raise AuditError(
                f"model_name={model_name}: production is {shown(log.production)}, but the last recorded move set "
                f"{shown(stack[-2])}, so it was moved without feature-audit; ask who moved it, or restore "
                f"{shown(stack[-2])} with --force --reason '...'"
            )
        return _event("rollback", stack[-2], log.production, force=force, reason=reason)

    return act(model_name, decide)


def history(model_name: str) -> Log:
    """Everything known about the alias ``production``, after cleaning up after killed commands.

    Raises:
        AuditError: the model does not exist, or the registry does not respond.
    """
    with answers_soon(f"model_name={model_name}"):
        client = open_model(model_name)
        log, _ = settled_log(client, model_name)
    return log


def is_withdrawn(model_name: str, version: str) -> bool:
    """Whether the version's audit no longer recommends it.

    Raises:
        AuditError: the registry does not respond.
    """
    with answers_soon(f"model_name={model_name}"):
        found = _version(open_model(model_name), model_name, version)
    return found is not None and found.tags.get("audit.verdict") == "withdrawn"


def _version(client: Any, model_name: str, version: str) -> Any | None:
    """A version as described by MLflow; None if it does not exist."""
    from mlflow.exceptions import MlflowException

    if not (version.isascii() and version.isdecimal()):
        raise AuditError(f"model_name={model_name} version={version}: give the number of a version, such as 3")
    try:
        return client.get_model_version(model_name, version)
    except MlflowException as error:
        if not is_missing(error):
            raise
        return None


def _verdict_doubt(found: Any) -> str | None:
    verdict = found.tags.get("audit.verdict", "none")
    return None if verdict == "pass" else f"its verdict is {verdict}, not pass; audit again"


def _checked(force: bool, reason: str | None) -> str | None:
    """The reason on one line."""
    reason = " ".join((reason or "").split()) or None
    if force and not reason:
        raise AuditError("force=true: give a reason, e.g. --reason 'agreed with the ranking team'; it is recorded")
    if reason and len(reason) > _REASON_LIMIT:
        raise AuditError(f"reason: {len(reason):,} characters; give at most {_REASON_LIMIT:,}")
    return reason


def _event(action: str, version: str | None, replaced: str | None, *, force: bool, reason: str | None) -> Event:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return Event(now, action, version, replaced, force, reason, _who(), processes.this_process(), finished=False)


def _who() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user in a bare container
        return ""

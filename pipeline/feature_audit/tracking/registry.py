"""The model registry: candidates are registered here, promoted, and rolled back.

The alias ``prune-candidate`` names the newest version that passed, ``production`` the one in use. Every move of
``production`` is an event of its own under a tag key of its own on the registered model, so that concurrent promotions
never overwrite each other's record.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from feature_audit.errors import AuditError
from feature_audit.tracking.runs import connect

CANDIDATE = "prune-candidate"
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
    """
    connect()
    from mlflow import MlflowClient

    model_name, version = address.removeprefix("models:/").rsplit("/", 1)
    client = MlflowClient()
    if _alias(client, model_name, CANDIDATE) == version:
        client.delete_registered_model_alias(model_name, CANDIDATE)
    client.set_model_version_tag(model_name, version, "audit.verdict", "withdrawn")


def _version_with(client: Any, model_name: str, key: str) -> str | None:
    found = client.search_model_versions(f"name = '{model_name}' and tags.`audit.key` = '{key}'")
    return next((str(one.version) for one in found if one.tags.get("audit.verdict") == "pass"), None)


@dataclass(frozen=True)
class RawInput:
    """A raw column that the model reads: its name and Polars dtype as text."""

    name: str
    dtype: str


def register(
    *,
    run_id: str,
    model_name: str,
    artifacts: Path,
    code: Sequence[Path],
    inputs: Sequence[RawInput],
    tags: Mapping[str, Any],
    description: str,
) -> str:
    """Register the pruned model and give it the alias ``prune-candidate``.

    Args:
        run_id: the audit's parent run, which the version keeps as its source.
        model_name: registered model, made where absent.
        artifacts: folder with ``weights.pt``, ``encoders.json`` and ``model.json``.
        code: packages and modules that loading the model takes and that no index of packages has.
        inputs: the kept raw columns; they make the signature.
        tags: version tags; ``audit.key`` names what was trained and judged, and a version that carries it already is
            used again.
        description: Markdown.

    Returns:
        The version, e.g. ``"3"``.
    """
    connect()
    import mlflow
    from mlflow import MlflowClient

    known = _version_with(MlflowClient(), model_name, tags["audit.key"])
    if known is not None:
        MlflowClient().set_registered_model_alias(model_name, CANDIDATE, known)
        return known
    with warnings.catch_warnings(), mlflow.start_run(run_id=run_id):
        warnings.simplefilter(
            "ignore", UserWarning
        )  # advice on type hints and input examples; the signature is explicit
        logged = mlflow.pyfunc.log_model(
            name="pruned",
            python_model=str(Path(__file__).with_name("scorer.py")),
            artifacts={"pruned": str(artifacts)},
            code_paths=[str(place) for place in code],
            signature=signature_of(inputs),
            pip_requirements=_requirements(),
            registered_model_name=None,
        )
    version = mlflow.register_model(logged.model_uri, model_name, tags={k: str(v) for k, v in tags.items()})
    client = MlflowClient()
    client.update_model_version(model_name, version.version, description=description)
    client.set_registered_model_alias(model_name, CANDIDATE, version.version)
    return str(version.version)


def signature_of(inputs: Sequence[RawInput]) -> Any:
    """An MLflow signature over exactly these raw columns.

    Texts, dates and lists are declared as such. Numbers and booleans are ``any``: pandas gives them another dtype as
    soon as a null is in a slice, MLflow would refuse that slice, and the encoders read every form of them.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    return ModelSignature(inputs=Schema([ColSpec(_mlflow_type(one), name=one.name, required=False) for one in inputs]))


def _mlflow_type(column: RawInput) -> Any:
    from mlflow.types.schema import AnyType, Array, DataType

    name = column.dtype
    if "Int128" in name or "UInt64" in name:  # no MLflow type holds them
        return AnyType()
    if name.startswith(("List", "Array")):
        inner = "Float" if "Float" in name else "Int" if "Int" in name else "String"
        return Array({"Float": DataType.double, "Int": DataType.long, "String": DataType.string}[inner])
    if name == "String":
        return DataType.string
    if name == "Date" or (name.startswith("Datetime") and "time_zone='" not in name):
        return DataType.datetime
    return AnyType()


def _requirements() -> list[str]:
    import importlib.metadata

    names = ("mlflow", "torch", "polars", "numpy", "scikit-learn", "scipy", "pydantic", "pyyaml", "tqdm")
    return [f"{name}=={importlib.metadata.version(name).split('+')[0]}" for name in names]


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

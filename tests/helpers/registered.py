"""A registered model with some versions, on a real sqlite store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlflow import MlflowClient

PASSED = {"audit.verdict": "pass", "audit.data_digest": "the same"}


def make_model(name: str, versions: Sequence[Mapping[str, str]]) -> MlflowClient:
    """Register a model with one version per mapping of tags; the versions are 1, 2 and so on."""
    client = MlflowClient()
    client.create_registered_model(name)
    for tags in versions:
        client.create_model_version(name, source="/nowhere", tags=dict(tags))
    return client


def alias(name: str, which: str = "production") -> str | None:
    """The version that an alias names."""
    version = MlflowClient().get_registered_model(name).aliases.get(which)
    return None if version is None else str(version)

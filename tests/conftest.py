"""Settings that must stand before torch is imported by any test."""

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# As in `feature_audit.cli.entry`: two test workers share two cores, so a waiting thread must not spin.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

# A limit in wall-clock time would fail a property because the machine is busy.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    """The command line sends the log to stderr, which pytest replaces for each test; no handler outlives its test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)

"""Fixtures of the selector tests."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from tiny_model import planted_task


@pytest.fixture(scope="session", params=["binary", "regression", "multiclass"])
def any_task(request: pytest.FixtureRequest) -> SimpleNamespace:
    return planted_task(request.param)


@pytest.fixture(scope="session")
def binary_task() -> SimpleNamespace:
    return planted_task("binary")


@pytest.fixture(scope="session")
def make_task() -> Callable[..., SimpleNamespace]:
    return planted_task

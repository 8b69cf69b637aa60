"""Fixtures of the data tests."""

from __future__ import annotations

import pytest


@pytest.fixture
def without_expectations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip Great Expectations, which takes half of the time on a small table.

    For tests of what was read, found or encoded. The validation is tested with its suite, in ``test_prepare.py``, with
    the readers and in whole audits.
    """
    none = {"passed": True, "failures": [], "statistics": {}, "results": {}}
    monkeypatch.setattr("feature_audit.data.checks.great_expectations_suite.validate", lambda *_: none)

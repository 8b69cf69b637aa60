"""What tests of the data work may leave out."""

from __future__ import annotations

import pytest


@pytest.fixture
def without_expectations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Great Expectations judges nothing.

    For tests that ask what was read, found or encoded: the judgement takes half of the time of a small table. It is
    tested with the suite, with ``test_prepare.py``, with the readers and with whole audits.
    """
    none = {"passed": True, "failures": [], "statistics": {}, "results": {}}
    monkeypatch.setattr("feature_audit.data.checks.great_expectations_suite.validate", lambda *_: none)

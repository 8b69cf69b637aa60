"""Fixtures of the stage tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def few_steps() -> Iterator[None]:
    """An epoch of a small table has 60 steps instead of 200 as in an audit.

    For modules that test the number of trainings or the use of their scores, but not the quality of the models.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("feature_audit.models.training._STEPS_PER_EPOCH", 60)
        yield

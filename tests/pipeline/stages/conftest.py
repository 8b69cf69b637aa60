"""What tests of the stages share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def few_steps() -> Iterator[None]:
    """An epoch of a small table has 60 steps instead of the 200 that it gets in an audit.

    For modules that count trainings, or ask what is done with their scores, but not how well they have learned.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("feature_audit.models.training._STEPS_PER_EPOCH", 60)
        yield

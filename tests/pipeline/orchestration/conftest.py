"""Fixtures of the tests of whole commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import tracking_in


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """An empty working directory with a tracking store; modules whose tests share one define their own fixture."""
    with tracking_in(tmp_path) as folder:
        yield folder

"""What tests of whole commands share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import tracking_in


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """An empty folder with a tracking store, which is the working directory; modules that share one make their own."""
    with tracking_in(tmp_path) as folder:
        yield folder

"""A stage's key covers the source that it runs, or a stale training would be reused."""

from __future__ import annotations

import re
from pathlib import Path

import concrete_selectors
import feature_audit
import pytest
from feature_audit.stages.audit import CODE

MODELS = Path(feature_audit.__file__).parent / "models"
SELECTORS = Path(concrete_selectors.__file__).parents[1]


@pytest.mark.parametrize("stage", ["baseline", "select", "retrain"])
def test_what_trainings_import_from_the_selectors_is_in_the_key(stage: str) -> None:
    source = "".join(file.read_text(encoding="utf-8") for file in MODELS.rglob("*.py"))
    imported = {
        f"{name.replace('.', '/')}.py" for name in re.findall(r"from (concrete_selectors[.\w]*) import", source)
    }
    assert imported
    assert all(place in CODE[stage] or "concrete_selectors" in CODE[stage] for place in imported)
    assert all((SELECTORS / place).is_file() for place in imported)

"""A stage's key covers the source that it runs, or a stale training would be reused."""

from __future__ import annotations

import importlib
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


#: What stages run without its changing what they find: their settings are in the key, what they read is an input.
_ELSEWHERE = ("config.py", "errors.py", "data/", "stages/cache.py", "stages/progress.py", "stages/process.py")
#: Stages whose digest is an input, and with it their source.
_BEFORE = {"select": ("baseline",), "parity": ("baseline", "retrain")}
#: What a stage is given, of which all that it uses is an input.
_GIVEN = {"retrain": ("Selection",)}


@pytest.mark.parametrize("stage", list(CODE))
def test_what_a_stage_imports_is_in_its_key(stage: str) -> None:
    root = Path(feature_audit.__file__).parent
    own = [place for place in CODE[stage] if place.startswith("stages/")]
    code = [place for one in (stage, *_BEFORE.get(stage, ())) for place in CODE[one]]
    assert own
    for place in own:
        for module, names in re.findall(
            r"^from (feature_audit[.\w]*) import (.+?)$", _source(root / place), re.MULTILINE
        ):
            for name in set(names.split(", ")) - set(_GIVEN.get(stage, ())):
                found = getattr(importlib.import_module(module), name.split(" as ")[0])
                made_in = getattr(found, "__module__", None) or module  # a constant does not say
                file = importlib.import_module(made_in).__file__
                needed = str(Path(str(file)).relative_to(root)) if made_in.startswith("feature_audit") else ""
                if needed and not needed.startswith(_ELSEWHERE) and not needed.endswith("__init__.py"):
                    assert _covered(needed, code), f"{place} runs {name} of {needed}"


def _covered(file: str, code: list[str]) -> bool:
    return any(file == place or file.startswith(f"{place}/") for place in code)


def _source(file: Path) -> str:
    """With imports in parentheses on one line."""
    text = file.read_text(encoding="utf-8")
    return re.sub(r"import \(([^)]*)\)", lambda found: "import " + ", ".join(re.findall(r"[\w ]*\w", found[1])), text)

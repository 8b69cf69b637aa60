"""The files that a factory's module needs to be imported elsewhere, and their digest."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sklearn
import torch
from feature_audit.errors import UsageError
from feature_audit.models import MODELS, is_installed, own_code, own_code_digest

FILES = {
    "a_single_file.py": "import a_sibling\ndef build(schema): ...\n",
    "a_sibling.py": "def late():\n    from a_folder.deep import thing\n",
    "a_folder/deep/thing.py": "import json, sklearn, not_there\n",
    "a_folder/deep/not_imported.py": "",
    "unrelated.py": "",
    "a_package/__init__.py": "",
    "a_package/layers.py": "WIDTH = 8\n",
    "a_package/rankers/__init__.py": "from ..helpers import a\nfrom . import heads\ndef build(schema): ...\n",
    "a_package/rankers/heads.py": "from other_package.blocks import Block\n",
    "a_package/helpers.py": "a = 1\n",
    "a_package/broken.py": "print 'two'\n",
    "a_package/.env": "TOKEN=secret",
    "a_package/credentials.json": "{}",
    "a_package/.git/hooks/hook.py": "",
    "other_package/__init__.py": "from other_package.blocks import Block\n",
    "other_package/blocks.py": "class Block: ...\n",
}
PACKAGES = {
    "a_package/__init__.py",
    "a_package/layers.py",
    "a_package/rankers/__init__.py",
    "a_package/rankers/heads.py",
    "a_package/helpers.py",
    "a_package/broken.py",
    "other_package/__init__.py",
    "other_package/blocks.py",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with modules and packages."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path.resolve()
    for name in [name for name in sys.modules if name.partition(".")[0] in {Path(file).parts[0] for file in FILES}]:
        del sys.modules[name]
    for name in ("a_single_file", "a_sibling"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("a_single_file:build", {"a_single_file.py", "a_sibling.py", "a_folder/deep/thing.py"}),
        ("a_package.rankers:build", PACKAGES),
    ],
)
def test_own_code_is_exactly_the_imported_source_files(home: Path, name: str, files: set[str]) -> None:
    found = own_code(name)
    assert set(found) == files
    assert all(found[place] == home / place and not is_installed(found[place]) for place in files)


@pytest.mark.parametrize("name", ["a_single_file:build", "a_package.rankers:build"])
def test_an_edit_of_any_of_these_files_is_seen_and_no_other(home: Path, name: str) -> None:
    before = own_code_digest(name)
    for place in FILES:
        kept = (home / place).read_bytes()
        (home / place).write_bytes(kept + b"\n# edited")
        assert (own_code_digest(name) != before) == (place in own_code(name)), place
        (home / place).write_bytes(kept)
    assert own_code_digest(name) == before


def test_shipped_models_have_none_and_unknown_ones_are_refused() -> None:
    assert all(own_code(name) == {} for name in MODELS)
    assert {own_code_digest(name) for name in MODELS} == {""}
    with pytest.raises(UsageError, match="model=no_such:build"):
        own_code("no_such:build")


def test_installed_packages_are_distinguished_from_own_code() -> None:
    assert all(is_installed(Path(str(package.__file__)).resolve()) for package in (sklearn, torch))
    assert is_installed(Path("/usr/lib/python3/dist-packages/numpy/__init__.py"))
    files = own_code("click.core:Command")
    assert "click/core.py" in files
    assert all(place.startswith("click/") and is_installed(file) for place, file in files.items())

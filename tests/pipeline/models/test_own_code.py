"""What a factory's module needs to be imported elsewhere, and a digest that changes with it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sklearn
import torch
from feature_audit.errors import UsageError
from feature_audit.models import MODELS, is_installed, own_code, own_code_digest


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with a module and a package."""
    (tmp_path / "a_single_file.py").write_text("def build(schema): ...\n", encoding="utf-8")
    (tmp_path / "a_package" / "rankers").mkdir(parents=True)
    (tmp_path / "a_package" / "__init__.py").touch()
    (tmp_path / "a_package" / "layers.py").write_text("WIDTH = 8\n", encoding="utf-8")
    (tmp_path / "a_package" / "rankers" / "__init__.py").write_text("def build(schema): ...\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path.resolve()
    for name in [name for name in sys.modules if name.startswith(("a_single_file", "a_package"))]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "place"),
    [("a_single_file:build", "a_single_file.py"), ("a_package.rankers:build", "a_package")],
)
def test_a_module_is_its_file_and_a_package_is_its_folder(home: Path, name: str, place: str) -> None:
    assert own_code(name) == home / place
    assert not is_installed(home / place)


def test_every_file_of_a_package_counts(home: Path) -> None:
    before = own_code_digest("a_package.rankers:build")
    assert before == own_code_digest("a_package.rankers:build")
    (home / "a_package" / "layers.py").write_text("WIDTH = 16\n", encoding="utf-8")
    assert own_code_digest("a_package.rankers:build") != before


def test_shipped_models_have_none_and_unknown_ones_are_refused() -> None:
    assert {own_code(name) for name in MODELS} == {None}
    assert {own_code_digest(name) for name in MODELS} == {""}
    with pytest.raises(UsageError, match="model=no_such:build"):
        own_code("no_such:build")


def test_installed_packages_are_told_apart() -> None:
    assert all(is_installed(Path(str(package.__file__)).resolve()) for package in (sklearn, torch))

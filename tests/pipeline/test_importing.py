"""A function that a user names as ``package.module:function``."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from feature_audit.errors import UsageError
from feature_audit.importing import import_function

_NAMES = (f"a_users_module_{number}" for number in itertools.count())


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module that does not exist yet; its file belongs in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])  # as a console script starts
    name = next(_NAMES)
    yield name
    sys.modules.pop(name, None)


def test_it_is_found_in_the_working_directory_and_among_the_installed(module: str, tmp_path: Path) -> None:
    (tmp_path / f"{module}.py").write_text("def build(x):\n    return x + 1\n")
    assert import_function("model", f"{module}:build")(1) == 2
    assert import_function("prepare", "math:sqrt") is math.sqrt
    assert import_function("model", "feature_audit.models:by_name")  # our own code is not the place of a user's mistake
    with pytest.raises(UsageError, match=rf"cannot import {module}_absent: No module named '{module}_absent'; start"):
        import_function("model", f"{module}_absent:build")


@pytest.mark.parametrize(
    ("name", "source", "says"),
    [
        ("{}", "", "write it as package.module:function"),
        ("{}:", "", "write it as package.module:function"),
        (":build", "", "write it as package.module:function"),
        ("{}_absent:build", "", "cannot import {}_absent: No module named '{}_absent'; start the command in"),
        ("{}_no.such:build", "", "cannot import {}_no.such: No module named '{}_no'; start the command in the folder"),
        ("{}.py:build", "", "cannot import {}.py: No module named '{}.py'; '{}' is not a package; write package"),
        ("{}:build", "import not_there_at_all", "cannot import {}: No module named 'not_there_at_all'"),
        ("{}:build", "def build(:", "importing {} fails: SyntaxError: "),
        ("{}:build", "1 / 0", "importing {} fails: ZeroDivisionError: division by zero"),
        ("{}:built", "def build(): ...", "{} has no function built; did you mean {}:build?"),
        ("{}:x", "def build(): ...", "{} has no function x; name one that {} defines"),
        ("{}:build", "build = 3", "{} has no function build"),
    ],
)
def test_a_mistake_names_key_value_and_what_is_wrong(
    module: str, tmp_path: Path, name: str, source: str, says: str
) -> None:
    (tmp_path / f"{module}.py").write_text(source)
    name, says = name.replace("{}", module), says.replace("{}", module)
    with pytest.raises(UsageError) as refused:
        import_function("model", name)
    assert str(refused.value).startswith(f"model={name}: {says}")


_COLLECTIONS = """
import gc, json
from feature_audit.importing import large_imports

collections, kept = [], []
gc.callbacks.append(lambda phase, info: collections.append(phase))
with large_imports():
    import asyncio, unittest.mock
kept.append(gc.get_freeze_count())
with large_imports(fresh=True):
    import xmlrpc.server
kept.append(gc.get_freeze_count())
garbage_of_others = [[] for _ in range(500)]
with large_imports(fresh=True):
    import asyncio
kept.append(gc.get_freeze_count())
with large_imports():
    import ftplib
kept.append(gc.get_freeze_count())
gc.disable()
with large_imports():
    import imaplib
print(json.dumps({"collections": len(collections), "kept": kept, "enabled": gc.isenabled()}))
"""


def test_large_imports_pause_garbage_collection_and_only_a_fresh_process_freezes_objects() -> None:
    """As ``feature-audit`` starts; in a process of its own, as what it keeps it keeps for good."""
    path = {"PYTHONPATH": ":".join(filter(None, sys.path))}
    made = subprocess.run([sys.executable, "-c", _COLLECTIONS], capture_output=True, text=True, check=True, env=path)
    found = json.loads(made.stdout)
    none, first, repeated, later = found["kept"]
    assert none == 0
    assert 0 < first == repeated < later
    assert found["collections"] <= 4, "one after each context at most, of two phases"
    assert found["enabled"] is False, "as it was before"

"""The source of a team's own model: an edit makes another model, and a registered version takes the source along."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

from feature_audit.models.build import MODELS, find_factory

#: Packages whose source is in the keys of stages, and in every registered version, already.
_PROJECT = ("feature_audit", "concrete_selectors")


def own_code(name: str) -> dict[str, Path]:
    """The Python files that a factory's module consists of and imports, but for installed packages.

    Of a package all ``*.py`` files count, since it may import them by name while it runs; nothing else in its folder
    does, and no hidden folder.

    Args:
        name: a shipped model, or ``package.module:factory``.

    Returns:
        path below the folder that Python imports it from, such as ``rankers/two_tower.py`` -> file; empty for a
        shipped model. A factory in an installed package gives the files of this package.

    Raises:
        UsageError: no such module or function.
    """
    if name in MODELS:
        return {}
    find_factory(name)  # puts the working directory on the path, and says it in one line where there is none
    found: dict[str, Path] = {}
    roots: set[str] = set()
    waiting = [name.partition(":")[0]]
    while waiting:
        root = _root(waiting.pop())
        if root is None or root.name in roots or (roots and is_installed(_origin(root))):
            continue
        roots.add(root.name)
        files = _files(root)
        found |= files
        if not is_installed(_origin(root)):  # what an installed package imports comes with it
            waiting += [module for place, file in files.items() for module in _imports(place, file)]
    return found


def own_code_digest(name: str) -> str:
    """blake2b of the files of ``own_code``; empty for a shipped model.

    Raises:
        UsageError: no such module or function.
    """
    files = own_code(name)
    if not files:
        return ""
    digest = hashlib.blake2b(digest_size=16)
    for place, file in sorted(files.items()):
        digest.update(place.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def is_installed(file: Path) -> bool:
    """Does the code lie where packages are installed? Then whoever loads a model installs it, too."""
    folders = [Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib")]
    # A virtual environment may see the packages of the Python below it.
    return any(map(file.is_relative_to, folders)) or not {"site-packages", "dist-packages"}.isdisjoint(file.parts)


def _root(module: str) -> ModuleSpec | None:
    """The outermost package of a module, or the module itself if it is in none; None for Python's own and ours."""
    names = module.split(".")
    if names[0] in sys.stdlib_module_names or names[0] in _PROJECT:
        return None
    for depth in range(1, len(names) + 1):
        spec = _spec(".".join(names[:depth]))
        if spec is None:
            return None
        if spec.origin is not None and spec.origin.endswith(".py"):
            return spec  # else a folder without __init__.py: the module lies deeper
    return None


def _origin(spec: ModuleSpec) -> Path:
    return Path(str(spec.origin)).resolve()


def _files(root: ModuleSpec) -> dict[str, Path]:
    """The file of a module, or all files of a package."""
    file, place = _origin(root), root.name.replace(".", "/")
    if root.submodule_search_locations is None:
        return {f"{place}.py": file}
    inner = {path.relative_to(file.parent): path for path in sorted(file.parent.rglob("*.py"))}
    return {
        f"{place}/{path.as_posix()}": full
        for path, full in inner.items()
        if not any(part.startswith(".") for part in path.parts)
    }


def _spec(module: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):  # a name that is no module, or a module made by hand
        return None


def _imports(place: str, file: Path) -> Iterator[str]:
    """Modules that a file imports anywhere in it; of ``from a import b`` both ``a`` and ``a.b``, which may be one."""
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError:  # not meant for this Python; it cannot be imported either
        return
    package = place.rpartition("/")[0].replace("/", ".")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(filter(None, (above, node.module)))
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))

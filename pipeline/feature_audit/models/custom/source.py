"""The source code of a user's model: an edit makes it another model, and a registered version includes the source."""

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

#: Packages whose source is already in the keys of stages and in every registered version.
_PROJECT = ("feature_audit", "concrete_selectors")


def own_code(name: str) -> dict[str, Path]:
    """The Python files that a factory's module consists of and imports, except installed packages.

    All ``*.py`` files of a package count, since it may import them by name at run time; other files in its folder and
    hidden folders do not.

    Args:
        name: a built-in model, or ``package.module:factory``.

    Returns:
        path below the folder that Python imports it from, such as ``rankers/two_tower.py`` -> file; empty for a
        built-in model. For a factory in an installed package: the files of this package.

    Raises:
        UsageError: the module or function does not exist.
    """
    if name in MODELS:
        return {}
    find_factory(name)  # adds the working directory to the path; raises a one-line error if there is no such factory
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
        if not is_installed(_origin(root)):  # the imports of an installed package are installed with it
            waiting += [module for place, file in files.items() for module in _imports(place, file)]
    return found


def own_code_digest(name: str) -> str:
    """blake2b of the files of ``own_code``; empty for a built-in model.

    Raises:
        UsageError: the module or function does not exist.
    """
    files = own_code(name)
    if not files:
        return ""
    digest = hashlib.blake2b(digest_size=16)
    for place, file in sorted(files.items()):
        digest.update(place.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def is_installed(file: Path) -> bool:
    """Whether the file is in a folder of installed packages; a user who loads a model then installs the package too."""
    folders = [Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib")]
    # A virtual environment may use the packages of its base Python.
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
            return spec  # else a folder without __init__.py: the module is further down
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
    except (ImportError, ValueError, AttributeError):  # not the name of a module, or one created by hand
        return None


def _imports(place: str, file: Path) -> Iterator[str]:
    """Modules that a file imports anywhere in it; of ``from a import b`` both ``a`` and ``a.b`` (maybe a module)."""
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError:  # written for another Python version; it cannot be imported either
        return
    package = place.rpartition("/")[0].replace("/", ".")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(filter(None, (above, node.module)))
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))

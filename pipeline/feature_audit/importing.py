"""Functions that a user names as ``package.module:function``."""

from __future__ import annotations

import importlib
import importlib.util
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from feature_audit.errors import AuditError, UsageError

#: Configuration keys whose value can name a user's function.
_KEYS = ("prepare", "model")


def named_code(values: Mapping[str, Any]) -> dict[str, str]:
    """The functions that a configuration names, key -> ``package.module:function``: code that an audit runs."""
    named = {key: values.get(key) for key in _KEYS}
    return {key: name for key, name in named.items() if isinstance(name, str) and ":" in name}


def code_options(values: Mapping[str, Any]) -> str:
    """The functions that a configuration names as options after a command, quoted for a POSIX shell; else nothing."""
    return "".join(f" --{key} {shlex.quote(name)}" for key, name in named_code(values).items())


def import_function(key: str, name: str) -> Callable[..., Any]:
    """The function behind a name.

    Args:
        key: the configuration key that names it.
        name: ``package.module:function``; the module may lie in the working directory.

    Raises:
        UsageError: not of this form, no such module, one that fails while it is imported, or no such function.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise UsageError(f"{key}={name}: write it as package.module:function")
    if module_name not in sys.modules:
        see_working_directory()
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UsageError(f"{key}={name}: cannot import {module_name}: {error}") from None
    except Exception as error:  # a module of the user's may fail in any way
        what = f"{type(error).__name__}: {error}"
        raise UsageError(f"{key}={name}: {module_name} fails while it is imported: {what}") from error
    function = getattr(module, attribute, None)
    if not callable(function):
        raise UsageError(f"{key}={name}: {module_name} has no function {attribute}")
    return function


def import_packed(key: str, name: str, folder: Path) -> None:
    """Import the module of ``package.module:function`` from the code that a registered model brings along.

    Afterwards ``import_function`` finds it, and needs no working directory, where anybody's module may lie.

    Args:
        key: what names it.
        name: ``package.module:function``.
        folder: the model's code; a module that is not in it is not imported.

    Raises:
        AuditError: it is not in the folder, or another module of this name would be imported instead.
    """
    module_name = name.partition(":")[0]
    parts = module_name.split(".")
    place = folder.joinpath(*parts)
    held = any(file.is_file() for file in (place.with_suffix(".py"), place / "__init__.py"))
    if not held or not all(map(str.isidentifier, parts)):
        raise AuditError(f"{key}={name}: the model does not contain this code, so it is not imported; register it anew")
    if module_name in sys.modules:
        return
    sys.path.insert(0, str(folder))
    try:
        for depth in range(1, len(parts) + 1):  # a package is imported where its module is looked for: ask it first
            found = importlib.util.find_spec(".".join(parts[:depth]))
            if found and found.origin and not Path(found.origin).resolve().is_relative_to(folder.resolve()):
                raise AuditError(
                    f"{key}={name}: {found.origin} would be imported instead of the model's own code; start elsewhere"
                )
        importlib.import_module(module_name)
    finally:
        sys.path.remove(str(folder))


def see_working_directory() -> None:
    """Let imports find a module of the user's in the working directory, as ``python -m`` would."""
    if "" not in sys.path:
        sys.path.insert(0, "")

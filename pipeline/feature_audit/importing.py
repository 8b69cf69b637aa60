"""Functions that a user names as ``package.module:function``."""

from __future__ import annotations

import importlib
import shlex
import sys
from collections.abc import Callable, Mapping
from typing import Any

from feature_audit.errors import UsageError

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


def see_working_directory() -> None:
    """Let imports find a module of the user's in the working directory, as ``python -m`` would."""
    if "" not in sys.path:
        sys.path.insert(0, "")

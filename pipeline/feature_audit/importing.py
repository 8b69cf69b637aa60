"""Functions that a user names as ``package.module:function``, and what goes wrong in them."""

from __future__ import annotations

import difflib
import functools
import gc
import importlib
import importlib.util
import os
import shlex
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from feature_audit.errors import AuditError, UsageError

#: Configuration keys whose value can name a user's function.
_KEYS = ("prepare", "model", "trainer")
#: The key whose value is a program to run.
_COMMAND = "command"
_LONGEST = 300  # characters of an exception's message
#: Outermost packages of the requested functions: a user's code even if it is installed.
_named: set[str] = set()


@contextmanager
def large_imports(*, fresh: bool = False) -> Iterator[None]:
    """Context for imports of large libraries, without garbage collections, which would find nothing.

    They take a tenth of the CPU time that a command needs to start.

    Args:
        fresh: the process has just started. What the imports leave is then exempt from all later collections, also what
            later imports leave. In a process that a user started, garbage that exists already would be kept as well.
    """
    enabled, known = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > known and (fresh or gc.get_freeze_count()):
            gc.freeze()
        if enabled:
            gc.enable()


def named_code(values: Mapping[str, Any]) -> dict[str, str]:
    """Code that an audit runs because a configuration names it: key -> ``package.module:function`` or a command."""
    named = {key: values.get(key) for key in (*_KEYS, _COMMAND)}
    return {key: name for key, name in named.items() if isinstance(name, str) and (":" in name or key == _COMMAND)}


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
    _named.add(module_name.partition(".")[0])
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UsageError(
            f"{key}={name}: cannot import {module_name}: {error}{place(error)}{_where_to_start(module_name, error)}"
        ) from None
    except (Exception, SystemExit) as error:  # a module of the user's may fail in any way
        raise UsageError(f"{key}={name}: importing {module_name} fails: {what_failed(error)}") from error
    function = getattr(module, attribute, None)
    if not callable(function):
        there = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        near = difflib.get_close_matches(attribute, there, n=1)
        hint = f"did you mean {module_name}:{near[0]}?" if near else f"name one that {module_name} defines"
        raise UsageError(f"{key}={name}: {module_name} has no function {attribute}; {hint}")
    return function


def _where_to_start(module_name: str, error: ImportError) -> str:
    """The remedy where the named module itself is not found; "" where it is, and an import within it fails."""
    if not error.name or not f"{module_name}.".startswith(f"{error.name}."):
        return ""
    if "/" in module_name or module_name.endswith(".py"):
        return "; write package.module:function, without .py and with dots for folders"
    return "; start the command in the folder that contains it, or add this folder to PYTHONPATH"


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
        raise AuditError(
            f"{key}={name}: the model does not contain this code, so it is not imported; register it again"
        )
    if module_name in sys.modules:
        return
    sys.path.insert(0, str(folder))
    try:
        for depth in range(1, len(parts) + 1):  # a package is imported where its module is looked for: ask it first
            found = importlib.util.find_spec(".".join(parts[:depth]))
            if found and found.origin and not Path(found.origin).resolve().is_relative_to(folder.resolve()):
                raise AuditError(
                    f"{key}={name}: {found.origin} would be imported instead of the code in the model; start in "
                    "another folder"
                )
        importlib.import_module(module_name)
    finally:
        sys.path.remove(str(folder))


def see_working_directory() -> None:
    """Let imports find a user's module in the working directory, as ``python -m`` would."""
    if "" not in sys.path:
        sys.path.insert(0, "")


@contextmanager
def users_code() -> Iterator[None]:
    """Within the context, an exception of a user's function becomes a one-line error with its place in the user's code.

    Raises:
        AuditError: the user's code failed, or tried to end the process; other exceptions pass unchanged.
    """
    try:
        yield
    except AuditError:
        raise
    except (Exception, SystemExit) as error:
        if not place(error) and isinstance(error, Exception):
            raise
        raise AuditError(f"{what_failed(error)} [feature-audit -v shows the traceback]") from error


def what_failed(error: BaseException) -> str:
    """In one line: an exception's type, its message, and the place in the user's code, if there is one."""
    text = " ".join(str(error).split())
    text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    summary = f"{type(error).__name__}{': ' if text else ''}{text}{place(error)}"
    return f"{summary}: code that an audit calls must not end the process" if isinstance(error, SystemExit) else summary


def place(error: BaseException) -> str:
    """`` (file:line, in function)`` of the innermost frame of a user's code; "" if there is no such frame."""
    seen: BaseException | None = error
    while seen is not None:
        frames = [(frame.f_code, frame.f_globals, line) for frame, line in traceback.walk_tb(seen.__traceback__)]
        users = [(code, line) for code, names, line in frames if _is_users(code.co_filename, names)]
        if users:
            code, line = users[-1]
            return f" ({_shown(code.co_filename)}:{line}, in {code.co_name})"
        seen = seen.__cause__ or seen.__context__
    return ""


def _is_users(file: str, names: dict[str, Any]) -> bool:
    """Whether a file is the user's: not Python's, not ours, of no installed package that the user did not name."""
    root = str(names.get("__name__", "")).partition(".")[0]
    if file.startswith("<") or root in ("feature_audit", "concrete_selectors"):  # ours also if a model of ours is named
        return False
    return root in _named or not _is_library(file)


@functools.cache
def _is_library(file: str) -> bool:
    path = Path(file).absolute()
    folders = [Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
    resolved = path.resolve()
    return (
        any(path.is_relative_to(folder) or resolved.is_relative_to(folder.resolve()) for folder in folders)
        or not {"site-packages", "dist-packages"}.isdisjoint(path.parts)
        or path == Path(sys.argv[0]).absolute()
    )


def _shown(file: str) -> str:
    """The path relative to the working directory, if the file is in it."""
    short = os.path.relpath(file)
    return file if short.startswith(os.pardir) else short

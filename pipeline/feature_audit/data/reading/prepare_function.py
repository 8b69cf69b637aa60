"""The user's function that builds the table (``prepare=package.module:function``)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import polars as pl

from feature_audit.errors import AuditError
from feature_audit.importing import import_function, see_working_directory, what_failed


def call_prepare(name: str, data: str) -> pl.LazyFrame:
    """The table that the function builds from ``data``.

    Raises:
        UsageError: the function does not exist.
        AuditError: it raises, or does not return a Polars frame.
    """
    build = import_function("prepare", name)
    try:
        made = build(data)
    except AuditError:
        raise
    except (Exception, SystemExit) as error:  # the user's code may fail in any way
        raise AuditError(f"prepare={name}: failed with {what_failed(error)}") from error
    if isinstance(made, pl.DataFrame):
        made = made.lazy()
    if not isinstance(made, pl.LazyFrame):
        raise AuditError(f"prepare={name}: returned a {type(made).__name__}; return a Polars LazyFrame of features")
    return made


def prepare_source(name: str) -> bytes:
    """The source file of the user's ``prepare`` function, so that an edit counts as new data."""
    see_working_directory()
    try:
        found = importlib.util.find_spec(name.partition(":")[0])
    except (ImportError, ValueError):
        found = None
    return Path(found.origin).read_bytes() if found and found.origin and Path(found.origin).is_file() else b""

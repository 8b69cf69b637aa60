"""Small helpers for one-line error messages."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import polars as pl

#: Errors of Polars on missing, truncated or malformed files. A corrupt page may raise a panic, which is not an
#: ``Exception``.
READ_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
#: Errors of Python on files that it cannot read or decompress.
UNPACK_ERRORS = (OSError, EOFError, zlib.error)


def quoted(name: str) -> str:
    """The name, quoted if it has invisible characters or surrounding blanks."""
    return name if name and name == name.strip() and name.isprintable() else repr(name)


def listing(names: Sequence[str], limit: int = 6) -> str:
    """The first names, and the number of the others."""
    shown = ", ".join(map(quoted, names[:limit]))
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def one_line(error: BaseException, limit: int = 200) -> str:
    """An exception's first paragraph as one short line."""
    text = " ".join(str(error).split("\n\n")[0].split())
    return text if len(text) <= limit else text[: limit - 1] + "…"

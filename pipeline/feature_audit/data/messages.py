"""Small helpers for one-line error messages."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import polars as pl

#: What Polars raises on files that are missing, broken off or not what they say. A corrupt page may make it panic, and
#: that exception is no ``Exception``.
READ_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
#: What Python raises on files that it cannot read or unpack.
UNPACK_ERRORS = (OSError, EOFError, zlib.error)


def quoted(name: str) -> str:
    """A name as it is, or in quotes where blanks around it or control characters would not be seen."""
    return name if name and name == name.strip() and name.isprintable() else repr(name)


def listing(names: Sequence[str], limit: int = 6) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(map(quoted, names[:limit]))
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def one_line(error: BaseException, limit: int = 200) -> str:
    """An exception's first paragraph as one short line."""
    text = " ".join(str(error).split("\n\n")[0].split())
    return text if len(text) <= limit else text[: limit - 1] + "…"

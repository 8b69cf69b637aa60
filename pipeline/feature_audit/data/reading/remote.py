"""Remote data, named by a URI."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from feature_audit.data.messages import READ_ERRORS, one_line
from feature_audit.data.reading.files import ARROW, JSON, TEXT, bare_suffix
from feature_audit.errors import AuditError

#: Number of first and last rows in which changes of remote data are detected.
_GLANCE_ROWS = 1_000


def is_remote(data: str) -> bool:
    """Whether the data are named by a URI."""
    return re.match(r"^[a-z][a-z0-9+.-]+://", data, flags=re.IGNORECASE) is not None


def path_of(uri: str) -> Path:
    """The path in a URI, without its query."""
    return Path(uri.split("?", maxsplit=1)[0])


def glance(uri: str) -> Iterator[bytes]:
    """URI, schema and first rows of remote data; for Parquet and Arrow, which are seekable, also last rows and count.

    Raises:
        AuditError: the data cannot be read.
    """
    frame = open_remote(uri)
    yield repr((uri, frame.collect_schema())).encode()
    parts = [frame.head(_GLANCE_ROWS)]
    if bare_suffix(path_of(uri)) not in (*TEXT, *JSON):
        parts += [frame.tail(_GLANCE_ROWS), frame.select(pl.len())]
    try:
        for part in parts:
            yield part.collect().write_ipc(None).getvalue()
    except READ_ERRORS as error:
        raise AuditError(f"data={uri}: cannot be read ({one_line(error)})") from None


def open_remote(uri: str) -> pl.LazyFrame:
    """A lazy frame over remote files.

    Raises:
        AuditError: there are no files, or the store does not respond.
    """
    suffix = bare_suffix(path_of(uri))
    try:
        if suffix in JSON:
            frame = pl.scan_ndjson(uri, infer_schema_length=None)
        elif suffix in TEXT:
            frame = pl.scan_csv(uri)
        else:
            frame = pl.scan_ipc(uri) if suffix in ARROW else pl.scan_parquet(uri)
        frame.collect_schema()
    except READ_ERRORS as error:
        raise AuditError(f"data={uri}: cannot be opened ({one_line(error)})") from None
    return frame

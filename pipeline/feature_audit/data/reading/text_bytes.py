"""Opens text files, also compressed ones, and detects files with a text suffix that are not text."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import IO, cast

from feature_audit.data.messages import UNPACK_ERRORS, one_line
from feature_audit.errors import AuditError

_GLANCE = 1 << 16
#: Leading bytes of non-text files, and the remedy.
_BINARY = {
    b"PAR1": "is a Parquet file; name it .parquet",
    b"ARROW1": "is an Arrow file; name it .arrow",
    b"\x1f\x8b": "is gzip-compressed, although its name does not say so; add .gz to the name",
    b"PK\x03\x04": "is a zip archive, such as an Excel file; write its table as CSV or Parquet",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd, although its name does not say so; add .zst to the name",
    b"x^": "starts with x^, like compressed data; rename its first column, or use another separator",
    b"\xff\xfe": "is written in UTF-16; write it as UTF-8",
    b"\xfe\xff": "is written in UTF-16; write it as UTF-8",
    b"\x00\x00\xfe\xff": "is written in UTF-32; write it as UTF-8",
}
#: Share of zero bytes from which a file is UTF-16 or UTF-32 without a byte order mark, or binary.
_MOST_ZEROS = 0.1


def unpacked(path: Path) -> IO[bytes]:
    """The bytes of a file; .gz and .zst files are decompressed."""
    suffix = path.suffix.lower()
    if suffix == ".zst":
        import pyarrow as pa  # takes a third of a second

        return cast(IO[bytes], pa.input_stream(str(path), compression="zstd"))
    return cast(IO[bytes], gzip.open(path)) if suffix == ".gz" else path.open("rb")


def require_text(path: Path) -> None:
    """Refuse a file that is not text in UTF-8 (or in an encoding with the same line ends and separators).

    Args:
        path: the file, also .gz and .zst.

    Raises:
        AuditError: it is not text, or cannot be read.
    """
    try:
        with unpacked(path) as stream:
            start = stream.read(_GLANCE)
    except UNPACK_ERRORS as error:
        raise AuditError(f"data={path}: cannot be read ({one_line(error)}); write it again") from None
    found = next((what for mark, what in _BINARY.items() if start.startswith(mark)), None)
    if found is None and start.count(0) > _MOST_ZEROS * len(start):
        found = "contains zero bytes, like UTF-16 or binary files; write it as UTF-8 text"
    if found is None and b"\r" in start and b"\n" not in start:
        found = "ends lines with only a carriage return; use line feeds"
    if found is not None:
        raise AuditError(f"data={path}: {found}")

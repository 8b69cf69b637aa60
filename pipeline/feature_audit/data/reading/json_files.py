"""JSON files as one lazy frame: one object per line, or an array of objects."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from feature_audit.data.messages import READ_ERRORS, one_line
from feature_audit.data.reading.files import hive_keys
from feature_audit.data.reading.split_marks import keyed, marked
from feature_audit.errors import AuditError

#: Polars' time to read nested JSON grows with the cube of the depth: 500 levels take minutes.
_MOST_LEVELS = 64


def scan_json(files: tuple[Path, ...], splits: Mapping[Path, str], root: Path | None = None) -> pl.LazyFrame:
    """JSON lines, or one array of records in a .json file; types are inferred from all rows.

    Args:
        files: in row order.
        splits: file -> split, or empty.
        root: the folder below which folder names are hive keys, or None.
    """
    frames = []
    for file in files:
        try:
            if file.suffix.lower() == ".json" and file.read_bytes()[:100].lstrip().startswith(b"["):
                frame = pl.read_json(file, infer_schema_length=None).lazy()
            else:
                frame = pl.scan_ndjson(glob.escape(str(file)), infer_schema_length=None)
            schema = frame.collect_schema()
        except READ_ERRORS as error:
            raise AuditError(
                f"data={file}: cannot be read as JSON lines, one record per line ({one_line(error)}); write it again"
            ) from None
        for name, dtype in schema.items():
            if (levels := _levels(dtype)) > _MOST_LEVELS:
                raise AuditError(
                    f"data={file}: field {name} is nested {levels} levels deep; at most {_MOST_LEVELS} are read; "
                    "leave it out of the file, or write what it holds as flat fields"
                )
        frames.append(marked(keyed(frame, hive_keys(file, root)), splits.get(file)))
    return pl.concat(frames, how="diagonal_relaxed")


def _levels(dtype: pl.DataType) -> int:
    """Nesting depth of a field's objects and lists; 0 = plain cells."""
    deepest, level = 0, [(dtype, 0)]
    while level:
        here, deep = level.pop()
        deepest = max(deepest, deep)
        if isinstance(here, pl.Struct):
            level += [(each.dtype, deep + 1) for each in here.fields]  # type: ignore[misc]
        elif isinstance(here, pl.List):
            level.append((here.inner, deep + 1))  # type: ignore[arg-type]
    return deepest

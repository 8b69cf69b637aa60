"""Columns that come from the names of files and folders: the split of split files, and hive keys."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from feature_audit.data.columns.roles import SPLIT_COLUMN
from feature_audit.errors import AuditError


def marked(frame: pl.LazyFrame, split: str | None) -> pl.LazyFrame:
    """The frame with a column of the split's name; unchanged if ``split`` is None."""
    if split is None:
        return frame
    if SPLIT_COLUMN in frame.collect_schema():
        raise AuditError(f"split_files: the table already has a column {SPLIT_COLUMN}; rename it")
    return frame.with_columns(pl.lit(split).alias(SPLIT_COLUMN))


def keyed(frame: pl.LazyFrame, keys: Mapping[str, str | None]) -> pl.LazyFrame:
    """The frame with a text column for each hive key of its file; a key takes the place of a column of its name."""
    return frame.with_columns(pl.lit(text, dtype=pl.String).alias(key) for key, text in keys.items())

"""Adds the split's name to the rows of split files."""

from __future__ import annotations

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

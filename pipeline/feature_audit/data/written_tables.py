"""Tables that an audit leaves behind for other tools, and raw rows of the log for an example."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs

from feature_audit.config import AuditConfig
from feature_audit.data.prepared import Prepared
from feature_audit.data.reading.source import Source, open_source

#: How a cell begins that a spreadsheet takes for a formula.
_FORMULA = r"^([=+\-@\t\r\n])"
#: The first rows of the log that an example is chosen from.
_FIRST_ROWS = 1_000


def write_table(
    table: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    path: Path,
    *,
    text: Collection[str] = (),
    numbers: Collection[str] = (),
) -> None:
    """Write columns (name -> array) or rows (name -> value) as Parquet or CSV, as the path's suffix says.

    CSV is for spreadsheets, which run a text that begins with ``=``, ``+``, ``-`` or ``@`` as a formula: it gets an
    apostrophe before it. Parquet holds every text as it is.

    Args:
        table: columns of equal length, or at least one row.
        path: ends in ``.parquet`` or ``.csv``.
        text: columns that are text even where every cell is None; ``numbers``: the same of floats.
    """
    dtypes = {**dict.fromkeys(text, pl.String), **dict.fromkeys(numbers, pl.Float64)}
    frame = pl.DataFrame(table, schema_overrides=dtypes, infer_schema_length=None)
    if path.suffix == ".csv":
        frame.with_columns(cs.string().str.replace(_FORMULA, "'$1")).write_csv(path)
    else:
        frame.write_parquet(path)


def raw_table(config: AuditConfig, prepared: Prepared) -> Source:
    """The log as it was read for the training store: every row of the input, cells as they are.

    Args:
        config: with ``data`` as a path, glob or URI.
        prepared: what was made of this log.
    """
    staged = [prepared.directory / name for name in ("prepared.parquet", "staged.parquet")]
    found = next((path for path in staged if path.is_file()), None)  # what preparing made of text and own tables
    if found:
        return Source(pl.scan_parquet(found))
    return open_source(config, config.data, prepared.directory, lambda message: None)


def example_rows(config: AuditConfig, prepared: Prepared, names: Sequence[str], count: int) -> pl.DataFrame:
    """Raw rows of some columns, as the log holds them: those with the fewest missing cells among the first ones.

    Args:
        config, prepared: as in ``raw_table``.
        names: the columns.
        count: rows, fewer where the log has fewer.
    """
    first = raw_table(config, prepared).frame.select(names).head(_FIRST_ROWS).collect()
    missing = first.select(pl.sum_horizontal(pl.all().is_null().cast(pl.Int32)))
    return first[sorted(missing.to_series().arg_sort()[:count].to_list())]

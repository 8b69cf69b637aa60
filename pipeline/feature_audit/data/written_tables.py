"""Tables written for other tools, and raw example rows of the log."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs

from feature_audit.config import AuditConfig
from feature_audit.data.prepared import Prepared
from feature_audit.data.reading.source import Source, open_source

#: First characters of cells that spreadsheets treat as formulas.
_FORMULA = r"^([=+\-@\t\r\n])"
#: Number of first rows of the log from which examples are chosen.
_FIRST_ROWS = 1_000


def write_table(
    table: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    path: Path,
    *,
    text: Collection[str] = (),
    numbers: Collection[str] = (),
) -> None:
    """Write columns (name -> array) or rows (name -> value) as Parquet or CSV, by the path's suffix.

    CSV is for spreadsheets, which execute text that begins with ``=``, ``+``, ``-`` or ``@`` as a formula; such text
    gets a leading apostrophe. Parquet keeps all text unchanged.

    Args:
        table: columns of equal length, or at least one row.
        path: ends in ``.parquet`` or ``.csv``.
        text: columns that are text even if every cell is None; ``numbers``: the same for floats.
    """
    dtypes = {**dict.fromkeys(text, pl.String), **dict.fromkeys(numbers, pl.Float64)}
    frame = pl.DataFrame(table, schema_overrides=dtypes, infer_schema_length=None)
    if path.suffix == ".csv":
        frame.with_columns(cs.string().str.replace(_FORMULA, "'$1")).write_csv(path)
    else:
        frame.write_parquet(path)


def raw_table(config: AuditConfig, prepared: Prepared) -> Source:
    """The log as read for the training store: every row of the input, cells unchanged.

    Args:
        config: with ``data`` as a path, glob or URI.
        prepared: the preparation of this log.
    """
    staged = [prepared.directory / name for name in ("prepared.parquet", "staged.parquet")]
    found = next((path for path in staged if path.is_file()), None)  # staged text or prepared table
    if found:
        return Source(pl.scan_parquet(found))
    return open_source(config, config.data, prepared.directory, lambda message: None)


def example_rows(config: AuditConfig, prepared: Prepared, names: Sequence[str], count: int) -> pl.DataFrame:
    """Raw rows of some columns, as the log has them: of the first rows, those with the fewest missing cells.

    Args:
        config, prepared: as in ``raw_table``.
        names: the columns.
        count: number of rows; fewer if the log has fewer.
    """
    first = raw_table(config, prepared).frame.select(names).head(_FIRST_ROWS).collect()
    missing = first.select(pl.sum_horizontal(pl.all().is_null().cast(pl.Int32)))
    return first[sorted(missing.to_series().arg_sort()[:count].to_list())]

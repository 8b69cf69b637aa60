"""Files exchanged with external training jobs: raw rows of the splits, and scores of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import polars.selectors as cs
import pyarrow as pa
import pyarrow.parquet as pq

from feature_audit.config import AuditConfig
from feature_audit.data.prepared import Prepared
from feature_audit.data.store.reader import Store
from feature_audit.data.store.writer import SPLIT_OF_ROW
from feature_audit.data.table.splits import SPLITS
from feature_audit.data.table.statistics import chunk_rows
from feature_audit.data.written_tables import raw_table
from feature_audit.errors import AuditError
from feature_audit.plurals import counted
from feature_audit.schema import SplitName

#: Columns of a file of scores.
ROW, SCORE = "row", "score"


def write_raw_splits(
    config: AuditConfig,
    prepared: Prepared,
    names: Sequence[str],
    files: Mapping[SplitName, Path],
    *,
    label: str | None = None,
    row: str | None = None,
    weight: str | None = None,
    only: Mapping[SplitName, np.ndarray] | None = None,
) -> None:
    """Write raw columns of each split's rows as Parquet, in the log's order, with bounded memory.

    Args:
        config: with ``data`` as a path, glob or URI.
        prepared: the preparation of this log.
        names: raw columns.
        files: split -> file to write.
        label: name of the label column to add, with the store's labels; never added to test. None = not added.
        row: name of an int64 column to add, with the row's position in the store; None = not added.
        weight: name of the weight column to add to the files that get a label; None = not added.
        only: split -> positions within it of the rows to write, ascending; None = all rows.

    Raises:
        AuditError: the log's rows have changed since the store was built.
    """
    store = Store.open(prepared.directory)
    of_row = np.load(prepared.directory / SPLIT_OF_ROW)
    outputs = {
        split: _SplitFile(path, store, split, _added(store, split, label, weight), row, only)
        for split, path in files.items()
    }
    start = 0
    try:
        for chunk in raw_table(config, prepared).chunks(chunk_rows(len(names)), list(names)):
            codes = of_row[start : start + chunk.height]
            start += chunk.height
            for split, output in outputs.items():
                output.add(chunk[np.flatnonzero(codes == SPLITS.index(split))])
    finally:
        for output in outputs.values():
            output.close()
    if any(output.seen != store.rows(split) for split, output in outputs.items()):
        raise AuditError(f"data={config.data}: the rows have changed since the audit began; run it again")


def _added(store: Store, split: SplitName, label: str | None, weight: str | None) -> dict[str, np.ndarray]:
    """Columns that the job may see in addition to the features; none for test rows."""
    if split == "test":
        return {}
    weights = store.weight(split)
    found = {} if label is None else {label: store.target(split)}
    return found if weight is None or weights is None else {**found, weight: weights}


class _SplitFile:
    """One split's Parquet file, written chunk by chunk."""

    def __init__(
        self,
        path: Path,
        store: Store,
        split: SplitName,
        added: Mapping[str, np.ndarray],
        row: str | None,
        only: Mapping[SplitName, np.ndarray] | None,
    ) -> None:
        self.path, self.first = path, store.first_row(split)
        self.added, self.row = added, row
        self.only = None if only is None else only[split]
        self.seen = 0
        self.writer: pq.ParquetWriter | None = None

    def add(self, rows: pl.DataFrame) -> None:
        """Append the split's next rows."""
        places = np.arange(self.seen, self.seen + rows.height)
        self.seen += rows.height
        if not rows.height and self.writer is not None:
            return
        if self.only is not None:
            wanted = np.isin(places, self.only)
            rows, places = rows.filter(pl.Series(wanted)), places[wanted]
        added = [] if self.row is None else [pl.Series(self.row, self.first + places)]
        added += [pl.Series(name, values[places]) for name, values in self.added.items()]
        # Dictionaries of categories would differ between chunks.
        plain = rows.with_columns(cs.categorical().cast(pl.String), cs.enum().cast(pl.String), *added)
        table = plain.to_arrow(compat_level=pl.CompatLevel.oldest())
        if self.writer is None:
            self.writer = pq.ParquetWriter(self.path, table.schema)
        self.writer.write_table(table)

    def close(self) -> None:
        """Finish the file."""
        if self.writer is not None:
            self.writer.close()


def read_scores(path: Path, rows: Mapping[SplitName, np.ndarray]) -> dict[SplitName, np.ndarray]:
    """Read a job's scores from columns ``row`` and ``score``, in any order; multiclass: lists of probabilities.

    Args:
        path: the Parquet file.
        rows: split -> the numbers of the rows to be scored, in order.

    Returns:
        split -> scores, (rows,) or (rows, C), in the order of ``rows``.

    Raises:
        AuditError: the file is missing or unreadable, or its columns, types or rows are wrong.
    """
    if not path.is_file():
        raise AuditError(f"{path.name} is missing; write columns {ROW} and {SCORE} to {path}")
    try:
        columns = pq.read_schema(path).names
        if not {ROW, SCORE} <= set(columns):
            raise AuditError(f"{path.name} has columns {', '.join(columns)}; give {ROW} and {SCORE}")
        table = pq.read_table(path, columns=[ROW, SCORE])
    except (pa.ArrowException, OSError) as error:
        raise AuditError(f"{path.name} cannot be read: {' '.join(str(error).split())[:200]}") from None
    frame = pl.DataFrame(pl.from_arrow(table))
    wanted = np.concatenate(list(rows.values()))
    if not frame[ROW].dtype.is_integer() or frame[ROW].has_nulls():
        raise AuditError(f"{path.name}: {ROW} is {frame[ROW].dtype}; give the row numbers of the task's files")
    found = frame[ROW].to_numpy()
    order = np.argsort(found, kind="stable")
    if len(found) != len(wanted) or not np.array_equal(found[order], np.sort(wanted)):
        missing, twice = np.setdiff1d(wanted, found), len(found) - len(np.unique(found))
        strange = np.setdiff1d(found, wanted)
        if len(missing):
            problem = f"{counted(len(missing), 'row is', 'rows are')} missing (first: {missing[0]})"
        elif len(strange):
            problem = f"{counted(len(strange), 'row is', 'rows are')} not part of the task (first: {strange[0]})"
        else:
            problem = f"{counted(twice, 'row occurs', 'rows occur')} twice"
        raise AuditError(f"{path.name}: {problem}; score every row of the validation and test files once")
    scores = _numbers(path, frame[SCORE])[order]
    return {split: scores[np.searchsorted(found[order], mine)] for split, mine in rows.items()}


def _numbers(path: Path, column: pl.Series) -> np.ndarray:
    """float64 (rows,) or (rows, C)."""
    dtype = column.dtype
    if isinstance(dtype, pl.Array):
        column, dtype = column.arr.to_list(), pl.List(dtype.inner)
    if not (dtype.inner if isinstance(dtype, pl.List) else dtype).is_numeric():
        raise AuditError(
            f"{path.name}: {SCORE} is {column.dtype}; give numbers, or lists of numbers for a multiclass task"
        )
    if not isinstance(dtype, pl.List):
        return column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    widths = column.list.len().unique()
    if len(widths) != 1 or widths.has_nulls():
        raise AuditError(
            f"{path.name}: {SCORE} contains lists of {widths.len()} different lengths; give one probability per class"
        )
    return column.cast(pl.List(pl.Float64)).list.to_array(int(widths[0])).to_numpy()

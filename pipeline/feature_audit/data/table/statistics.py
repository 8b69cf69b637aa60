"""Pass 1 over the table: exact counts per column on train, category frequencies, and bounded samples of each split."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from feature_audit.data.columns.casting import Key, as_datetime, as_float, as_key, as_lists, key_of
from feature_audit.data.columns.lists import are_fractions
from feature_audit.data.columns.written_numbers import held_words
from feature_audit.data.reading.source import Source
from feature_audit.data.table.splits import SPLITS
from feature_audit.errors import AuditError
from feature_audit.schema import Column

#: Maximum number of cells of a chunk of raw rows in memory, and of a sample.
CHUNK_CELLS = 4_000_000
SAMPLE_CELLS = 24_000_000
MAX_SAMPLE_ROWS = 200_000
MIN_SAMPLE_ROWS = 10_000
_BLOCK = 1 << 20  # rows processed at a time
#: Number of cells that decide whether lists written as text contain quantities.
PEEK_LISTS = 1_000
#: Maximum share of a text column's cells that may fail to parse as a kind set by the user (missing, and reported).
MOST_UNREAD = 0.5


@dataclass
class ColumnFacts:
    """Pass 1's counts for one column on the train rows (``nulls``: on every split).

    Attributes:
        nulls: split -> missing cells; NaN counts as missing.
        constant: every train cell has the same value (missing is a value).
        counts: (value, count) frame of a categorical or list column, by decreasing count; None for other kinds.
        longest: length of the longest list, for list columns.
        unread: text cells that do not parse as the column's number or datetime kind; they count as missing.
    """

    nulls: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    constant: bool = True
    counts: pl.DataFrame | None = None
    longest: int = 0
    unread: int = 0
    first_hash: int | None = None
    separator: str | None = None
    format: str | None = None
    key: Key = "text"


@dataclass(frozen=True)
class Statistics:
    """Facts of every candidate, and samples per split: raw rows in table order and their row numbers."""

    facts: dict[str, ColumnFacts]
    samples: dict[str, pl.DataFrame]
    sample_rows: dict[str, np.ndarray]
    row_hashes: np.ndarray


def chunk_rows(columns: int) -> int:
    """Rows per chunk, chosen so that memory depends on the number of columns and not of rows."""
    return int(np.clip(CHUNK_CELLS // max(columns, 1), 2_000, 250_000))


def gather(
    source: Source, columns: tuple[Column, ...], peek: pl.DataFrame, of_row: np.ndarray, *, seed: int, max_values: int
) -> Statistics:
    """Read the table once.

    Args:
        source: the table.
        columns: the candidates, with their kinds.
        peek: some of their rows; decides what can be parsed.
        of_row: split code of each row.
        seed: seed of the samples.
        max_values: distinct values of a column that are counted exactly; beyond four times as many, the rarest are
            dropped.
    """
    names = [column.name for column in columns]
    rows_wanted = sample_positions(of_row, len(names), seed)
    facts = {column.name: _start(column, peek[column.name]) for column in columns}
    parts: dict[str, list[pl.DataFrame]] = {name: [] for name in SPLITS}
    hashes = np.empty(len(of_row), dtype=np.uint64)
    start = 0
    for chunk in source.chunks(chunk_rows(len(names)), names):
        inside = of_row[start : start + chunk.height]
        hashes[start : start + chunk.height] = _hash_rows(chunk)
        for code, split in enumerate(SPLITS):
            mine = inside == code
            part = chunk if mine.all() else chunk.filter(pl.Series(mine))
            _count_nulls(facts, columns, part, split)
            if split == "train" and part.height:
                _count_train(facts, columns, part, max_values)
            wanted = rows_wanted[split]
            here = wanted[(wanted >= start) & (wanted < start + chunk.height)] - start
            if len(here):
                parts[split].append(chunk[here])
        start += chunk.height
    for fact in facts.values():
        if fact.counts is not None:
            fact.counts = frequent_first(fact.counts)
    samples = {split: pl.concat(parts[split]) if parts[split] else peek.select(names).clear() for split in SPLITS}
    return Statistics(facts, samples, rows_wanted, hashes)


def sample_positions(of_row: np.ndarray, columns: int, seed: int) -> dict[str, np.ndarray]:
    """Sorted row numbers of a sample of each split; the whole split if it is small enough."""
    most = int(np.clip(SAMPLE_CELLS // max(columns, 1), MIN_SAMPLE_ROWS, MAX_SAMPLE_ROWS))
    generator = np.random.default_rng([seed, 1])
    wanted = {}
    for code, split in enumerate(SPLITS):
        mine = of_row == code
        rows, limit = int(np.count_nonzero(mine)), most if split == "train" else most // 4
        chosen = None if rows <= limit else np.sort(generator.choice(rows, limit, replace=False))
        wanted[split] = np.flatnonzero(mine) if chosen is None else _nth_true(mine, chosen)
    return wanted


def _nth_true(mask: np.ndarray, places: np.ndarray) -> np.ndarray:
    """``flatnonzero(mask)[places]`` for ascending places, without materialising all row numbers."""
    found, before = [], 0
    for start in range(0, len(mask), _BLOCK):
        rows = start + np.flatnonzero(mask[start : start + _BLOCK])
        first, last = np.searchsorted(places, [before, before + len(rows)])
        found.append(rows[places[first:last] - before])
        before += len(rows)
    return np.concatenate(found)


def _start(column: Column, peek: pl.Series) -> ColumnFacts:
    fact = ColumnFacts()
    dtype = peek.dtype
    _check_readable(column, peek)
    if column.kind == "multi":
        fact.separator = column.form
        lists = as_lists(peek.head(PEEK_LISTS), fact.separator)
        inner = lists.dtype.inner  # type: ignore[attr-defined]
        fact.key = "float" if inner == pl.String and are_fractions(lists) else key_of(inner)
    elif column.kind in ("categorical", "boolean"):
        fact.key = key_of(dtype, boolean=column.kind == "boolean")
    elif column.kind == "datetime":
        fact.format = column.form
    return fact


def _check_readable(column: Column, peek: pl.Series) -> None:
    """Refuse a kind that most cells do not parse as: all of them would silently count as missing."""
    if column.kind not in ("numeric", "boolean") or peek.dtype not in (pl.String, pl.Categorical, pl.Enum):
        return
    words = held_words(peek)
    if column.kind == "numeric":
        unread = pl.Series(np.isnan(as_float(words)), dtype=pl.Boolean)
    else:
        unread = as_key(words, "boolean").is_null()
    share = (unread.sum() or 0) / max(len(words), 1)
    if share > MOST_UNREAD:
        hint = "numbers" if column.kind == "numeric" else "true or false"
        raise AuditError(
            f"kinds.{column.name}={column.kind}: {share:.0%} of its cells are not {hint}, for example "
            f"{words.filter(unread)[0]!r}; give categorical, or fix the column"
        )


def _missing(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    return column.is_null() | column.is_nan() if dtype.is_float() else column.is_null()


def _count_nulls(facts: dict[str, ColumnFacts], columns: tuple[Column, ...], part: pl.DataFrame, split: str) -> None:
    counts = part.select(_missing(name, dtype).sum() for name, dtype in part.schema.items()).row(0)
    for column, count in zip(columns, counts, strict=True):
        fact, values = facts[column.name], part[column.name]
        missing = count
        if values.dtype == pl.String and column.kind == "numeric":
            missing = int(np.isnan(as_float(values)).sum())
        elif column.kind == "datetime" and not values.dtype.is_temporal():
            missing = as_datetime(values, fact.format).null_count()
        fact.nulls[split] += missing
        fact.unread += missing - count


def _count_train(
    facts: dict[str, ColumnFacts], columns: tuple[Column, ...], part: pl.DataFrame, max_values: int
) -> None:
    _watch_constants(facts, part)
    for column in columns:
        fact = facts[column.name]
        values = part[column.name]
        if column.kind == "multi":
            lists = as_lists(values, fact.separator)
            fact.longest = max(fact.longest, int(lists.list.len().max() or 0))  # type: ignore[arg-type]
            values = lists.drop_nulls().list.explode(empty_as_null=False)
        elif column.kind not in ("categorical", "boolean"):
            continue
        fact.counts = _merge(fact.counts, as_key(values, fact.key), max_values)


def _watch_constants(facts: dict[str, ColumnFacts], part: pl.DataFrame) -> None:
    """A column stays constant while every cell has the same hash as its first cell."""
    open_types = {name: dtype for name, dtype in part.schema.items() if facts[name].constant}
    if not open_types:
        return
    hashes = [_cell_hash(name, dtype) for name, dtype in open_types.items()]
    low = part.select(cell.min() for cell in hashes).row(0)
    high = part.select(cell.max() for cell in hashes).row(0)
    for name, least, most in zip(open_types, low, high, strict=True):
        fact = facts[name]
        fact.first_hash = least if fact.first_hash is None else fact.first_hash
        fact.constant = least == most == fact.first_hash


def _cell_hash(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    return (column.fill_nan(None) if dtype.is_float() else column).hash(0)


def _merge(counts: pl.DataFrame | None, keys: pl.Series, max_values: int) -> pl.DataFrame:
    new = keys.drop_nulls().rename("value").value_counts(name="count").cast({"count": pl.Int64})
    if counts is None:
        return new
    both = pl.concat([counts, new]).group_by("value").agg(pl.col("count").sum())
    return both if both.height <= 4 * max_values else frequent_first(both).head(2 * max_values)


def frequent_first(counts: pl.DataFrame) -> pl.DataFrame:
    """(value, count) by decreasing count, ties by value, so that codes do not depend on the number of threads."""
    return counts.sort(["count", "value"], descending=[True, False])


def _hash_rows(chunk: pl.DataFrame) -> np.ndarray:
    return chunk.hash_rows(0).to_numpy()

"""Duplicate columns: equal cells, numbers in the same order, renamed categories.

=========  ========================================================================  ===================================
relation   two columns have it if, in every train row,                               example
=========  ========================================================================  ===================================
equal      their cells are equal after parsing by kind                               1 and 1.0, 1 May and 05-01
rising     one number rises exactly when the other does; both are missing together   scaled, logarithm, rank
falling    one number falls exactly when the other rises                             negative, reciprocal of prices
renamed    each category (or flag of two values) maps to one value of the other      city and its code, yes/no and 0/1
=========  ========================================================================  ===================================

Numbers with more than two values that map one-to-one in another order are kept: price and weight of the same 50
articles carry different information about the 51st.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from feature_audit.data.columns.casting import as_datetime, as_float, as_key
from feature_audit.data.reading.source import Source
from feature_audit.data.table.splits import TRAIN, Split
from feature_audit.data.table.statistics import ColumnFacts, Statistics, chunk_rows
from feature_audit.findings import Finding
from feature_audit.schema import Column

#: Minimum number of rows that differ from the most frequent value and repeat another row's value.
MIN_ROWS = 20
#: Rows used to propose pairs of orders or groupings (ranking is slow); all rows then decide.
PROPOSING_ROWS = 20_000

_WORDS = {
    "equal": "equals {} in every train row",
    "rising": "orders all train rows like {}: a rescaled or ranked copy",
    "falling": "orders all train rows in reverse of {}: a negated, rescaled or ranked copy",
    "renamed": "maps one-to-one to {} in every train row: the same categories under other names",
}

#: Compares the cells of two columns, chunk by chunk; once False, the pair is refuted.
Check = Callable[[pl.Series, pl.Series], bool]


@dataclass(frozen=True)
class _Pair:
    name: str
    first: str
    relation: str


def duplicates(source: Source, columns: tuple[Column, ...], statistics: Statistics, split: Split) -> list[Finding]:
    """Columns that duplicate another one on every train row.

    Of a set of duplicates, one column is kept: the cheapest of those that may be kept (the first if costs are equal),
    and every protected column. A sample proposes the pairs; a pass over the proposed columns confirms or refutes them
    on all train rows, comparing orders by the rank of each number among the sampled ones.

    Args:
        source: the table.
        columns: candidates that are not constant.
        statistics: pass 1, with the train sample.
        split: identifies the train rows.
    """
    sample = statistics.samples["train"]
    ordered = sorted(columns, key=lambda column: (column.ruled_out, column.cost))
    cells = {column.name: _reader(column, statistics.facts[column.name]) for column in ordered}
    pairs = list(_propose(ordered, sample, cells))
    if len(sample) == split.rows()["train"]:
        parts: Iterable[pl.DataFrame] = [sample]
    else:
        parts = _train_parts(source, sorted({name for pair in pairs for name in (pair.name, pair.first)}), split)
    protected = {column.name for column in columns if column.protected}
    findings = []
    for pair in _prove(pairs, sample, cells, parts):
        note = "; kept because of never_drop" if pair.name in protected else ""
        detail = _WORDS[pair.relation].format(pair.first) + note
        findings.append(
            Finding(pair.name, "duplicate", detail, excluded=pair.name not in protected, carried_by=pair.first)
        )
    return findings


def _reader(column: Column, fact: ColumnFacts) -> Callable[[pl.Series], pl.Series]:
    """Parser from raw cells to cells of the column's kind; missing numbers become NaN."""
    if column.kind == "numeric":
        return lambda values: pl.Series(as_float(values) + 0.0)  # -0.0 equals 0.0
    if column.kind == "datetime":
        return lambda values: as_datetime(values, fact.format)
    if column.kind in ("categorical", "boolean"):
        return lambda values: as_key(values, fact.key)
    return lambda values: values


def _propose(
    columns: list[Column], sample: pl.DataFrame, cells: dict[str, Callable[[pl.Series], pl.Series]]
) -> Iterator[_Pair]:
    """Pairs that agree on the sample; a column that already duplicates another does not get duplicates itself."""
    every = max(1, -(-sample.height // PROPOSING_ROWS))
    proxies: dict[tuple[str, int], tuple[str, int]] = {}
    for column in columns:
        read = cells[column.name](sample[column.name])
        keys = [("equal", 0, _fingerprint(read)), *_keys(column, read.gather_every(every))]
        found = [(kind, side, *proxies[kind, key]) for kind, side, key in keys if (kind, key) in proxies]
        if not found:
            proxies.update({(kind, key): (column.name, side) for kind, side, key in keys})
            continue
        kind, side, first, first_side = found[0]
        yield _Pair(column.name, first, kind if kind != "order" else "rising" if side == first_side else "falling")


def _fingerprint(read: pl.Series) -> int:
    """Hash of the type family and the cells; equal columns have equal hashes."""
    if read.dtype.is_numeric():
        numbers = as_float(read)
        return hash(("number", np.where(np.isnan(numbers), np.nan, numbers).tobytes()))
    return hash((str(read.dtype), read.hash(0).to_numpy().tobytes(), read.is_null().to_numpy().tobytes()))


def _keys(column: Column, read: pl.Series) -> Iterator[tuple[str, int, int]]:
    """(relation, side, hash); columns with equal relation and hash are proposed; different sides: opposite orders."""
    if column.kind == "numeric":
        numbers, codes = np.unique(read.to_numpy(), return_inverse=True)
        codes = np.where(np.isnan(numbers[codes]), 0, codes + 1)
    elif column.kind in ("categorical", "boolean"):
        codes = _by_appearance(read)
    else:
        return
    counts = np.bincount(codes)[1:]
    distinct = len(counts)
    others = int(counts.sum() - counts.max(initial=0))
    if distinct < 2 or others < MIN_ROWS:
        return
    if column.kind == "numeric" and distinct > 2:
        both = [codes.tobytes(), np.where(codes > 0, distinct + 1 - codes, 0).tobytes()]
        yield "order", int(both[1] < both[0]), hash(min(both))
    elif others - (distinct - 1) >= MIN_ROWS:
        yield "renamed", 0, hash((_by_appearance(read) if column.kind == "numeric" else codes).tobytes())


def _by_appearance(read: pl.Series) -> np.ndarray:
    """int64 codes: 0 = null, then values in order of first appearance."""
    text = _without_nan(read).cast(pl.String)
    names = text.drop_nulls().unique(maintain_order=True)
    return (text.cast(pl.Enum(names)).to_physical().cast(pl.Int64) + 1).fill_null(0).to_numpy()


def _without_nan(read: pl.Series) -> pl.Series:
    return read.fill_nan(None) if read.dtype.is_float() else read


def _train_parts(source: Source, names: list[str], split: Split) -> Iterator[pl.DataFrame]:
    start = 0
    for chunk in source.chunks(chunk_rows(len(names)), names) if names else ():
        yield chunk.filter(pl.Series(split.of_row[start : start + chunk.height] == TRAIN))
        start += chunk.height


def _prove(
    pairs: list[_Pair],
    sample: pl.DataFrame,
    cells: dict[str, Callable[[pl.Series], pl.Series]],
    parts: Iterable[pl.DataFrame],
) -> list[_Pair]:
    """The pairs that hold on all parts."""
    known: dict[str, np.ndarray] = {}
    for pair in pairs:
        for name in (pair.name, pair.first) if pair.relation in ("rising", "falling") else ():
            if name not in known:
                known[name] = np.unique(_without_nan(cells[name](sample[name])).drop_nulls().to_numpy())
    left = {pair: _check(pair, known) for pair in pairs}
    for part in parts:
        if not left:
            break
        for pair, check in list(left.items()):
            if not check(cells[pair.name](part[pair.name]), cells[pair.first](part[pair.first])):
                del left[pair]
    return list(left)


def _check(pair: _Pair, known: dict[str, np.ndarray]) -> Check:
    if pair.relation == "equal":
        return _equal
    if pair.relation == "renamed":
        return _Renaming().holds
    one, other, falling = known[pair.name], known[pair.first], pair.relation == "falling"
    return lambda left, right: bool(np.array_equal(_places(left, one, falling=falling), _places(right, other)))


def _equal(one: pl.Series, other: pl.Series) -> bool:
    if one.dtype != other.dtype or one.dtype.is_float():
        if one.dtype.is_numeric() and other.dtype.is_numeric():
            return bool(np.array_equal(as_float(one), as_float(other), equal_nan=True))
        one, other = one.cast(pl.String), other.cast(pl.String)
    return bool(one.eq_missing(other).all())


def _places(numbers: pl.Series, known: np.ndarray, *, falling: bool = False) -> np.ndarray:
    """Rank of each number among known ones (ascending): odd = equal to one, even = between two, -1 = missing."""
    raw = as_float(numbers)
    place = np.searchsorted(known, raw, side="left") + np.searchsorted(known, raw, side="right")
    return np.where(np.isnan(raw), -1, 2 * len(known) - place if falling else place)


class _Renaming:
    """Tracks which category of one column occurs with which category of the other."""

    def __init__(self) -> None:
        self._seen: pl.DataFrame | None = None

    def holds(self, one: pl.Series, other: pl.Series) -> bool:
        """Whether every category seen so far, including missing, has exactly one partner."""
        one, other = _without_nan(one), _without_nan(other)
        if not (one.is_null() == other.is_null()).all():
            return False
        here = pl.DataFrame({"one": one.hash(0), "other": other.hash(0)}).unique()
        self._seen = here if self._seen is None else pl.concat([self._seen, here]).unique()
        return self._seen["one"].n_unique() == self._seen["other"].n_unique() == self._seen.height

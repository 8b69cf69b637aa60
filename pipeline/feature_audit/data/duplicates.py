"""Columns that repeat another column: exactly (excluded), or as a recoding of it (reported)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import polars as pl

from feature_audit.data.association import value_codes
from feature_audit.data.casting import as_float
from feature_audit.data.reading import Source
from feature_audit.data.splits import TRAIN, Split
from feature_audit.data.statistics import Statistics, chunk_rows
from feature_audit.findings import Finding
from feature_audit.schema import Column

#: Rows that differ from the most frequent value, below which agreement of two columns says little.
MIN_OTHER_ROWS = 20
#: Rows that recodings are looked for on: it is only a remark, and ranking is slow.
RECODING_ROWS = 20_000


def exact_duplicates(
    source: Source, columns: tuple[Column, ...], statistics: Statistics, split: Split
) -> list[Finding]:
    """Columns equal to an earlier one on every train row; the first one stays and carries the others.

    A sample proposes the pairs, a pass over the proposed columns alone proves or refutes them on all train rows. Equal
    means equal values of one family: 1 and 1.0 are equal, 1 and "1" are not.
    """
    sample = statistics.samples["train"]
    proposed: dict[tuple[str, int], list[str]] = defaultdict(list)
    for column in sorted(columns, key=lambda column: column.ruled_out):  # what must go carries nothing
        proposed[_fingerprint(sample[column.name])].append(column.name)
    groups = [names for names in proposed.values() if len(names) > 1]
    if not groups:
        return []
    carrier = _prove(source, groups, split, proven=len(sample) == split.rows()["train"])
    protected = {column.name for column in columns if column.protected}
    findings = []
    for name, first in carrier.items():
        kept = "; kept because never_drop names it" if name in protected else ""
        findings.append(
            Finding(
                name,
                "duplicate",
                f"equals {first} in every train row{kept}",
                excluded=name not in protected,
                carried_by=first,
            )
        )
    return findings


def recoded(columns: tuple[Column, ...], statistics: Statistics) -> list[Finding]:
    """Columns that carry the same information as an earlier one under other values; reported, never excluded.

    Two cases, on up to ``RECODING_ROWS`` sampled train rows: the same grouping of rows under other names (1:1, only for
    columns whose values repeat: any two columns of distinct values are 1:1), and the same order of rows (numbers,
    falling order too).
    """
    sample = statistics.samples["train"]
    sample = sample.gather_every(-(-sample.height // RECODING_ROWS) or 1)
    seen: dict[tuple[str, int], str] = {}
    findings = []
    for column in columns:
        if column.kind in ("vector", "multi"):
            continue
        values = sample[column.name]
        for how, key in _recodings(column, values):
            first = seen.setdefault((how, key), column.name)
            if first != column.name:
                findings.append(Finding(column.name, "duplicate", f"{how} {first}; kept", carried_by=first))
                break
    return findings


def _recodings(column: Column, values: pl.Series) -> Iterator[tuple[str, int]]:
    """(how, key) pairs; two columns that share one are recodings of each other."""
    numbers = as_float(values) if column.kind == "numeric" else None
    codes = value_codes(values if numbers is None else pl.Series(numbers).fill_nan(None))
    counts = np.bincount(codes)
    distinct = np.count_nonzero(counts)
    if 1 < distinct <= len(codes) // 2 and len(codes) - counts.max() >= MIN_OTHER_ROWS:
        _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
        by_appearance = np.argsort(np.argsort(first))[inverse]
        yield "is a 1:1 recoding of", hash(by_appearance.tobytes())
    if numbers is not None and distinct > 10:
        held = codes > 0
        falling = np.where(held, codes.max() + codes[held].min() - codes, 0)
        yield "orders the rows exactly as", hash(min(codes.tobytes(), falling.tobytes()))


def _fingerprint(values: pl.Series) -> tuple[str, int]:
    """(type family, hash of the cells); equal columns have equal fingerprints."""
    if values.dtype.is_numeric() or values.dtype == pl.Boolean:
        numbers = as_float(values) + 0.0  # -0.0 equals 0.0
        return "number", hash(np.where(np.isnan(numbers), np.nan, numbers).tobytes())
    family = str(values.dtype)
    if values.dtype in (pl.Categorical, pl.Enum):
        values, family = values.cast(pl.String), "String"
    return family, hash((values.hash(0).to_numpy().tobytes(), values.is_null().to_numpy().tobytes()))


def _prove(source: Source, groups: list[list[str]], split: Split, *, proven: bool) -> dict[str, str]:
    """duplicate -> first column of its group, for pairs that agree on all train rows."""
    carrier = {name: group[0] for group in groups for name in group[1:]}
    names = [name for group in groups for name in group]
    if proven:
        return carrier
    start = 0
    for chunk in source.chunks(chunk_rows(len(names)), names):
        part = chunk.filter(pl.Series(split.of_row[start : start + chunk.height] == TRAIN))
        start += chunk.height
        for name, first in list(carrier.items()):
            if not _equal(part[name], part[first]):
                del carrier[name]
    return carrier


def _equal(one: pl.Series, other: pl.Series) -> bool:
    if one.dtype != other.dtype or one.dtype.is_float():
        if one.dtype.is_numeric() or one.dtype == pl.Boolean:
            return bool(np.array_equal(as_float(one), as_float(other), equal_nan=True))
        one, other = one.cast(pl.String), other.cast(pl.String)
    return bool(one.eq_missing(other).all())

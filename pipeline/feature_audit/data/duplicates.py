"""Columns that repeat another column: exactly (excluded), or as a recoding of it (reported)."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import polars as pl

from feature_audit.data.encode_cells import as_float
from feature_audit.data.reading import Source
from feature_audit.data.splits import TRAIN, Split
from feature_audit.data.statistics import Statistics, chunk_rows
from feature_audit.findings import Finding
from feature_audit.schema import Column


def exact_duplicates(source: Source, columns: tuple[Column, ...], statistics: Statistics, split: Split) -> list[Finding]:
    """Columns equal to an earlier one on every train row; the first one stays and carries the others.

    A sample proposes the pairs, a pass over the proposed columns alone proves or refutes them on all train rows. Equal
    means equal values of one family: 1 and 1.0 are equal, 1 and "1" are not.
    """
    sample = statistics.samples["train"]
    proposed: dict[tuple[str, bytes], list[str]] = defaultdict(list)
    for column in columns:
        family, digest = _fingerprint(sample[column.name])
        proposed[family, digest].append(column.name)
    groups = [names for names in proposed.values() if len(names) > 1]
    if not groups:
        return []
    carrier = _prove(source, groups, split, proven=len(sample) == split.rows()["train"])
    protected = {column.name for column in columns if column.protected}
    findings = []
    for name, first in carrier.items():
        kept = "; kept because never_drop names it" if name in protected else ""
        findings.append(
            Finding(name, "duplicate", f"equals {first} in every train row{kept}", excluded=name not in protected, carried_by=first)
        )
    return findings


def _fingerprint(values: pl.Series) -> tuple[str, bytes]:
    if values.dtype.is_numeric() or values.dtype == pl.Boolean:
        return "number", np.nan_to_num(as_float(values), nan=-np.pi).tobytes().__hash__().to_bytes(8, "little", signed=True)
    family = str(values.dtype)
    if values.dtype in (pl.Categorical, pl.Enum):
        values, family = values.cast(pl.String), "String"
    return family, hash(values.hash(0).to_numpy().tobytes()).to_bytes(8, "little", signed=True)


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

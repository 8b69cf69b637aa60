"""Findings of the load stage about the data; some of them exclude a column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FindingKind = Literal[
    "constant",
    "all_null",
    "duplicate",
    "leak",
    "suspected_leak",
    "id_like",
    "drift",
    "high_null",
    "split_overlap",
    "other",
]


@dataclass(frozen=True)
class Finding:
    """One observation about one column (or about the table, ``column = ""``).

    Attributes:
        column: raw column name.
        kind: type of the finding.
        detail: one sentence with the figure.
        excluded: True if the column is therefore not a feature (constants, duplicates, leaks).
        carried_by: for duplicates, the column that is kept.
    """

    column: str
    kind: FindingKind
    detail: str
    excluded: bool = False
    carried_by: str | None = None

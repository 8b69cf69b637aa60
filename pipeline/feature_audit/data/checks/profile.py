"""The profile that Great Expectations validates: one row per column of the log, and one row for the table.

Polars and NumPy compute the figures over all rows; GX sees the figures, not the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl

from feature_audit.data.table.dataset import LabelledTable
from feature_audit.data.table.splits import SPLITS, TRAIN, Split
from feature_audit.data.table.statistics import Statistics
from feature_audit.findings import Finding
from feature_audit.labels import Target
from feature_audit.schema import Column


def column_profile(
    columns: tuple[Column, ...],
    table: LabelledTable,
    statistics: Statistics,
    excluded: Mapping[str, str],
    drift: Mapping[str, float],
) -> pl.DataFrame:
    """One row per candidate column.

    Returns:
        Columns: ``column``, ``kind``, ``usable``, ``null_share_<split>``, ``null_share_gap`` (largest difference
        between train and a later split), ``distinct`` and ``distinct_share`` (of the sampled train rows), ``drift_auc``
        (0.5 if not measured).
    """
    rows = table.split.rows()
    sample = statistics.samples["train"]
    lines: list[dict[str, Any]] = []
    for column in columns:
        nulls = statistics.facts[column.name].nulls
        shares = {name: nulls[name] / max(rows[name], 1) for name in SPLITS}
        distinct = sample[column.name].drop_nulls().n_unique()
        lines.append(
            {
                "column": column.name,
                "kind": column.kind,
                "usable": column.name not in excluded,
                **{f"null_share_{name}": share for name, share in shares.items()},
                "null_share_gap": max(abs(shares[name] - shares["train"]) for name in SPLITS[1:]),
                "distinct": distinct,
                "distinct_share": distinct / max(sample.height, 1),
                "drift_auc": float(drift.get(column.name, 0.5)),
            }
        )
    return pl.DataFrame(lines, infer_schema_length=None)


def table_profile(table: LabelledTable, findings: Iterable[Finding], *, usable: int, excluded: int) -> pl.DataFrame:
    """One row of facts about the whole table.

    Returns:
        ``label_nulls``, ``label_values`` (classes, or distinct numbers up to 1000), ``usable_features``,
        ``rows_<split>``, ``label_values_<split>``, ``time_disorder`` (rows of an earlier split that are not before
        every row of a later one; 0 without a time split), ``rarest_class_share`` (1 for regression),
        ``excluded_share``, ``leaks``, ``suspected_leaks``.
    """
    target, split = table.target, table.split
    rows = split.rows()
    kinds = Counter(finding.kind for finding in findings)
    facts: dict[str, Any] = {
        "label_nulls": int((~np.isfinite(target.values)).sum()),
        "label_values": len(target.classes) or min(len(np.unique(target.values)), 1000),
        "usable_features": usable,
        "excluded_share": excluded / max(usable + excluded, 1),
        "rarest_class_share": _rarest(target, split),
        "time_disorder": _disorder(table.time, split),
        "leaks": kinds["leak"],
        "suspected_leaks": kinds["suspected_leak"],
    }
    for code, name in enumerate(SPLITS):
        facts[f"rows_{name}"] = rows[name]
        facts[f"label_values_{name}"] = min(len(np.unique(target.values[split.of_row == code])), 1000)
    return pl.DataFrame([facts])


def _rarest(target: Target, split: Split) -> float:
    if not target.classes:
        return 1.0
    train = target.values[split.of_row == TRAIN].astype(np.int64)
    return float(np.bincount(train, minlength=len(target.classes)).min() / len(train))


def _disorder(time: np.ndarray | None, split: Split) -> int:
    if time is None or split.info["kind"] != "time":
        return 0
    disorder = 0
    for code in (1, 2):
        earlier, later = time[split.of_row < code], time[split.of_row == code]
        disorder += int((earlier >= later.min()).sum())
    return disorder

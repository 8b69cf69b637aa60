"""Notes on how cells are read, with the key that changes it; and on list entries cut off by a limit."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.stats import rankdata

from feature_audit.config import AuditConfig
from feature_audit.data.checks.predictive_power import entry_scores, halves, score_auc, score_r2
from feature_audit.data.columns.casting import as_lists
from feature_audit.data.columns.roles import given_kind, lookup
from feature_audit.data.table.dataset import LabelledTable
from feature_audit.data.table.statistics import Statistics
from feature_audit.findings import Finding
from feature_audit.schema import Column

#: Minimum advantage (AUC, or R-squared of the label's rank) of the other end of lists for a note.
CLEARLY = 0.03


def reading_notes(config: AuditConfig, columns: tuple[Column, ...]) -> list[Finding]:
    """Notes on text read as lists and on numbers read as datetimes, except where the configuration says so."""
    formed = [column for column in columns if column.form and given_kind(config, column.name) is None]
    lists = [c for c in formed if c.kind == "multi" and lookup(config.reader.list_separator, c.name) is None]
    dates = [c for c in formed if c.kind == "datetime" and c.dtype != "String"]
    findings = []
    if lists:
        shown = ", ".join(f"{column.name} ({column.form!r})" for column in lists)
        weights = "; weights after entries (:w) are ignored" if any(":w" in str(c.form) for c in lists) else ""
        detail = (
            f"text read as lists, with their separators: {shown}{weights}; to change this, set reader.list_separator "
            "or kinds"
        )
        findings.append(Finding("", "other", detail))
    if dates:
        shown = ", ".join(f"{column.name} ({column.form})" for column in dates)
        findings.append(
            Finding(
                "", "other", f"numbers read as datetimes: {shown}; to change this, set kinds, for example to numeric"
            )
        )
    return findings


def cut_lists(
    config: AuditConfig, columns: tuple[Column, ...], table: LabelledTable, statistics: Statistics
) -> list[Finding]:
    """Lists longer than the limit, and whether the unused entries would predict better."""
    most, end = config.encoding.max_list_length, config.encoding.list_end
    other = "first" if end == "last" else "last"
    findings = []
    for column in columns:
        fact = statistics.facts[column.name]
        if column.kind != "multi" or fact.longest <= most:
            continue
        lists = as_lists(statistics.samples["train"][column.name], fact.separator)
        cut = int((lists.list.len() > most).sum())
        detail = (
            f"{cut:,} of {len(lists):,} sampled train lists have more than encoding.max_list_length={most} entries; "
            f"the {end} {most} are used (encoding.list_end={end})"
        )
        findings.append(Finding(column.name, "other", detail))
        rows = statistics.sample_rows["train"]
        used, unused = (_score_of_end(lists, which, most, table, rows, config.seed) for which in (end, other))
        if unused - used > CLEARLY:
            question = (
                f"{column.name}: the {other} {most} entries predict better than the {end} ones, which are used "
                f"({unused:.3f} against {used:.3f} on held-out train rows); if the newest entries come {other}, give "
                f"encoding.list_end: {other}"
            )
            findings.append(Finding("", "other", question))
    return findings


def _score_of_end(lists: pl.Series, end: str, most: int, table: LabelledTable, rows: np.ndarray, seed: int) -> float:
    """Cross-fitted AUC (regression: R-squared of the rank) of the entries at one end; multiclass: of the top class."""
    part = lists.list.head(most) if end == "first" else lists.list.tail(most)
    label, half = table.target.values[rows], halves(len(rows), seed)
    if table.target.task == "regression":
        return score_r2(entry_scores(part, rankdata(label) / len(label), half), label, half)
    classes = np.bincount(label.astype(np.int64))
    signal = (label == (1 if table.target.task == "binary" else classes.argmax())).astype(np.float64)
    return score_auc(entry_scores(part, signal, half), signal, half)

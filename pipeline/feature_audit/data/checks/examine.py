"""All findings of the load stage about columns, and which columns they exclude."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from feature_audit.config import AuditConfig
from feature_audit.data.checks.duplicates import duplicates
from feature_audit.data.checks.leakage import find_leaks, of_target
from feature_audit.data.checks.predictive_power import crossfit_auc, halves, views
from feature_audit.data.checks.reading_notes import cut_lists, reading_notes
from feature_audit.data.checks.row_names import row_names
from feature_audit.data.table.dataset import LabelledTable
from feature_audit.data.table.splits import TEST, TRAIN, Split
from feature_audit.data.table.statistics import Statistics
from feature_audit.data.table.weights import weight_notes
from feature_audit.findings import Finding
from feature_audit.plurals import counted
from feature_audit.schema import Column

#: Share of test rows equal to a train row in every candidate column from which it is reported.
ROW_OVERLAP = 0.001
#: Whole numbers in a regression target with at most this many distinct values may be class codes.
_MAYBE_CLASSES = 100


@dataclass(frozen=True)
class Examined:
    """Attributes: ``findings``; ``excluded`` column -> reason; ``drift`` column -> AUC of test against train rows."""

    findings: tuple[Finding, ...]
    excluded: dict[str, str]
    drift: dict[str, float]


def examine(
    config: AuditConfig,
    table: LabelledTable,
    columns: tuple[Column, ...],
    statistics: Statistics,
    unusable: Mapping[str, str],
) -> Examined:
    """Constants, duplicates, leaks (excluded); suspicions, ids, nulls, drift, overlap (reported).

    A protected column is reported like any other but kept, unless it cannot be used as a feature at all.

    Args:
        config: thresholds.
        table: the table with its labels and split.
        columns: usable candidates.
        statistics: pass 1.
        unusable: column -> why its type cannot be used as a feature.
    """
    findings = [Finding(name, "other", reason, excluded=True) for name, reason in unusable.items()]
    findings += [Finding("", "other", note) for note in _notes(config, table)]
    findings += _unread(columns, statistics)
    findings += reading_notes(config, columns)
    findings += _empty_or_constant(columns, statistics, table.split)
    left = _left(columns, findings)
    findings += duplicates(table.source, left, statistics, table.split)
    left = _left(columns, findings)
    findings += find_leaks(left, table, statistics, config.checks, seed=config.seed)
    for name in table.further:
        left = _left(columns, findings)
        findings += find_leaks(left, *of_target(name, table, statistics), config.checks, seed=config.seed, of=name)
    left = _left(columns, findings)
    findings += cut_lists(config, left, table, statistics)
    drift = _drift(left, statistics, config.seed)
    findings += row_names(left, statistics)
    findings += _high_nulls(left, statistics, table.split, config.checks.max_null_share)
    findings += [
        Finding(name, "drift", f"drift: it separates train from test rows with AUC {auc:.3f}")
        for name, auc in drift.items()
        if auc >= config.checks.drift_auc
    ]
    findings += _row_overlap(statistics, table.split)
    findings += _group_overlap(table)
    excluded = {finding.column: finding.detail for finding in findings if finding.excluded}
    return Examined(tuple(findings), excluded, drift)


def _notes(config: AuditConfig, table: LabelledTable) -> list[str]:
    """Notes on decisions made for the user: about reading, the task, the positive class and weights."""
    weights = [] if table.weight is None else weight_notes(config, table.weight, table.split)
    return [*table.source.notes, *_guessed_task(config, table), *filter(None, [table.target.note]), *weights]


def _guessed_task(config: AuditConfig, table: LabelledTable) -> list[str]:
    """State how whole numbers were interpreted: values cannot show whether 40 numbers are a quantity or class codes."""
    target = table.target
    if config.task or target.task == "binary":
        return []
    if target.task == "multiclass":
        if not all(re.fullmatch(r"-?\d+(\.0)?", label) for label in target.classes):
            return []
        found, read, other = len(target.classes), "classes (task=multiclass)", "a quantity, give task=regression"
    else:
        distinct = np.unique(target.values)
        if len(distinct) > _MAYBE_CLASSES or not np.all(distinct == np.trunc(distinct)):
            return []
        found, read, other = len(distinct), "a quantity (task=regression)", "classes, give task=multiclass"
    return [f"the target's {found} whole numbers are treated as {read}; if they are {other}"]


def _left(columns: tuple[Column, ...], findings: list[Finding]) -> tuple[Column, ...]:
    gone = {finding.column for finding in findings if finding.excluded}
    return tuple(column for column in columns if column.name not in gone)


def _empty_or_constant(columns: tuple[Column, ...], statistics: Statistics, split: Split) -> list[Finding]:
    rows = split.rows()["train"]
    findings = []
    for column in columns:
        fact = statistics.facts[column.name]
        note = "; never_drop cannot keep a column without information" if column.protected else ""
        if fact.nulls["train"] == rows:
            findings.append(
                Finding(column.name, "all_null", f"no value in any of the {rows} train rows{note}", excluded=True)
            )
        elif fact.constant:
            value = statistics.samples["train"][column.name][0]
            findings.append(
                Finding(column.name, "constant", f"{value!r} in all {rows} train rows{note}", excluded=True)
            )
    return findings


def _unread(columns: tuple[Column, ...], statistics: Statistics) -> list[Finding]:
    """Text cells that could not be read as the column's kind."""
    unread = {column: statistics.facts[column.name].unread for column in columns}
    return [
        Finding(
            column.name,
            "other",
            f"{counted(count, 'cell')} could not be read as {column.kind} and "
            f"{'is' if count == 1 else 'are'} treated as missing",
        )
        for column, count in unread.items()
        if count
    ]


def _high_nulls(columns: tuple[Column, ...], statistics: Statistics, split: Split, most: float) -> list[Finding]:
    rows = split.rows()
    findings = []
    for column in columns:
        nulls = statistics.facts[column.name].nulls
        share = nulls["train"] / rows["train"]
        if share >= most:
            findings.append(Finding(column.name, "high_null", f"missing in {share:.2%} of the train rows"))
        elif nulls["test"] == rows["test"]:
            detail = f"present in {1 - share:.0%} of the train rows but in none of the test rows: is it still written?"
            findings.append(Finding(column.name, "high_null", detail))
    return findings


def _drift(columns: tuple[Column, ...], statistics: Statistics, seed: int) -> dict[str, float]:
    """Column -> cross-fitted AUC of separating test from train rows by that column."""
    train, test = statistics.samples["train"], statistics.samples["test"]
    if not test.height:
        return {}
    train = train if train.height <= test.height else train.sample(test.height, seed=seed)
    is_test = np.repeat([False, True], [train.height, test.height])
    half = halves(len(is_test), seed)
    drift = {}
    for column in columns:
        both = pl.concat([train[column.name], test[column.name]])
        seen = views(column, both, statistics.facts[column.name])
        drift[column.name] = max(crossfit_auc(codes, is_test, half) for codes in seen.values())
    return drift


def _row_overlap(statistics: Statistics, split: Split) -> list[Finding]:
    """Share of test rows that equal a train row in every candidate column."""
    hashes = statistics.row_hashes
    train, test = hashes[split.of_row == TRAIN], hashes[split.of_row == TEST]
    train.sort()
    found = 0
    for part in np.array_split(test, 1 + len(test) // 1_000_000):
        place = np.minimum(np.searchsorted(train, part), len(train) - 1)
        found += int(np.count_nonzero(train[place] == part))
    share = found / len(test)
    split.info["duplicate_rows"] = {"test_rows_in_train": share}
    if share < ROW_OVERLAP:
        return []
    detail = f"{share:.1%} of the test rows equal a train row in every candidate column"
    return [Finding("", "split_overlap", f"{detail}; if rows were copied, remove the copies")]


def _group_overlap(table: LabelledTable) -> list[Finding]:
    """Units (users) that occur in both train and test, for splits that do not follow time."""
    roles = table.roles
    if roles.group is None or roles.group in roles.candidates or table.split.info["kind"] not in ("random", "column"):
        return []
    share = table.split.info["overlap"]["test"]["rows_of_units_in_train"]
    if share == 0:
        return []
    detail = f"{share:.0%} of the test rows belong to a {roles.group} that also occurs in train"
    return [Finding("", "split_overlap", f"{detail}; split=group keeps them apart")]

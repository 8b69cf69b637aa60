"""Looks at the train statistics for columns that cannot or should not be features."""

from __future__ import annotations

from feature_audit.config import AuditConfig
from feature_audit.data.duplicates import exact_duplicates
from feature_audit.data.keys import Target
from feature_audit.data.reading import Source
from feature_audit.data.splits import SPLITS, Split
from feature_audit.data.statistics import Statistics
from feature_audit.findings import Finding
from feature_audit.schema import Column


def examine(
    config: AuditConfig, source: Source, columns: tuple[Column, ...], statistics: Statistics, split: Split, target: Target,
    unusable: dict[str, str],
) -> tuple[list[Finding], dict[str, str]]:  # fmt: skip
    """All findings, and column -> reason for those that are therefore not features.

    Protected columns are reported and kept, unless no feature can be made from them.
    """
    findings = [Finding(name, "other", reason, excluded=True) for name, reason in unusable.items()]
    findings += _empty_or_constant(columns, statistics, split)
    gone = {finding.column for finding in findings if finding.excluded}
    left = tuple(column for column in columns if column.name not in gone)
    findings += exact_duplicates(source, left, statistics, split)
    return findings, {finding.column: finding.detail for finding in findings if finding.excluded}


def _empty_or_constant(columns: tuple[Column, ...], statistics: Statistics, split: Split) -> list[Finding]:
    rows = split.rows()["train"]
    findings = []
    for column in columns:
        fact = statistics.facts[column.name]
        if fact.nulls["train"] == rows:
            findings.append(Finding(column.name, "all_null", f"no value in any of the {rows} train rows", excluded=True))
        elif fact.constant:
            value = statistics.samples["train"][column.name][0]
            findings.append(Finding(column.name, "constant", f"{value!r} in all {rows} train rows", excluded=True))
    return findings

"""Source tables that can be retired, and the savings from dropped features."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import Any

from feature_audit.plurals import counted
from feature_audit.report import numbers
from feature_audit.results import AuditReport, FeatureDecision


@dataclass(frozen=True)
class SourceTable:
    """Decisions about the features of one source table.

    ``saved`` is the cost of its dropped features that no other model reads and, if it can be retired, of the table
    itself; ``readers`` are its other consumers.
    """

    name: str
    kept: int
    dropped: int
    review: int
    saved: float
    held_by: tuple[str, ...]
    readers: tuple[str, ...] = ()

    @property
    def features(self) -> int:
        """Number of feature columns from the table."""
        return self.kept + self.dropped + self.review

    @property
    def retires(self) -> bool:
        """True if all its features are dropped and it has no other consumers."""
        return self.dropped == self.features and not self.readers


def source_tables(report: AuditReport) -> list[SourceTable]:
    """Source tables: those that can be retired first, then by savings, then by number of dropped features."""
    rows: dict[str, list[Any]] = defaultdict(list)
    for decision in report.decisions:
        if decision.group:
            rows[decision.group].append(decision)
    tables = []
    for name, members in rows.items():
        seen = Counter(row.decision for row in members)
        saved = sum(row.cost for row in members if goes(report, row))
        held_by = tuple(row.feature for row in members if row.decision != "drop")
        others = dict.fromkeys(one for row in members for one in consumers_of(report, row.feature))
        if report.readers:
            others |= dict.fromkeys(report.readers.tables.get(name, []))
        table = SourceTable(name, seen["keep"], seen["drop"], seen["review"], saved, held_by, tuple(others))
        if table.retires:
            table = replace(table, saved=saved + report.table_costs.get(name, 0.0))
        tables.append(table)
    return sorted(tables, key=lambda table: (not table.retires, -table.saved, -table.dropped, table.name))


def consumers_of(report: AuditReport, feature: str) -> list[str]:
    """Other models that read a feature."""
    return report.readers.features.get(feature, []) if report.readers else []


def goes(report: AuditReport, row: FeatureDecision) -> bool:
    """Whether a feature is no longer computed: dropped here and not read by another model."""
    return row.decision == "drop" and not consumers_of(report, row.feature)


def saved_cost(report: AuditReport) -> float:
    """Cost of all dropped features and retired tables, in the user's unit; 0 if no cost was given."""
    alone = sum(row.cost for row in report.decisions if goes(report, row) and not row.group)
    return alone + sum(table.saved for table in source_tables(report))


def savings(report: AuditReport) -> str:
    """The savings by source table in one sentence; empty without source tables."""
    tables = source_tables(report)
    if not tables:
        return ""
    retiring = [table for table in tables if table.retires]
    passed = report.verdict == "pass"
    verb = "can be retired" if passed else "could be retired"
    names = f" ({', '.join(table.name for table in retiring[:6])}{', …' if len(retiring) > 6 else ''})"
    start = f"{len(retiring)} of {counted(len(tables), 'source table')} {verb}{names if retiring else ''}"
    everything = saved_cost(report)
    if not everything:
        return f"{start}."
    of_tables = sum(table.saved for table in retiring)
    saving = "which saves" if passed else "which would save"
    rest = numbers.total(everything - of_tables)
    if not retiring:
        return f"{start}; single features {'save' if passed else 'would save'} {rest} per year."
    return f"{start}, {saving} {numbers.total(of_tables)} per year; single features save another {rest}."

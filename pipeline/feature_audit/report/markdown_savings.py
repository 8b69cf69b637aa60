"""Savings as Markdown: measured figures, source tables, other consumers, waves and the fading curve."""

from __future__ import annotations

from collections.abc import Sequence

from feature_audit.report import actions, fading, measured, numbers, retirement
from feature_audit.report.markdown import code, table, text
from feature_audit.results import AuditReport


def waves(report: AuditReport) -> str:
    """The order of removal and the savings of each wave; empty if there is none."""
    found = actions.removal_waves(report)
    if not found:
        return ""
    sizes = report.savings.waves if report.savings else [None] * len(found)
    rows = [
        [
            str(at),
            text(wave.title),
            numbers.count(wave.features),
            numbers.total(wave.saved),
            numbers.size(size.bytes_per_row) if size else "",
            text(wave.text),
        ]
        for at, (wave, size) in enumerate(zip(found, sizes, strict=True), 1)
    ]
    return table(["Wave", "What", "Features", "Saves", "Bytes per row", "Reason"], rows, (0, 2, 3, 4))


def section(report: AuditReport) -> str:
    """The complete section; empty if nothing is known."""
    parts = [_figures(report), _tables(report), _readers(report), _fading(report)]
    found = [part for part in parts if part]
    return "\n\n".join(["## Savings", *found]) if found else ""


def _figures(report: AuditReport) -> str:
    found = measured.rows(report)
    if not found:
        return ""
    shown = table(["", "Full", "Pruned", "Change"], found, (1, 2, 3))
    return f"{shown}\n\n{text(measured.notes(report))}".rstrip()


def _tables(report: AuditReport) -> str:
    tables = retirement.source_tables(report)
    if not tables:
        return ""
    rows = [
        [
            text(one.name),
            *(numbers.count(number) for number in (one.features, one.kept, one.review, one.dropped)),
            numbers.total(one.saved),
            _result(report, one),
        ]
        for one in tables
    ]
    head = ["Source table", "Features", "Keep", "Review", "Drop", "Saved", "Result"]
    return f"### Savings by source table\n\n{text(retirement.savings(report))}\n\n" + table(head, rows, range(1, 6))


def _result(report: AuditReport, one: retirement.SourceTable) -> str:
    if one.retires:
        return "**can be retired**" if report.verdict == "pass" else "could be retired"
    if one.held_by:
        return "still needed for " + ", ".join(map(code, one.held_by[:3])) + _more(one.held_by, 3)
    return "still read by " + ", ".join(map(text, one.readers[:3])) + _more(one.readers, 3)


def _readers(report: AuditReport) -> str:
    found = measured.other_readers(report)
    if report.readers is None:
        return ""
    rows = [[text(name), ", ".join(map(code, read[:12])) + _more(read, 12)] for name, read in found]
    shown = table(["Consumer", "Dropped features that it still reads"], rows) if rows else measured.NO_OTHER_CONSUMER
    return "\n\n".join(filter(None, ("### Other consumers of these features", shown, text(report.readers.note))))


def _fading(report: AuditReport) -> str:
    if not fading.points(report):
        return ""
    shown = table(
        ["Wave", "Coverage", "Metric", "Change"], [[text(row[0]), *row[1:]] for row in fading.rows(report)], (1, 2, 3)
    )
    return f"### Effect of a cut without retraining\n\n{text(fading.sentence(report))}\n\n{shown}"


def _more(items: Sequence[object], most: int) -> str:
    return f" and {len(items) - most} more" if len(items) > most else ""

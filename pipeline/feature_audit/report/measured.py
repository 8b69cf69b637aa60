"""Measured savings: the sentence on the first screen, the comparison of full and pruned model, other consumers."""

from __future__ import annotations

from collections import defaultdict

from feature_audit.plurals import counted
from feature_audit.report import numbers, retirement
from feature_audit.results import AuditReport, Savings

#: How the speeds were measured.
SPEED = (
    "Speed is the median over alternating runs of both models that encode and score raw rows of this log, in one "
    "process with one CPU thread. Compare the two models; a server adds its own overhead to both."
)
#: Shown if a consumers file was given and none of the consumers reads a dropped feature.
NO_OTHER_CONSUMER = "No other consumer reads the features that this model drops."


def ratios(savings: Savings) -> dict[str, float]:
    """Savings of the pruned model as shares, and its speed-up; only the known values."""
    full, pruned = savings.full, savings.pruned
    found = {}
    for name, before, after in (
        ("bytes_per_row.share_saved", full.bytes_per_row, pruned.bytes_per_row),
        ("model_bytes.share_saved", full.model_bytes, pruned.model_bytes),
    ):
        if before and after is not None:
            found[name] = 1 - after / before
    if full.rows_per_second and pruned.rows_per_second:
        found["speedup"] = pruned.rows_per_second / full.rows_per_second
    if full.latency_ms and pruned.latency_ms:
        found["latency.share_saved"] = 1 - pruned.latency_ms / full.latency_ms
    return found


def sentence(report: AuditReport) -> str:
    """``39 of 394 features: 61 % fewer bytes read per row, 2.3 × the scoring speed``; empty if nothing is known."""
    if report.savings is None or report.verdict not in ("pass", "inconclusive"):
        return ""
    found = ratios(report.savings)
    parts = []
    if "bytes_per_row.share_saved" in found:
        parts.append(f"{numbers.percent(found['bytes_per_row.share_saved'])} fewer bytes read per row")
    if "speedup" in found:
        parts.append(f"{_times(found['speedup'])} the scoring speed")
    if "model_bytes.share_saved" in found:
        parts.append(_smaller(found["model_bytes.share_saved"]))
    if not parts:
        return ""
    start = "" if report.verdict == "pass" else "If the audit passed: "
    kept = f"{numbers.count(report.k)} of {counted(report.n_features, 'feature')}"
    return f"{start}{kept}: {', '.join(parts)}."


def rows(report: AuditReport) -> list[tuple[str, str, str, str]]:
    """``(what, full model, pruned model, change)`` of everything that was measured."""
    if report.savings is None:
        return []
    full, pruned = report.savings.full, report.savings.pruned
    found = [
        (
            "Features read",
            numbers.count(full.features),
            numbers.count(pruned.features),
            _change(full.features, pruned.features),
        )
    ]
    for title, before, after in (
        ("Bytes per row in the log, as stored", full.bytes_per_row, pruned.bytes_per_row),
        ("Bytes per row before compression", full.plain_bytes_per_row, pruned.plain_bytes_per_row),
        ("Weights", full.model_bytes, pruned.model_bytes),
    ):
        if before is not None and after is not None:
            found.append((title, numbers.size(before), numbers.size(after), _change(before, after)))
    if full.plain_bytes_per_row == full.bytes_per_row:  # no compression
        found = [row for row in found if row[0] != "Bytes per row before compression"]
    if full.rows_per_second and pruned.rows_per_second:
        title = f"Rows scored per second, {numbers.count(full.batch_rows)} at a time"
        speeds = [numbers.count(float(f"{one.rows_per_second:.3g}")) for one in (full, pruned)]
        found.append((title, speeds[0], speeds[1], _times(pruned.rows_per_second / full.rows_per_second)))
    if full.latency_ms and pruned.latency_ms:
        times = [f"{numbers.significant(one.latency_ms)}{numbers.SPACE}ms" for one in (full, pruned)]
        found.append(("Time to score one row", times[0], times[1], _change(full.latency_ms, pruned.latency_ms)))
    return found


def notes(report: AuditReport) -> str:
    """How the figures were measured."""
    if report.savings is None:
        return ""
    parts = [f"Bytes per row: {report.savings.bytes_from}."] if report.savings.bytes_from else []
    return " ".join([*parts, *([SPEED] if report.savings.full.rows_per_second else [])])


def other_readers(report: AuditReport) -> list[tuple[str, list[str]]]:
    """``(consumer, dropped features that it still reads)``, the consumers with the most features first."""
    if report.readers is None:
        return []
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for row in report.decisions:
        if row.decision == "drop":
            for consumer in retirement.consumers_of(report, row.feature):
                found[consumer][row.feature] = None
    for table, consumers in report.readers.tables.items():
        for consumer in consumers:
            found[consumer][f"table {table}"] = None
    return sorted(((name, list(read)) for name, read in found.items()), key=lambda one: (-len(one[1]), one[0]))


def _change(before: float, after: float) -> str:
    """``−61 %``."""
    return numbers.signed(100 * (after / before - 1), 0) + f"{numbers.SPACE}%" if before else numbers.UNKNOWN


def _smaller(share: float) -> str:
    return f"weights {numbers.percent(abs(share))} {'smaller' if share >= 0 else 'larger'}"


def _times(ratio: float) -> str:
    return f"{numbers.plain(ratio, 1)}{numbers.SPACE}×"

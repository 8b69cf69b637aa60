"""Several K tested in a fixed order: the rows of their table and the sentence on the recommendation."""

from __future__ import annotations

from dataclasses import replace

from feature_audit.report import numbers, view
from feature_audit.results import AuditReport, LadderRung

#: Why testing several K on the same rows does not inflate the error rate.
METHOD = (
    "The order was fixed on validation, before any test row was read. Each K is tested at full confidence, and "
    "testing stops at the first K that does not pass. The error rate over all K is therefore that of a single test "
    "(fixed-sequence testing)."
)
#: Verdict -> its sign in the chart, and the sign's meaning.
SIGNS = {
    "pass": ("✓", "passed"),
    "fail": ("✕", "failed"),
    "inconclusive": ("?", "inconclusive"),
    "": ("–", "not tested"),
}


def rungs(report: AuditReport) -> list[LadderRung]:
    """The tested K; empty if only one K was tested."""
    return report.ladder if len(report.ladder) > 1 else []


def sign(rung: LadderRung) -> str:
    """The character that represents the verdict of a rung."""
    return SIGNS[rung.verdict or ""][0]


def legend(report: AuditReport) -> list[tuple[str, str, str]]:
    """``(verdict, sign, meaning)`` of the signs that the chart shows."""
    seen = {rung.verdict or "" for rung in rungs(report)}
    return [(verdict, *words) for verdict, words in SIGNS.items() if verdict in seen]


def head(report: AuditReport) -> list[str]:
    """The table's columns."""
    return ["K", "Features dropped", "Change", f"{numbers.confidence(report.confidence)} interval", "Verdict"]


def cells(report: AuditReport) -> list[list[str]]:
    """The cells of the table, one row per K in the order of testing; without figures if the K was not tested."""
    decimals = _decimals(report)
    table = []
    for rung in rungs(report):
        interval = f"{numbers.signed(rung.ci_low, decimals)} to {numbers.signed(rung.ci_high, decimals)}"
        figures = [numbers.signed(rung.delta, decimals), interval] if rung.verdict else ["", ""]
        verdict = str(rung.verdict or "not tested")
        table.append([numbers.count(rung.k), numbers.count(report.n_features - rung.k), *figures, verdict])
    return table


def _decimals(report: AuditReport) -> int:
    """Enough decimals for all rows that no bound is rounded onto the margin."""
    row = view.decision_row(report)
    if row is None:
        return numbers.decimals_for(report.margin)
    rows = [
        replace(row, ci_low=rung.ci_low, ci_high=rung.ci_high)
        for rung in rungs(report)
        if rung.ci_low is not None and rung.ci_high is not None
    ]
    return max(numbers.decimals_of(one) for one in [row, *rows])


def sentence(report: AuditReport) -> str:
    """Which K is recommended and why the next one is not; empty if only one K was tested."""
    shown = rungs(report)
    if not shown:
        return ""
    tested, left = [rung for rung in shown if rung.verdict], [rung for rung in shown if not rung.verdict]
    recommended = f"K = {numbers.count(report.k)} is recommended"
    if tested[-1].verdict == "pass":
        return f"{recommended}: {_listed(shown)} were tested in this order and all passed."
    untested = f" Not tested: {_listed(left)}." if left else ""
    if len(tested) == 1:
        return f"{_listed(tested)} was tested first and did not pass, so testing stopped.{untested}"
    stop = tested[-1]
    ended = {"fail": "failed", "inconclusive": "is inconclusive"}[str(stop.verdict)]
    why = view.without_verdict(stop.sentence or "", str(stop.verdict))
    return f"{recommended}. {_listed([stop])} was tested next and {ended}. {why}{untested}"


def _listed(some: list[LadderRung]) -> str:
    """``K = 120, 60 and 30``."""
    *first, last = [numbers.count(rung.k) for rung in some]
    return f"K = {', '.join(first)} and {last}" if first else f"K = {last}"

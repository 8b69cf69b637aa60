"""Findings of the load stage, in lines for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from feature_audit.data.messages import listing
from feature_audit.data.overview import MOST_LINES
from feature_audit.findings import Finding, FindingKind

#: (kind, excluded) -> what is true of the columns that are not named one by one.
_SUMMARIES: dict[tuple[FindingKind, bool], str] = {
    ("duplicate", True): "excluded (equal to another column in every train row)",
    ("all_null", True): "excluded (no value in any train row)",
    ("constant", True): "excluded (constant in the train rows)",
    ("leak", True): "excluded (each predicts the label almost perfectly)",
    ("other", True): "excluded (no feature can be made of their types)",
    ("suspected_leak", False): "may leak the label",
    ("id_like", False): "identify rows",
    ("other", False): "have a note in the report on how they were read",
}


def announcements(findings: Sequence[Finding]) -> Iterator[tuple[bool, str]]:
    """What is excluded, may leak or was read in a way that the user should know.

    At most ``MOST_LINES`` columns of each kind are named one by one, and constant columns in one line.

    Yields:
        Whether it is a warning, and the line.
    """
    further: dict[tuple[FindingKind, bool], list[str]] = {}
    seen: dict[tuple[FindingKind, bool], int] = {}
    for finding in findings:
        kind = (finding.kind, finding.excluded)
        if not finding.column:
            yield finding.kind == "split_overlap", finding.detail
        elif kind in _SUMMARIES:
            seen[kind] = seen.get(kind, 0) + 1
            if finding.kind == "constant" or seen[kind] > MOST_LINES:
                further.setdefault(kind, []).append(finding.column)
            else:
                yield finding.kind == "suspected_leak", _line(finding)
    for kind, names in further.items():
        more = "" if kind[0] == "constant" else "more "
        columns = f"{len(names):,} {more}columns" if len(names) > 1 else f"1 {more}column"
        yield kind[0] == "suspected_leak", f"{columns} {_SUMMARIES[kind]}: {listing(names)}"


def _line(finding: Finding) -> str:
    if finding.excluded:
        return f"{finding.column} is excluded: {finding.detail}"
    if finding.kind == "suspected_leak":
        return f"{finding.column} may leak the label: {finding.detail}; exclude it if it is known only after the event"
    return f"{finding.column}: {finding.detail}"

"""What the reader sees, as plain values: rows sorted, counted and put in groups. Nothing is estimated here."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from feature_audit.report import numbers, retirement
from feature_audit.results import AuditReport, CostPlan, FeatureDecision, MetricDelta

VERDICTS: dict[str, str] = {"pass": "Pass", "fail": "Fail", "inconclusive": "Inconclusive", "error": "Error"}
METRIC_NAMES: dict[str, str] = {
    "auc": "AUC",
    "gauc": "GAUC",
    "ndcg": "NDCG",
    "logloss": "log loss",
    "normalised_entropy": "normalised entropy",
    "r2": "R²",
    "rmse": "RMSE",
    "mae": "MAE",
}
#: What the reader of the K curve's points must know.
CURVE_ROWS = (
    "A change compares with the full model on the same validation rows: for masked points the half that judged no "
    "removal, for retrained points all. So the values of the two kinds may differ where their changes do not."
)


@dataclass(frozen=True)
class Proxy:
    """A feature and the features whose information it carries."""

    feature: str
    carried: tuple[str, ...]


@dataclass(frozen=True)
class MetricRows:
    """All rows of one metric, in the report's order, on one scale."""

    metric: str
    decimals: int
    rows: list[MetricDelta]

    @property
    def first(self) -> int:
        """How many rows are shown at once: all that are judged, and some that are only reported."""
        return sum(row.role != "information" for row in self.rows) + 10

    @property
    def more(self) -> int:
        """How many rows are left for the continuation."""
        return max(0, len(self.rows) - self.first)


def metric_name(metric: str) -> str:
    """How a metric is called in a sentence; ``ndcg@10`` is ``NDCG@10``."""
    base, at, depth = metric.partition("@")
    return METRIC_NAMES.get(base, base.replace("_", " ")) + at + depth


def headline(report: AuditReport) -> str:
    """The verdict in words that need no statistics."""
    kept = f"{numbers.count(report.k)} of {numbers.counted(report.n_features, 'feature')}"
    counts = decision_counts(report)
    gone = counts["drop"] if report.decisions else report.n_features - report.k
    later = f" now, {numbers.count(counts['review'])} more after review" if counts["review"] else ""
    return {
        "pass": f"Production can drop {numbers.count(gone)} of {numbers.counted(report.n_features, 'feature')}{later}.",
        "fail": f"Keep the full model: {kept} are not enough.",
        "inconclusive": f"Not decided: the evidence does not say whether {kept} are enough.",
        "error": "The audit stopped before a verdict.",
    }[report.verdict]


def sentence(report: AuditReport) -> str:
    """The report's sentence without the verdict in front of it, which the page and the note say anyway."""
    return without_verdict(report.sentence, report.verdict)


def without_verdict(text: str, verdict: str) -> str:
    """A verdict's sentence without its first word, where the verdict is shown anyway."""
    word, colon, rest = text.partition(":")
    return prose(rest) if colon and word.strip().lower() == verdict else text


def prose(text: str | None) -> str:
    """A part's own words as a sentence of the page: capital letter, full stop, real minus signs."""
    text = re.sub(r"(?<![\w.])-(?=\d)", numbers.MINUS, (text or "").strip())
    if text and text[-1] not in ".!?":
        text += "."
    return text[:1].upper() + text[1:]


#: A ratio is neither better where higher nor where lower.
CALIBRATION = (
    "For calibration, a ratio that should be 1, it is the change in −|log ratio|: + where the pruned model's ratio is "
    "nearer to 1."
)


def interval_confidence(report: AuditReport) -> float:
    """Of the intervals that the report shows."""
    return report.confidence if report.judged_at is None else report.judged_at


def look(report: AuditReport) -> str:
    """Where looks share the error: which one this is and at what confidence it was judged; goes after the audit's."""
    if interval_confidence(report) == report.confidence:
        return ""
    judged = numbers.confidence(interval_confidence(report))
    return f"; look {report.look} at this table's test rows, judged at {judged}"


def decision_row(report: AuditReport) -> MetricDelta | None:
    """The row on which the verdict stands, if the audit got that far."""
    return next((row for row in report.deltas if row.role == "decision"), None)


def by_metric(report: AuditReport) -> list[MetricRows]:
    """Deltas by metric, the decision metric first; rows with a margin come before rows that are only reported."""
    groups: dict[str, list[MetricDelta]] = defaultdict(list)
    for row in report.deltas:
        groups[row.metric].append(row)
    order = {"decision": 0, "guard": 1, "information": 2}
    result = []
    for metric, rows in groups.items():
        ordered = sorted(rows, key=lambda row: order[row.role])
        # Slices are wider than the whole: the first row sets the decimals, so that a column lines up.
        result.append(MetricRows(metric, numbers.decimals_of(ordered[0]), ordered))
    return result


#: What a decision means, in the order in which they are shown.
DECISIONS = {
    "keep": "the pruned model reads it",
    "review": "the pruned model does without it, but half of the selectors or more would keep it: a person decides",
    "drop": "production can do without it",
    "no feature": "constant, duplicate or leak: not even the full model had it",
}


def is_feature(report: AuditReport, row: FeatureDecision) -> bool:
    """Did the full model have this column? Columns that were excluded rank after all features."""
    return row.rank <= report.n_features


def decision_of(report: AuditReport, row: FeatureDecision) -> str:
    """The decision as it is shown: a column that was no feature is not counted as dropped."""
    return row.decision if is_feature(report, row) else "no feature"


def decision_counts(report: AuditReport) -> dict[str, int]:
    """Columns per decision as shown, all keys of ``DECISIONS`` always present; those but the last are the features."""
    seen = Counter(decision_of(report, row) for row in report.decisions)
    return {name: seen[name] for name in DECISIONS}


#: What the orders of the decision table mean; they may contradict each other.
RANK_AND_SCORE = (
    "Rank is the order in which features are kept: with K features, ranks 1 to K. It combines the eliminations of all "
    "selectors. Selected is the share of selectors that would keep the feature at this K on their own: one selector "
    "may rank a feature high enough for the combined order while the others place it just below the cut, so a kept "
    "feature can stand at a lower share than one under review. Score is a selector's estimate before the elimination "
    "(log of the expected number of slots that choose the feature). Rank is what counts."
)


def proxies(report: AuditReport) -> list[Proxy]:
    """Who carries whom, the largest groups first: of dropped columns only, excluded duplicates included."""
    groups: dict[str, dict[str, None]] = defaultdict(dict)
    needed = {row.feature for row in report.decisions if row.decision != "drop"}
    for decision in report.decisions:
        if decision.carried_by and decision.feature not in needed:
            groups[decision.carried_by][decision.feature] = None
    for finding in report.findings:
        if finding.carried_by and finding.column and finding.column not in needed:
            groups[finding.carried_by][finding.column] = None
    found = [Proxy(feature, tuple(carried)) for feature, carried in groups.items()]
    return sorted(found, key=lambda proxy: (-len(proxy.carried), proxy.feature))


def finding_counts(report: AuditReport) -> list[tuple[str, int, int]]:
    """``(kind, findings, of which excluded)``, most frequent first."""
    seen = Counter(finding.kind for finding in report.findings)
    excluded = Counter(finding.kind for finding in report.findings if finding.excluded)
    return [(kind.replace("_", " "), total, excluded[kind]) for kind, total in seen.most_common()]


def evidence(report: AuditReport) -> str | None:
    """Where the interval lies, in words, so that a reader need not know what "non-inferior" means."""
    row = decision_row(report)
    if row is None or row.margin is None or not (numbers.known(row.ci_low) and numbers.known(row.ci_high)):
        return None
    limit = numbers.limit(row.margin)
    start = (
        f"Bar: {numbers.confidence(interval_confidence(report))} interval of the change in {metric_name(row.metric)}."
    )
    meaning = {
        "pass": f"All of it lies above {limit}, the most that was agreed to lose.",
        "fail": f"All of it lies below {limit}: more is lost than was agreed.",
        "inconclusive": f"It contains {limit}: the loss may be smaller or larger than was agreed.",
    }.get(row.verdict or "", "")
    if row.verdict == "inconclusive" and row.ci_low > -row.margin:
        meaning = f"All of it lies above {limit}; the verdict has another reason."
    return " ".join(filter(None, (start, meaning, _lopsided(row))))


def _lopsided(row: MetricDelta) -> str:
    """Why the bar reaches further up than down, where it visibly does."""
    if row.ci_high - row.delta < 1.1 * (row.delta - row.ci_low):
        return ""
    return (
        "It reaches further up than down because the question is one-sided (is too much lost?): most of the error that "
        "the confidence allows is spent on the lower end, which decides, so that end is the tighter one."
    )


def overruling(report: AuditReport) -> list[MetricDelta]:
    """Guard rows that made the difference where the decision row has another verdict than the report."""
    row = decision_row(report)
    if row is None or row.verdict == report.verdict:
        return []
    if report.verdict == "inconclusive":
        return [guard for guard in report.deltas if guard.mode == "not_worse" and guard.verdict != "pass"]
    return [guard for guard in report.deltas if guard.role == "guard" and guard.verdict == report.verdict]


def guard_name(row: MetricDelta) -> str:
    """What a guard asks: that no loss is shown, or that the margin is shown to hold."""
    return "guard, must be shown" if row.mode == "not_worse" else "guard"


def slice_label(row: MetricDelta) -> str:
    """``all test rows`` or the slice's own name."""
    return "all test rows" if row.slice == "all" else row.slice


def total_trainings(report: AuditReport) -> float:
    """Cost of the whole audit in units of the baseline's own training."""
    return sum(cost.full_trainings for cost in report.costs)


def plan_sentence(plan: CostPlan) -> str:
    """The steps and what they are expected to cost together, for a log or a page."""
    trainings = f"{numbers.plain(plan.trainings_low, 1)} to {numbers.plain(plan.trainings_high, 1)}"
    seconds = f"{numbers.duration(plan.seconds_low)} to {numbers.duration(plan.seconds_high)}"
    return f"{plan.text}; all in all {trainings} full trainings, about {seconds}"


def planned(report: AuditReport) -> str | None:
    """What was planned before the selection and what it came to; None for a report without a plan."""
    plan = report.plan
    if plan is None:
        return None
    came_to = f"{numbers.plain(total_trainings(report), 1)}, {numbers.duration(total_seconds(report))}"
    return f"Planned before the selection: {plan_sentence(plan)}. It came to {came_to}."


def total_seconds(report: AuditReport) -> float:
    """Wall-clock seconds of all stages."""
    return sum(cost.seconds for cost in report.costs)


def bar_widths(values: Sequence[float]) -> list[float]:
    """Lengths of bars in per cent of the longest; what is not a positive number has none."""
    lengths = [value if numbers.known(value) and value > 0 else 0.0 for value in values]
    longest = max(lengths, default=0.0) or 1.0
    return [round(100 * length / longest, 1) for length in lengths]


def sections(report: AuditReport) -> list[tuple[str, str]]:
    """``(anchor, title)`` of the sections that have something to show, in the page's order."""
    everything = [
        ("decision", "Verdict", True),
        ("next", "Next steps", True),
        ("quality", "Quality", bool(report.deltas)),
        ("k-curve", "How many", any(numbers.known(point.delta) for point in report.curve)),
        ("features", "Features", bool(report.decisions)),
        ("redundancy", "Redundancy", bool(proxies(report))),
        ("savings", "Savings", bool(report.savings or report.readers or retirement.source_tables(report))),
        ("data", "Data", bool(report.data_summary or report.findings)),
        ("search", "Search", bool(report.trials or report.importances)),
        ("cost", "Cost", bool(report.costs)),
        ("provenance", "Provenance", True),
    ]
    return [(anchor, title) for anchor, title, shown in everything if shown]


def missing(report: AuditReport) -> list[str]:
    """Parts that the audit did not get to."""
    parts = {
        "quality": report.deltas,
        "the K curve": report.curve,
        "decisions": report.decisions,
        "costs": report.costs,
    }
    return [name for name, content in parts.items() if not content]


def extra(columns: Sequence[Any], row: Sequence[Any]) -> str:
    """The columns that a narrow screen hides, in one line for below the name."""
    parts = []
    for column, value in zip(columns, row, strict=True):
        number, text = value if isinstance(value, list) else (value, str(value))
        if column.wide and number:
            parts.append(("cost " if column.key == "cost" else "") + text)
    return " · ".join(parts)

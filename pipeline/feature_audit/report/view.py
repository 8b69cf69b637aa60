"""The report's content as plain values: rows sorted, counted and grouped. This module estimates nothing."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from feature_audit.metric_names import metric_name
from feature_audit.plurals import counted
from feature_audit.report import numbers, retirement
from feature_audit.results import AuditReport, CostPlan, FeatureDecision, MetricDelta

VERDICTS: dict[str, str] = {"pass": "Pass", "fail": "Fail", "inconclusive": "Inconclusive", "error": "Error"}
#: Note below the table of K curve points.
CURVE_ROWS = (
    "Changes are relative to the full model on the same validation rows. Masked points use the half of these rows "
    "that did not judge removals, retrained points use all of them, so their values are not directly comparable."
)


@dataclass(frozen=True)
class Proxy:
    """A feature and the features whose information it carries."""

    feature: str
    carried: tuple[str, ...]


@dataclass(frozen=True)
class MetricRows:
    """All rows of one metric, in the report's order, on one scale."""

    title: str
    decimals: int
    rows: list[MetricDelta]

    @property
    def first(self) -> int:
        """Number of rows shown initially: all with a margin, and some that are only reported."""
        return sum(row.role != "information" for row in self.rows) + 10

    @property
    def more(self) -> int:
        """Number of rows left for the continuation."""
        return max(0, len(self.rows) - self.first)


def measure(row: MetricDelta) -> str:
    """What a row compares: its metric and, with several targets, its target."""
    return f"{metric_name(row.metric)} of {row.target}" if row.target else metric_name(row.metric)


def further_targets(report: AuditReport) -> list[MetricDelta]:
    """The rows of all targets but the decision target."""
    return [row for row in report.deltas[1:] if row.target and row.target != report.deltas[0].target]


def headline(report: AuditReport) -> str:
    """The verdict in non-statistical words."""
    kept = f"{numbers.count(report.k)} of {counted(report.n_features, 'feature')}"
    counts = decision_counts(report)
    gone = counts["drop"] if report.decisions else report.n_features - report.k
    later = f" now, {numbers.count(counts['review'])} more after review" if counts["review"] else ""
    return {
        "pass": f"Production can drop {numbers.count(gone)} of {counted(report.n_features, 'feature')}{later}.",
        "fail": f"Keep the full model: {kept} are not enough.",
        "inconclusive": f"The evidence does not show whether {kept} are enough.",
        "error": "The audit stopped before a verdict.",
    }[report.verdict]


def sentence(report: AuditReport) -> str:
    """The sentence of the report without the leading verdict, which the page and the note show separately."""
    return without_verdict(report.sentence, report.verdict)


def without_verdict(text: str, verdict: str) -> str:
    """The sentence of a verdict without its first word, for places that show the verdict separately."""
    word, colon, rest = text.partition(":")
    return prose(rest) if colon and word.strip().lower() == verdict else text


def prose(text: str | None) -> str:
    """Text as a sentence of the page: capital letter, full stop, real minus signs."""
    text = re.sub(r"(?<![\w.])-(?=\d)", numbers.MINUS, (text or "").strip())
    if text and text[-1] not in ".!?":
        text += "."
    return text[:1].upper() + text[1:]


#: For a ratio, neither higher nor lower is better.
CALIBRATION = (
    "Calibration is a ratio that should be 1; its change is that of −|log ratio|, so + means that the pruned model "
    "is closer to 1."
)


def interval_confidence(report: AuditReport) -> float:
    """Confidence level of the intervals that the report shows."""
    return report.confidence if report.judged_at is None else report.judged_at


def look(report: AuditReport) -> str:
    """If looks share the error: the number of this look and its confidence level, to append to that of the audit."""
    if interval_confidence(report) == report.confidence:
        return ""
    judged = numbers.confidence(interval_confidence(report))
    return f"; this is look {report.look} at these test rows, judged at {judged}"


def decision_row(report: AuditReport) -> MetricDelta | None:
    """The row that decides the verdict, if the audit got that far."""
    return next((row for row in report.deltas if row.role == "decision"), None)


def by_metric(report: AuditReport) -> list[MetricRows]:
    """Deltas by metric and target, the decision first; rows with a margin precede rows that are only reported."""
    groups: dict[str, list[MetricDelta]] = defaultdict(list)
    for row in report.deltas:
        groups[measure(row)].append(row)
    order = {"decision": 0, "guard": 1, "information": 2}
    result = []
    for title, rows in groups.items():
        ordered = sorted(rows, key=lambda row: order[row.role])
        # Slices have wider intervals than the whole; the first row sets the decimals, so that columns align.
        result.append(MetricRows(title, numbers.decimals_of(ordered[0]), ordered))
    return result


#: Meaning of each decision, in display order.
DECISIONS = {
    "keep": "the pruned model uses it",
    "review": "the pruned model does not use it, but at least half of the selectors would keep it (your decision)",
    "drop": "production does not need it",
    "no feature": "constant, duplicate or leak; not used by the full model either",
}


def is_feature(report: AuditReport, row: FeatureDecision) -> bool:
    """Whether the full model used this column. Excluded columns rank after all features."""
    return row.rank <= report.n_features


def decision_of(report: AuditReport, row: FeatureDecision) -> str:
    """The decision as displayed: a column that was not a feature is not counted as dropped."""
    return row.decision if is_feature(report, row) else "no feature"


def decision_counts(report: AuditReport) -> dict[str, int]:
    """Columns per displayed decision, with all keys of ``DECISIONS``; all but the last one count features."""
    seen = Counter(decision_of(report, row) for row in report.decisions)
    return {name: seen[name] for name in DECISIONS}


#: Meaning of rank, selection frequency and score in the decision table; they may disagree.
RANK_AND_SCORE = (
    "Rank combines the elimination orders of all selectors; the model with K features keeps ranks 1 to K. Selected "
    "is the share of selectors whose own top K contains the feature. A kept feature can have a lower share than one "
    "under review, if one selector ranks it very high and the others just below the cut. Score is an estimate before "
    "the elimination (log of the expected number of slots that choose the feature). Only the rank decides."
)


def proxies(report: AuditReport) -> list[Proxy]:
    """Which feature carries which dropped columns (including excluded duplicates), the largest groups first."""
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
    """The position of the interval in words, for readers who do not know the term "non-inferior"."""
    row = decision_row(report)
    if row is None or row.margin is None or not (numbers.known(row.ci_low) and numbers.known(row.ci_high)):
        return None
    limit = numbers.limit(row.margin)
    start = f"Bar: {numbers.confidence(interval_confidence(report))} interval of the change in {measure(row)}."
    meaning = {
        "pass": f"It lies entirely above {limit}, the largest acceptable loss.",
        "fail": f"It lies entirely below {limit}, so the loss is larger than acceptable.",
        "inconclusive": f"It contains {limit}, so the loss may be smaller or larger than acceptable.",
    }.get(row.verdict or "", "")
    if row.verdict == "inconclusive" and row.ci_low > -row.margin:
        meaning = f"It lies entirely above {limit}; the verdict has another reason."
    return " ".join(filter(None, (start, meaning, _lopsided(row))))


def remarks(report: AuditReport) -> list[str]:
    """Sentences that follow the verdict: what else the reader must know to act on it."""
    found = (own_features(report), worse_slices(report), report.weighting, report.production)
    return [prose(one) for one in found if one]


def own_features(report: AuditReport) -> str | None:
    """By how much the dropped features hurt the full model, if the test rows show that they do; else None."""
    row = decision_row(report)
    if row is None or report.k >= report.n_features or not (numbers.known(row.ci_low) and row.ci_low > 0):
        return None
    decimals = numbers.decimals_of(row)
    low, high = (numbers.signed(end, decimals) for end in (row.ci_low, row.ci_high))
    return (
        f"Some features hurt the full model: without {numbers.count(report.n_features - report.k)} of its "
        f"{numbers.count(report.n_features)}, {metric_name(row.metric)} improves by "
        f"{numbers.plain(row.delta, decimals)} ({numbers.confidence(interval_confidence(report))} interval {low} to "
        f"{high})."
    )


def worse_slices(report: AuditReport) -> str | None:
    """Of a pass: the slices without a margin in which the pruned model is worse, if any; else None."""
    row = decision_row(report)
    if row is None or report.verdict != "pass":
        return None
    same = [one for one in report.deltas if (one.metric, one.target) == (row.metric, row.target)]
    slices = [one for one in same if one.slice != "all" and one.margin is None and numbers.known(one.ci_high)]
    worse = sorted((one for one in slices if one.ci_high < 0), key=lambda one: one.delta)
    if not worse:
        return None
    decimals = numbers.decimals_of(row)
    low, high = (numbers.signed(end, decimals) for end in (worse[0].ci_low, worse[0].ci_high))
    most = f"{slice_label(worse[0])}, {numbers.signed(worse[0].delta, decimals)} ({low} to {high})"
    chance = numbers.plain(len(slices) * (1 - interval_confidence(report)) / 2, 1)
    return (
        f"The pruned model is worse in {len(worse)} of {counted(len(slices), 'slice')}, most in {most}. By chance "
        f"alone, about {chance} would appear so. Slices do not count towards this verdict; slice_margin gives them a "
        "margin."
    )


def _lopsided(row: MetricDelta) -> str:
    """Why the interval is asymmetric, if it visibly is."""
    if row.ci_high - row.delta < 1.1 * (row.delta - row.ci_low):
        return ""
    return (
        "The interval is asymmetric because the question is one-sided (is the loss too large?): most of the allowed "
        "error is spent on the lower end, which decides and is therefore tighter."
    )


def overruling(report: AuditReport) -> list[MetricDelta]:
    """Guard rows that changed the verdict, if the decision row has a different verdict than the report."""
    row = decision_row(report)
    if row is None or row.verdict == report.verdict:
        return []
    if report.verdict == "inconclusive":
        return [guard for guard in report.deltas if guard.mode == "not_worse" and guard.verdict != "pass"]
    return [guard for guard in report.deltas if guard.role == "guard" and guard.verdict == report.verdict]


def guard_name(row: MetricDelta) -> str:
    """The type of a guard: it forbids a proven loss, or requires non-inferiority."""
    return "guard, must pass" if row.mode == "not_worse" else "guard"


def slice_label(row: MetricDelta) -> str:
    """``all test rows`` or the slice's own name."""
    return "all test rows" if row.slice == "all" else row.slice


def total_trainings(report: AuditReport) -> float:
    """Cost of the whole audit in units of the baseline training."""
    return sum(cost.full_trainings for cost in report.costs)


def plan_sentence(plan: CostPlan) -> str:
    """The planned steps and their expected total cost, for a log or a page."""
    trainings = f"{numbers.plain(plan.trainings_low, 1)} to {numbers.plain(plan.trainings_high, 1)}"
    seconds = f"{numbers.duration(plan.seconds_low)} to {numbers.duration(plan.seconds_high)}"
    condition = "if pruned models take as many epochs as the full model"  # those of few features may take far more
    return f"{plan.text}; in total {trainings} full trainings, about {seconds}, {condition}"


def planned(report: AuditReport) -> str | None:
    """The plan before the selection and the actual cost; None for a report without a plan."""
    plan = report.plan
    if plan is None:
        return None
    came_to = f"{numbers.plain(total_trainings(report), 1)}, {numbers.duration(total_seconds(report))}"
    return f"Plan before the selection: {plan_sentence(plan)}. Actual cost: {came_to}."


def total_seconds(report: AuditReport) -> float:
    """Wall-clock seconds of all stages."""
    return sum(cost.seconds for cost in report.costs)


def bar_widths(values: Sequence[float]) -> list[float]:
    """Bar lengths in percent of the longest one; 0 for values that are not positive numbers."""
    lengths = [value if numbers.known(value) and value > 0 else 0.0 for value in values]
    longest = max(lengths, default=0.0) or 1.0
    return [round(100 * length / longest, 1) for length in lengths]


def sections(report: AuditReport) -> list[tuple[str, str]]:
    """``(anchor, title)`` of the sections with content, in page order."""
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
    """Parts that the audit did not reach."""
    parts = {
        "quality": report.deltas,
        "the K curve": report.curve,
        "decisions": report.decisions,
        "costs": report.costs,
    }
    return [name for name, content in parts.items() if not content]


def extra(columns: Sequence[Any], row: Sequence[Any]) -> str:
    """The columns that a narrow screen hides, as one line below the name."""
    parts = []
    for column, value in zip(columns, row, strict=True):
        number, text = value if isinstance(value, list) else (value, str(value))
        if column.wide and number:
            parts.append(("cost " if column.key == "cost" else "") + text)
    return " · ".join(parts)

"""What the reader sees, as plain values: rows sorted, counted and put in groups. Nothing is estimated here."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from feature_audit.report import numbers
from feature_audit.report.as_json import to_plain
from feature_audit.results import AuditReport, MetricDelta

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
#: Entries of a nested mapping or list that are written out; the rest is in ``report.json``.
MOST_ENTRIES = 20


@dataclass(frozen=True)
class SourceTable:
    """What the decisions mean for one source table.

    ``saved`` is the cost of its dropped features and, where it retires, of the table itself.
    """

    name: str
    kept: int
    dropped: int
    review: int
    saved: float
    held_by: tuple[str, ...]

    @property
    def features(self) -> int:
        """Feature columns that come from the table."""
        return self.kept + self.dropped + self.review

    @property
    def retires(self) -> bool:
        """True if nothing of it is needed any more."""
        return self.dropped == self.features


@dataclass(frozen=True)
class Carrier:
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
    gone = f"{numbers.count(report.n_features - report.k)} of {numbers.counted(report.n_features, 'feature')}"
    return {
        "pass": f"Production can drop {gone}.",
        "fail": f"Keep the full model: {kept} are not enough.",
        "inconclusive": f"Not decided: the evidence does not say whether {kept} are enough.",
        "error": "The audit stopped before a verdict.",
    }[report.verdict]


def sentence(report: AuditReport) -> str:
    """The report's sentence without the verdict in front of it, which the page and the note say anyway."""
    verdict, colon, rest = report.sentence.partition(":")
    if not colon or verdict.strip().lower() != report.verdict:
        return report.sentence
    return prose(rest)


def prose(text: str | None) -> str:
    """A part's own words as a sentence of the page: capital letter, full stop, real minus signs."""
    text = re.sub(r"(?<![\w.])-(?=\d)", numbers.MINUS, (text or "").strip())
    if text and text[-1] not in ".!?":
        text += "."
    return text[:1].upper() + text[1:]


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


def decision_counts(report: AuditReport) -> dict[str, int]:
    """Feature columns per decision, all three keys always present."""
    seen = Counter(row.decision for row in report.decisions)
    return {name: seen[name] for name in ("keep", "drop", "review")}


#: What the two orders of the decision table mean; they may contradict each other.
RANK_AND_SCORE = (
    "Rank is the order in which features are kept: with K features, ranks 1 to K. The selector's elimination decides "
    "it. Score is what the selector thought of a feature before the elimination (log of the expected number of slots "
    "that choose it); the two need not agree, and rank is what counts."
)


def source_tables(report: AuditReport) -> list[SourceTable]:
    """Source tables, those that retire first, then by what their dropped features save, then by size."""
    rows: dict[str, list[Any]] = defaultdict(list)
    for decision in report.decisions:
        if decision.group:
            rows[decision.group].append(decision)
    tables = []
    for name, members in rows.items():
        seen = Counter(row.decision for row in members)
        saved = sum(row.cost for row in members if row.decision == "drop")
        held_by = tuple(row.feature for row in members if row.decision != "drop")
        if not held_by:
            saved += report.table_costs.get(name, 0.0)
        tables.append(SourceTable(name, seen["keep"], seen["drop"], seen["review"], saved, held_by))
    return sorted(tables, key=lambda table: (not table.retires, -table.saved, -table.dropped, table.name))


def saved_cost(report: AuditReport) -> float:
    """Cost of all dropped features and retiring tables, in the user's unit; 0 where no cost was given."""
    alone = sum(row.cost for row in report.decisions if row.decision == "drop" and not row.group)
    return alone + sum(table.saved for table in source_tables(report))


def savings(report: AuditReport) -> str:
    """What can be switched off, in one sentence; empty where no source table is known."""
    tables = source_tables(report)
    if not tables:
        return ""
    retiring = [table for table in tables if table.retires]
    passed = report.verdict == "pass"
    verb = ("retires" if len(retiring) == 1 else "retire") if passed else "would retire"
    names = f" ({', '.join(table.name for table in retiring[:6])}{', …' if len(retiring) > 6 else ''})"
    start = f"{len(retiring)} of {numbers.counted(len(tables), 'source table')} {verb}{names if retiring else ''}"
    everything = saved_cost(report)
    if not everything:
        return f"{start}."
    of_tables = sum(table.saved for table in retiring)
    saving = "saving" if passed else "which would save"
    rest = numbers.total(everything - of_tables)
    if not retiring:
        return f"{start}; single features {'save' if passed else 'would save'} {rest} a year."
    return f"{start}, {saving} {numbers.total(of_tables)} a year; single features save another {rest}."


def carriers(report: AuditReport) -> list[Carrier]:
    """Who carries whom, the largest groups first; excluded duplicates of the findings included."""
    groups: dict[str, dict[str, None]] = defaultdict(dict)
    for decision in report.decisions:
        if decision.carried_by:
            groups[decision.carried_by][decision.feature] = None
    for finding in report.findings:
        if finding.carried_by and finding.column:
            groups[finding.carried_by][finding.column] = None
    found = [Carrier(feature, tuple(carried)) for feature, carried in groups.items()]
    return sorted(found, key=lambda carrier: (-len(carrier.carried), carrier.feature))


def finding_counts(report: AuditReport) -> list[tuple[str, int, int]]:
    """``(kind, findings, of which excluded)``, most frequent first."""
    seen = Counter(finding.kind for finding in report.findings)
    excluded = Counter(finding.kind for finding in report.findings if finding.excluded)
    return [(kind.replace("_", " "), total, excluded[kind]) for kind, total in seen.most_common()]


def evidence(report: AuditReport) -> str | None:
    """Where the interval lies, in words, so that nobody has to know what "non-inferior" means."""
    row = decision_row(report)
    if row is None or row.margin is None or not (numbers.known(row.ci_low) and numbers.known(row.ci_high)):
        return None
    limit = numbers.limit(row.margin)
    start = f"Bar: {numbers.confidence(report.confidence)} interval of the change in {metric_name(row.metric)}."
    meaning = {
        "pass": f"All of it lies above {limit}, the most that was agreed to lose.",
        "fail": f"All of it lies below {limit}: more is lost than was agreed.",
        "inconclusive": f"It contains {limit}: the loss may be smaller or larger than was agreed.",
    }.get(row.verdict or "", "")
    return f"{start} {meaning}".strip()


def overruling(report: AuditReport) -> list[MetricDelta]:
    """Guard rows that share the report's verdict where the decision row has another one: they made the difference."""
    row = decision_row(report)
    if row is None or row.verdict == report.verdict:
        return []
    return [guard for guard in report.deltas if guard.role == "guard" and guard.verdict == report.verdict]


def slice_label(row: MetricDelta) -> str:
    """``all test rows`` or the slice's own name."""
    return "all test rows" if row.slice == "all" else row.slice


def total_trainings(report: AuditReport) -> float:
    """Cost of the whole audit in units of the baseline's own training."""
    return sum(cost.full_trainings for cost in report.costs)


def total_seconds(report: AuditReport) -> float:
    """Wall-clock seconds of all stages."""
    return sum(cost.seconds for cost in report.costs)


def bar_widths(values: Sequence[float]) -> list[float]:
    """Lengths of bars in per cent of the longest; what is not a positive number has none."""
    lengths = [value if numbers.known(value) and value > 0 else 0.0 for value in values]
    longest = max(lengths, default=0.0) or 1.0
    return [round(100 * length / longest, 1) for length in lengths]


def flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """``(dotted key, text)`` of a nested mapping, in its order; one entry per column and the like is only counted."""
    for key, value in mapping.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping) and value:
            if len(value) > MOST_ENTRIES:
                yield name, f"{numbers.count(len(value))} entries, in report.json"
            else:
                yield from flat(value, name)
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            for number, item in enumerate(value[:MOST_ENTRIES], 1):
                yield f"{name}.{number}", value_text(item)
        else:
            yield name, value_text(value)


def value_text(value: Any) -> str:
    """One value for people: counts with separators, floats with six figures, sequences and mappings with commas."""
    value = to_plain(value)
    text = str(value)
    if value is None:
        text = "not set"
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, float) and not value.is_integer():
        text = numbers.significant(value, 6)
    elif isinstance(value, (int, float)):
        text = numbers.count(value) if abs(value) >= 10_000 else f"{value:.0f}".replace("-", numbers.MINUS)
    elif isinstance(value, Mapping):
        text = ", ".join(f"{str(key).replace('_', ' ')} {value_text(item)}" for key, item in value.items())
    elif isinstance(value, list):
        text = ", ".join(value_text(item) for item in value[:MOST_ENTRIES])
        if len(value) > MOST_ENTRIES:
            text += f" and {numbers.count(len(value) - MOST_ENTRIES)} more"
    return text or "none"


def trial_text(value: Any) -> str:
    """One cell of the table of trials: four figures are enough to compare by."""
    if value is None:
        return ""
    return numbers.significant(value, 4) if isinstance(value, float) else value_text(value)


def importances(report: AuditReport) -> list[tuple[str, float]]:
    """Parameters of the search, the most important first, unknown importances last."""
    return sorted(report.importances.items(), key=lambda item: -item[1] if numbers.known(item[1]) else 1.0)


def trial_columns(report: AuditReport) -> tuple[list[str], list[list[Any]]]:
    """The search's trials as a table: number, state and value first, then every parameter that any trial has."""
    rows = []
    for trial in report.trials:
        cells: dict[str, Any] = {}
        for key, value in trial.items():
            if key in ("params", "parameters") and isinstance(value, Mapping):
                cells.update({str(name): item for name, item in value.items()})
            else:
                cells[str(key)] = value
        rows.append(cells)
    names = list(dict.fromkeys(name for cells in rows for name in cells))
    first = [name for name in ("number", "state", "value", "k") if name in names]
    names = first + [name for name in names if name not in first]
    return names, [[cells.get(name) for name in names] for cells in rows]


def sections(report: AuditReport) -> list[tuple[str, str]]:
    """``(anchor, title)`` of the sections that have something to show, in the page's order."""
    everything = [
        ("decision", "Verdict", True),
        ("next", "Next steps", True),
        ("quality", "Quality", bool(report.deltas)),
        ("k-curve", "How many", any(numbers.known(point.delta) for point in report.curve)),
        ("features", "Features", bool(report.decisions)),
        ("redundancy", "Redundancy", bool(carriers(report))),
        ("savings", "Savings", bool(source_tables(report))),
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


def provenance(report: AuditReport) -> list[tuple[str, list[tuple[str, str]]]]:
    """``(title, pairs)``: single values together, then one block per nested mapping (versions, configuration...)."""
    single = {key: value for key, value in report.provenance.items() if not isinstance(value, Mapping)}
    blocks = [("Run", list(flat(single)))] if single else []
    for key, value in report.provenance.items():
        if isinstance(value, Mapping):
            title = str(key).replace("_", " ")
            blocks.append((title[:1].upper() + title[1:], list(flat(value))))
    return blocks


def summary(report: AuditReport) -> list[tuple[str, str]]:
    """The data's key figures in words; ``rows_by_split.train`` reads as ``rows by split, train``."""
    group = report.data_summary.get("group")
    words = {
        "rows": "rows",
        "columns": "columns that may be features",
        "groups": f"units of resampling: values of {group}" if group else "units of resampling",
        "positives_share": "share of positive rows",
        "target_per_split": "label",
        "null_share": "share of missing cells",
    }
    found = []
    for key, value in flat({key: value for key, value in report.data_summary.items() if key != "group"}):
        first, _, rest = key.partition(".")
        name = words.get(first, first.replace("_", " "))
        found.append((name + (", " + rest.replace("_", " ").replace(".", ", ") if rest else ""), value))
    return found


def extra(columns: Sequence[Any], row: Sequence[Any]) -> str:
    """The columns that a narrow screen hides, in one line for below the name."""
    parts = []
    for column, value in zip(columns, row, strict=True):
        number, text = value if isinstance(value, list) else (value, str(value))
        if column.wide and number:
            parts.append(("cost " if column.key == "cost" else "") + text)
    return " · ".join(parts)

"""The report as Markdown: a file for terminals, and the note on MLflow's run page."""

from __future__ import annotations

import re
from collections.abc import Sequence

from feature_audit.metric_names import metric_name
from feature_audit.plurals import counted
from feature_audit.report import actions, history, ladder, markdown_savings, measured, nested, numbers, retirement, view
from feature_audit.report.markdown import code, text
from feature_audit.report.markdown import table as _table
from feature_audit.results import AuditReport, MetricDelta

#: MLflow truncates notes at 8,000 characters, which would break a table.
DESCRIPTION_LIMIT = 7_500
#: Maximum number of rows of the decision table; all are in ``report.json`` and ``selection/ranking.parquet``.
MOST_DECISIONS = 1_000
#: Why a change may differ in sign from the difference of the two columns before it.
SIGNED = (
    "Changes are signed so that + is better, even for metrics such as log loss, where lower is better. "
    + view.CALIBRATION
)
QUALITY = "## Quality: pruned against full model\n\n"


def render_markdown(report: AuditReport) -> str:
    """The complete report in GitHub-flavoured Markdown; all text from the data is escaped."""
    parts = [
        _head(report),
        _facts(report),
        _warnings(report),
        _steps(report),
        _quality(report, report.deltas),
        _curve(report),
        _decisions(report),
        _redundancy(report),
        markdown_savings.section(report),
        _data(report),
        _search(report),
        _cost(report),
        _provenance(report),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def run_description(report: AuditReport, link: str = "") -> str:
    """The note on the run page: the verdict in the first line, then a table; always below ``DESCRIPTION_LIMIT``.

    Parts are added in order of importance while they fit.

    Args:
        report: the audit.
        link: URL of the complete report, or "".
    """
    judged = [row for row in report.deltas if row.margin is not None]
    steps = "\n".join(f"{at}. {_step(step)}" for at, step in enumerate(actions.next_steps(report), 1))
    needed = f"**To decide it:** {text(view.prose(report.needed))}" if report.needed else ""
    opening = f"**{view.VERDICTS[report.verdict]}:** {view.headline(report)} {text(view.sentence(report))}"
    note = _cut(opening, 1_500)
    parts = [
        text(" ".join(view.remarks(report))),
        text(measured.sentence(report)),
        _cut(needed, 1_000),
        _facts(report),
        *(_quality(report, judged[:most], "") for most in (12, 4, 1)),
    ]
    tables = False
    whole = f"Full report: [report/index.html]({link})" if link else "Full report: `report/index.html`"
    for index, part in enumerate([*parts, SIGNED, _ladder(report), _warnings(report), f"**Next**\n\n{steps}", whole]):
        is_quality = 4 <= index <= 6
        if part is SIGNED and not tables:
            continue
        if not part or (is_quality and tables):
            continue
        spaced = _with_blank_lines(part)
        if len(note) + 2 + len(spaced) < DESCRIPTION_LIMIT:
            note += "\n\n" + spaced
            tables = tables or is_quality
    return note


def version_description(report: AuditReport, link: str = "") -> str:
    """The note on the page of a registered version: how to promote it, followed by the note of the run."""
    command = actions.promote_command(report)
    start = (
        f"Promote this version with {code(command)}. Do not use the button **Promote model** on this page: it copies "
        "the version to another registered model, and `feature-audit rollback` cannot undo that. The model was trained "
        "on the train split only."
    )
    note = run_description(report, link)
    return f"{start}\n\n{note}"


def _with_blank_lines(markdown: str) -> str:
    """Add a space that parsers do not trim to each table cell, because MLflow's run page renders cells unpadded."""
    rows = re.compile(r"^\| (?!---).*$", re.MULTILINE)
    return rows.sub(lambda row: re.sub(r" \|(?= |$)", " &emsp;|", row[0]), markdown)


def _cut(value: str, most: int) -> str:
    if len(value) <= most:
        return value
    # Do not cut inside an escape.
    return value[: most - 2].rstrip("\\") + " …"


def _head(report: AuditReport) -> str:
    lines = [
        f"# Feature Audit: {view.VERDICTS[report.verdict]}",
        f"**{view.headline(report)}** {text(view.sentence(report))}",
    ]
    for guard in view.overruling(report):
        lines.append(f"The verdict is due to the guard {text(view.measure(guard))}, {text(view.slice_label(guard))}.")
    if report.verdict == "inconclusive" and report.power and not report.power.can_decide:
        lines.append(text(report.power.sentence))
    lines += map(text, view.remarks(report))
    if measured.sentence(report):
        lines.append(text(measured.sentence(report)))
    if report.needed:
        lines.append(f"**To decide it:** {text(view.prose(report.needed))}")
    return "\n\n".join(lines)


def _power(report: AuditReport) -> str:
    return text(report.power.sentence) if report.power else ""


def _facts(report: AuditReport) -> str:
    rows = []
    passed = report.verdict == "pass"
    if report.k:
        kept = f"{numbers.count(report.k)} of {numbers.count(report.n_features)}"
        rows.append(["Features kept" if passed else "Features tested", kept])
    counts = view.decision_counts(report)
    if report.decisions:
        rows.append(
            ["Decisions", ", ".join(f"{name} {numbers.count(number)}" for name, number in counts.items() if number)]
        )
    share = f" ({report.margin_share} of the full model's gain over a no-skill model)" if report.margin_share else ""
    rows.append(["Metric, margin", f"{text(metric_name(report.metric))}, {numbers.margin(report.margin)}{share}"])
    for row in view.further_targets(report):
        decimals = numbers.decimals_of(row)
        low, high = numbers.signed(row.ci_low, decimals), numbers.signed(row.ci_high, decimals)
        change = f"{numbers.signed(row.delta, decimals)} ({low} to {high}), margin {_margin(row)}: {row.verdict}"
        rows.append([text(view.measure(row)), change])
    rows.append(["Confidence", numbers.confidence(report.confidence) + view.look(report)])
    tables = retirement.source_tables(report)
    if tables:
        retiring = f"{sum(table.retires for table in tables)} of {len(tables)}"
        rows.append(["Tables that can be retired" if passed else "Tables that could be retired", retiring])
    if retirement.saved_cost(report):
        saved = numbers.total(retirement.saved_cost(report))
        rows.append(["Yearly cost saved" if passed else "Yearly cost at stake", saved])
    if report.costs:
        trainings = numbers.plain(view.total_trainings(report), 1)
        rows.append(
            ["Cost of this audit", f"{trainings} full trainings, {numbers.duration(view.total_seconds(report))}"]
        )
    if report.recommendation:
        rows.append(["Recommendation", code(report.recommendation)])
    return _table(["", "Audit"], rows)


def _warnings(report: AuditReport) -> str:
    if not report.warnings:
        return ""
    title = f"**{counted(len(report.warnings), 'warning')}**"
    return "\n".join([title, "", *(f"- {text(warning)}" for warning in report.warnings)])


def _step(step: actions.Step) -> str:
    command = f" {code(step.command)}" if step.command else ""
    return f"**{step.title}.** {text(step.text)}{command}"


def _steps(report: AuditReport) -> str:
    lines = ["## What to do next", ""]
    lines += [f"{at}. {_step(step)}" for at, step in enumerate(actions.next_steps(report), 1)]
    table = markdown_savings.waves(report)
    if table:
        lines += ["", "Order of removal:", "", table]
    return "\n".join(lines)


def _quality(report: AuditReport, deltas: Sequence[MetricDelta], title: str = QUALITY) -> str:
    if not deltas:
        return ""
    rows = []
    for row in deltas:
        decimals = numbers.decimals_of(row)
        low, high = numbers.signed(row.ci_low, decimals), numbers.signed(row.ci_high, decimals)
        rows.append(
            [
                text(view.measure(row)),
                text(view.slice_label(row)),
                numbers.count(row.rows),
                numbers.plain(row.baseline, decimals),
                numbers.plain(row.pruned, decimals),
                numbers.signed(row.delta, decimals),
                f"{low} to {high}",
                _margin(row),
                (f"**{row.verdict}**" if row.role == "decision" else str(row.verdict)) if row.verdict else "",
            ]
        )
    level = numbers.confidence(view.interval_confidence(report))
    head = ["Metric", "Slice", "Rows", "Full", "Pruned", "Change (+ better)", f"{level} interval", "Margin", "Verdict"]
    body = title + _table(head, rows, range(2, 8))
    if title and report.artifact_delta:
        one = report.artifact_delta
        decimals = numbers.decimals_of(one)
        low, high = numbers.signed(one.ci_low, decimals), numbers.signed(one.ci_high, decimals)
        body += (
            "\n\nFor these trained models only (sampling noise of the test rows): "
            f"{numbers.signed(one.delta, decimals)} ({low} to {high}). The verdict is about the feature set over "
            "retrainings."
        )
    return body


def _margin(row: MetricDelta) -> str:
    """The margin of a row and, for a guard, its type."""
    if row.margin is None:
        return ""
    return numbers.margin(row.margin) + (f" ({view.guard_name(row)})" if row.role == "guard" else "")


def _curve(report: AuditReport) -> str:
    if not report.curve:
        return ""
    decimals = max(4, numbers.decimals_for(report.margin))
    rows = [
        [
            f"**{point.k:,}**" if point.k == report.k else f"{point.k:,}",
            numbers.plain(point.metric, decimals),
            numbers.signed(point.delta, decimals),
            numbers.plain(point.std_error, decimals + 1),
            text(point.source),
        ]
        for point in sorted(report.curve, key=lambda point: point.k)
    ]
    full = numbers.plain(report.target_quality, decimals)
    table = _table(["K", "Validation", "Change", "Standard error", "Source"], rows, range(4))
    reason = f"{text(view.prose(report.k_reason))} Full model: {full}."
    return "\n\n".join(
        filter(None, ("## How many features are needed", reason, _ladder(report), table, view.CURVE_ROWS))
    )


def _ladder(report: AuditReport) -> str:
    cells = ladder.cells(report)
    if not cells:
        return ""
    table = _table(ladder.head(report), cells, range(4))
    return f"**Tested K, in this order.** {text(ladder.sentence(report))}\n\n{table}\n\n{ladder.METHOD}"


def _decisions(report: AuditReport) -> str:
    if not report.decisions:
        return ""
    rows = [
        [
            code(row.feature),
            view.decision_of(report, row),
            numbers.count(row.rank),
            numbers.significant(row.score),
            numbers.percent(row.selection_frequency),
            text(row.reason),
            code(row.carried_by) if row.carried_by else "",
            text(row.group or ""),
            numbers.amount(row.cost) if row.cost else "",
        ]
        for row in report.decisions[:MOST_DECISIONS]
    ]
    head = ["Feature", "Decision", "Rank", "Score", "Selected", "Reason", "Carried by", "Table", "Cost"]
    stability = [] if report.stability is None else [f"Nogueira index {numbers.plain(report.stability, 2)}."]
    if report.verdict != "pass":
        stability.insert(0, "These are the decisions that were tested. Without a pass, production keeps every feature.")
    if report.verdict == "pass":
        stability.insert(0, "; ".join(f"{name}: {meaning}" for name, meaning in view.DECISIONS.items()) + ".")
    notes = " ".join([*stability, text(view.prose(report.convergence)), view.RANK_AND_SCORE]).strip()
    left = len(report.decisions) - MOST_DECISIONS
    more = f"\n\n{numbers.count(left)} more features are in `report.json`." if left > 0 else ""
    return "## Keep, drop or review\n\n" + (notes + "\n\n" if notes else "") + _table(head, rows, (2, 3, 4, 8)) + more


def _redundancy(report: AuditReport) -> str:
    found = view.proxies(report)
    if not found:
        return ""
    rows = [[code(one.feature), numbers.count(len(one.carried)), ", ".join(map(code, one.carried))] for one in found]
    return "## Redundancy\n\n" + _table(["Kept feature", "Carries", "Redundant features"], rows, (1,))


def _data(report: AuditReport) -> str:
    parts = []
    if report.data_summary:
        parts.append(_table(["", "Data"], [[text(key), text(value)] for key, value in nested.summary(report)]))
    if report.findings:
        rows = [
            [
                code(one.column) if one.column else "whole table",
                one.kind.replace("_", " "),
                "no" if one.excluded else "yes",
                text(one.detail),
                code(one.carried_by) if one.carried_by else "",
            ]
            for one in report.findings
        ]
        parts.append(_table(["Column", "Finding", "Used as feature", "Detail", "Carried by"], rows))
    return "\n\n".join(["## Data", *parts]) if parts else ""


def _search(report: AuditReport) -> str:
    parts = []
    if report.importances:
        shares = [[text(name), numbers.percent(share)] for name, share in nested.importances(report)]
        parts.append(_table(["Parameter", "Importance"], shares, (1,)))
    elif report.trials:
        parts.append(text(history.no_importances(report)))
    names, rows = nested.trial_columns(report)
    if rows:
        parts.append(text(history.VALUE))
        shown = [[text(nested.trial_text(cell)) for cell in cells] for cells in rows]
        parts.append(_table([text(name) for name in names], shown))
    return "\n\n".join(["## Search", *parts]) if parts else ""


def _cost(report: AuditReport) -> str:
    if not report.costs:
        return ""
    rows = [
        [text(one.stage), numbers.plain(one.full_trainings, 2), numbers.duration(one.seconds), text(one.detail)]
        for one in report.costs
    ]
    total = [numbers.plain(view.total_trainings(report), 2), numbers.duration(view.total_seconds(report))]
    rows.append(["**whole audit**", *total, ""])
    table = _table(["Stage", "Full trainings", "Time", ""], rows, (1, 2))
    return "\n\n".join(filter(None, ["## What this audit cost", view.planned(report), _power(report), table]))


def _provenance(report: AuditReport) -> str:
    blocks = []
    for title, items in nested.provenance(report):
        rows = [[text(key), text(value)] for key, value in items]
        blocks.append(f"### {text(title)}\n\n" + _table(["Key", "Value"], rows))
    return "\n\n".join(["## Provenance", *blocks]) if blocks else ""

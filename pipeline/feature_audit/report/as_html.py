"""The report as one self-contained HTML file that works in MLflow's sandboxed frame."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from feature_audit.plurals import counted
from feature_audit.report import actions, charts, fading, history, ladder, measured, nested, numbers, retirement, view
from feature_audit.report.as_json import to_plain
from feature_audit.results import AuditReport, FeatureDecision

#: Number of table rows that are part of the page itself and visible without JavaScript.
FIRST_PAGE = 50
#: Maximum number of items of a plain list; the others are counted and listed in the decision table.
LISTED = 200
_WRITE: dict[str, Callable[[float | None], str]] = {
    "count": numbers.count,
    "score": numbers.significant,
    "share": numbers.percent,
    "amount": numbers.amount,
    "bytes": numbers.size,
}


@dataclass(frozen=True)
class Column:
    """A column of a searchable table; ``kind`` determines how a cell is formatted and sorted.

    Kinds: ``name`` (with ``extra`` columns repeated below it on narrow screens), ``badge``, ``count``, ``score``,
    ``share``, ``amount``, ``bytes``, ``text``, ``prose``. Columns marked ``wide`` are hidden on narrow screens.
    """

    key: str
    title: str
    kind: str
    wide: bool = False


@dataclass(frozen=True)
class Table:
    """A searchable table: all rows are embedded as JSON, the first page also as HTML."""

    name: str
    caption: str
    hint: str
    columns: list[Column]
    rows: list[list[Any]]
    filters: dict[str, int]

    @property
    def payload(self) -> dict[str, Any]:
        """The data that the script needs."""
        columns = [{"key": column.key, "kind": column.kind, "wide": column.wide} for column in self.columns]
        return {"columns": columns, "rows": self.rows, "noun": self.name}


def render_html(report: AuditReport) -> str:
    """The report as one self-contained HTML document with styles, script, charts and data.

    Data are inserted by autoescaping or as JSON whose ``<``, ``>``, ``&`` and ``'`` are escaped, and the
    script writes text nodes only, so that no column name can become markup.
    """
    row = view.decision_row(report)
    page = _environment().get_template("report.html.j2")
    html = page.render(
        report=report,
        row=row,
        ruler=charts.ruler(report, row) if row else None,
        counts=view.decision_counts(report),
        groups=[(group, charts.forest(group.rows)) for group in view.by_metric(report)],
        curves=charts.k_curves(report),
        dots=charts.frequency_dots(report),
        tables=retirement.source_tables(report),
        proxies=view.proxies(report),
        steps=actions.next_steps(report),
        waves=actions.removal_waves(report),
        decisions=_decision_table(report),
        findings=_finding_table(report),
        trials=nested.trial_columns(report),
        trace=history.trace(report),
        faded=fading.picture(report),
        listed=LISTED,
        first_page=FIRST_PAGE,
    )
    return html.encode("utf-8", "replace").decode("utf-8")


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("feature_audit.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {
        "ensure_ascii": False,
        "allow_nan": False,
        "separators": (",", ":"),
    }
    environment.globals.update(
        ladder=ladder,
        nested=nested,
        numbers=numbers,
        counted=counted,
        retirement=retirement,
        view=view,
        history=history,
        fading=fading,
        measured=measured,
        asset=_asset,
        len=len,
        max=max,
    )
    return environment


def _asset(name: str) -> Markup:
    """A style sheet or script of this package, not escaped because it contains no data."""
    source, _, _ = _environment().loader.get_source(_environment(), name)  # type: ignore[union-attr]
    return Markup(source)


def _decision_table(report: AuditReport) -> Table | None:
    if not report.decisions:
        return None
    with_group = any(row.group for row in report.decisions)
    with_kind = any(row.kind for row in report.decisions)
    with_cost = any(row.cost for row in report.decisions)
    with_bytes = any(row.bytes_per_row for row in report.decisions)
    optional = [
        (with_kind, Column("kind", "Kind", "text", wide=True)),
        (with_group, Column("group", "Source table", "text", wide=True)),
        (with_cost, Column("cost", "Cost", "amount", wide=True)),
        (with_bytes, Column("bytes_per_row", "Bytes", "bytes", wide=True)),
    ]
    columns = [
        Column("feature", "Feature", "name"),
        Column("decision", "Decision", "badge"),
        Column("rank", "Rank", "count"),
        Column("score", "Score", "score"),
        Column("selection_frequency", "Selected", "share"),
        Column("reason", "Reason", "prose"),
        *(column for wanted, column in optional if wanted),
    ]
    rows = [[_cell(column.kind, _value(report, row, column.key)) for column in columns] for row in report.decisions]
    filters = {name: number for name, number in view.decision_counts(report).items() if number}
    return Table("features", "Decision per feature", "name, reason, table", columns, rows, filters)


def _value(report: AuditReport, row: FeatureDecision, key: str) -> Any:
    if key == "reason":
        return _naming(row.reason, row.carried_by)
    return view.decision_of(report, row) if key == "decision" else getattr(row, key)


def _naming(text: str, proxy: str | None) -> str:
    """A reason that includes the proxy, so that the table needs no extra column."""
    return f"{text.rstrip('. ')}; carried by {proxy}" if proxy and proxy not in text else text


def _finding_table(report: AuditReport) -> Table | None:
    if not report.findings:
        return None
    columns = [
        Column("column", "Column", "name"),
        Column("kind", "Finding", "text"),
        Column("excluded", "Excluded", "text"),
        Column("detail", "Detail", "prose"),
    ]
    rows = []
    for finding in report.findings:
        detail = _naming(finding.detail, finding.carried_by)
        kind = finding.kind.replace("_", " ")
        rows.append([finding.column or "(whole table)", kind, "yes" if finding.excluded else "no", detail])
    return Table("findings", "Findings per column", "column, finding, detail", columns, to_plain(rows), {})


def _cell(kind: str, value: Any) -> Any:
    """A cell in the script's format: a text, or a number with its text as ``[value, text]``.

    Values keep six significant digits for sorting; the full values are in ``report.json``.
    """
    value = to_plain(value)
    if kind not in _WRITE:
        return value
    text = _WRITE[kind](value)
    if isinstance(value, float):
        value = float(f"{value:.6g}")
    return value if isinstance(value, int) and str(value) == text else [value, text]

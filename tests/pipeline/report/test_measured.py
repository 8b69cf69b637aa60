"""Savings in words and tables."""

from __future__ import annotations

from dataclasses import replace

from feature_audit.report import (
    actions,
    fading,
    measured,
    render_html,
    render_markdown,
    retirement,
    version_description,
)
from feature_audit.report.numbers import size
from feature_audit.results import AuditReport, FadePoint, Footprint, Readers, Savings, WaveSavings
from report_factory import HOSTILE, make_report


def with_savings(report: AuditReport, *deltas: float, **changes: object) -> AuditReport:
    """Measured figures for the waves of a report; the full model loses ``deltas`` at the end of each."""
    full = Footprint(420, 4_300.0, 9_000.0, 8_400_000, 12_345.0, 2.51, 1_000)
    pruned = replace(full, features=120, bytes_per_row=1_677.0, model_bytes=3_000_000, rows_per_second=28_400.0)
    waves = [
        WaveSavings(wave.title, list(wave.names), wave.saved, 17.0, 0.02) for wave in actions.removal_waves(report)
    ]
    curve = [FadePoint(0, 1.0, 0.77, 0.0)]
    curve += [FadePoint(at, 0.0, 0.77 + delta, delta) for at, delta in enumerate(deltas, 1)]
    savings = Savings(full, replace(pruned, latency_ms=1.2), "statistics of the Parquet files", waves, curve, 50_000)
    return replace(report, savings=replace(savings, **changes))


def plain(text: str) -> str:
    return " ".join(text.split())


def test_the_first_screen_has_one_line_with_this_audits_numbers() -> None:
    report = with_savings(make_report())
    line = "120 of 420 features: 61 % fewer bytes read per row, 2.3 × the scoring speed, weights 64 % smaller."
    assert plain(measured.sentence(report)) == line
    page = plain(render_html(report))
    assert page.index(line) < page.index("</header>")
    assert line in plain(version_description(report))


def test_no_savings_are_claimed_without_a_pass() -> None:
    waiting = with_savings(make_report("inconclusive"))
    assert measured.sentence(waiting).startswith("If the audit passed: 120 of 420")
    assert measured.sentence(with_savings(make_report("fail"))) == ""
    assert "Without a pass, nothing is saved yet." in render_html(waiting)


def test_what_was_not_measured_has_no_row() -> None:
    bare = Footprint(420)
    report = with_savings(make_report(), full=bare, pruned=Footprint(120), bytes_from=None)
    assert [row[0] for row in measured.rows(report)] == ["Features read"]
    assert measured.sentence(report) == ""
    assert measured.notes(report) == ""
    one = with_savings(make_report(), full=replace(bare, model_bytes=10), pruned=Footprint(120, model_bytes=20))
    assert plain(measured.sentence(one)) == "120 of 420 features: weights 100 % larger."


def test_the_cut_is_compared_with_the_retrained_model() -> None:
    lost = with_savings(make_report(), -0.004, -0.031)
    assert "Without retraining, a cut changes AUC by −0.0310" in fading.sentence(lost)
    assert "changes by −0.0004 (test rows). Promote the retrained model first" in fading.sentence(lost)
    assert "within the margin" in fading.sentence(with_savings(make_report(), -0.0001))
    back = fading.sentence(with_savings(make_report(), -0.02, -0.0001))
    assert "changes AUC by −0.0001, and at worst by −0.0200 in between" in back
    assert "Promote the retrained model first" in back
    assert fading.picture(with_savings(make_report())) is None
    picture = fading.picture(lost)
    assert picture is not None
    heights = [up for _, up in picture.marks]
    assert heights == sorted(heights), "SVG counts from the top"
    assert [tick.label for tick in picture.x_ticks] == ["1", "2"]
    assert "1. Table" in render_html(lost)
    for text in (render_html(lost), render_markdown(lost)):
        assert "−0.0310" in text


def test_a_table_stays_for_whoever_reads_it() -> None:
    report = replace(make_report(), table_costs={"legacy_scores": 1_000.0})
    before = retirement.saved_cost(report)
    table = next(one for one in retirement.source_tables(report) if one.name == "legacy_scores")
    assert table.retires
    held = replace(report, readers=Readers({}, {"legacy_scores": ["churn"]}))
    one = next(one for one in retirement.source_tables(held) if one.name == "legacy_scores")
    assert not one.retires
    assert before - retirement.saved_cost(held) == 1_000
    assert "still read by churn" in render_markdown(held)
    row = next(row for row in report.decisions if row.group == "legacy_scores")
    read = replace(report, readers=Readers({row.feature: ["churn", "ads"]}, {}))
    assert before - retirement.saved_cost(read) == 1_000 + row.cost
    last = actions.removal_waves(read)[-1]
    assert (last.names, last.saved) == ((row.feature,), 0)
    assert "churn, ads" in last.text
    names = [name for wave in actions.removal_waves(read) for name in wave.names]
    assert sorted(names) == sorted(one.feature for one in read.decisions if one.decision == "drop")


def test_hostile_consumers_are_text() -> None:
    report = make_report(hostile=True)
    dropped = [row.feature for row in report.decisions if row.decision == "drop"][:20]
    report = with_savings(replace(report, readers=Readers({name: list(HOSTILE) for name in dropped}, {}, HOSTILE[1])))
    page = render_html(report)
    assert "<img src=x" not in page
    assert "</script><script>alert" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in render_markdown(report)


def test_sizes() -> None:
    shown = [plain(size(value)) for value in (0, 0.026_7, 9.994, 312, 999.4, 999.6, 53_020, 8.4e6, 3.2e12)]
    assert shown == ["0 B", "0.0267 B", "9.99 B", "312 B", "999 B", "1.00 kB", "53.0 kB", "8.40 MB", "3,200 GB"]

"""report.md and the run's note: tables stay intact for any names, and the note's size limit."""

import dataclasses
import re

import pytest
from feature_audit.report import render_markdown, run_description
from feature_audit.report.as_markdown import DESCRIPTION_LIMIT, code, text
from feature_audit.results import CurvePoint
from hypothesis import given
from hypothesis import strategies as st
from report_factory import HOSTILE, make_report

VERDICTS = ("pass", "fail", "inconclusive", "error")


def cells(line):
    """A GFM table row's cells: split at pipes that no back-slash escapes."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def tables(markdown):
    """Every table as a list of rows."""
    found, current = [], []
    for line in [*markdown.splitlines(), ""]:
        if line.startswith("| "):
            current.append(cells(line))
        elif current:
            found.append(current)
            current = []
    return found


@pytest.mark.parametrize("verdict", VERDICTS)
def test_every_row_has_as_many_cells_as_its_head(verdict):
    markdown = render_markdown(make_report(verdict, hostile=True))
    assert tables(markdown)
    for table in tables(markdown):
        assert {len(row) for row in table} == {len(table[0])}, table[0]
        assert all(re.fullmatch(r"-{3}:?", cell) for cell in table[1])


def test_all_features_are_listed_with_their_decision():
    report = make_report(n_features=300, k=50)
    table = next(table for table in tables(render_markdown(report)) if table[0][:2] == ["Feature", "Decision"])
    assert [row[0] for row in table[2:]] == [f"`{row.feature}`" for row in report.decisions]
    assert [row[1] for row in table[2:]] == [row.decision for row in report.decisions]


def test_html_is_inert():
    markdown = render_markdown(make_report(hostile=True))
    outside_code = re.sub(r"(`+).*?\1", "", markdown)
    assert not re.search(r"<\s*/?\s*[a-zA-Z!]", outside_code)
    assert not re.search(r"(?<!\\)\]\(", outside_code)


@given(st.text())
def test_text_is_one_line_without_open_markup(value):
    line = text(value)
    assert "\n" not in line
    assert "<" not in line
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`*_\[]", line)


@given(st.text(alphabet=st.sampled_from("a`|\\ \n\t<"), min_size=1))
def test_code_span_closes_and_hides_pipes(value):
    span = code(value)
    assert "\n" not in span
    assert not re.search(r"(?<!\\)\|", span)


@pytest.mark.parametrize("name", [*HOSTILE, "plain", "``", " padded "])
def test_code_renders_as_the_name(name):
    """The oracle is a CommonMark parser with GFM tables, if installed."""
    parser = (
        pytest.importorskip("markdown_it", reason="markdown-it-py is not installed")
        .MarkdownIt("commonmark")
        .enable("table")
    )
    tokens = parser.parse(f"| a |\n| --- |\n| {code(name)} |\n")
    inline = [token for token in tokens if token.type == "inline"][-1]
    shown = "".join(child.content for child in inline.children)
    assert all(child.type in ("code_inline", "text", "text_special") for child in inline.children)
    assert " ".join(shown.split()) == " ".join(name.split())


@pytest.mark.parametrize("verdict", VERDICTS)
def test_description_starts_with_the_verdict(verdict):
    report = make_report(verdict)
    note = run_description(report)
    first = note.splitlines()[0]
    assert first.startswith(f"**{verdict.title()}:** ")
    assert first.lower().count(f"{verdict}:") == 1, "the sentence says it, too"
    assert len(note) < DESCRIPTION_LIMIT
    assert tables(note)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_description_stays_below_the_limit_and_whole(verdict):
    """MLflow refuses or truncates longer notes; parts are omitted so that tables stay intact and the verdict first."""
    report = make_report(verdict, hostile=True)
    guards = (
        [
            dataclasses.replace(report.deltas[0], role="guard", slice=f"country = {'x|' * 300}{i}")
            for i in range(60 if report.deltas else 0)
        ]
        if report.deltas
        else []
    )
    huge = dataclasses.replace(
        report,
        sentence="An extremely long sentence | with pipes. " * 400,
        needed="More rows. " * 2_000,
        warnings=["A *warning* " * 300] * 40,
        deltas=[*report.deltas[:1], *guards],
        curve=[CurvePoint(i, 0.7, 0.0, "masked") for i in range(1, 3_000)],
    )
    note = run_description(huge)
    assert len(note) < DESCRIPTION_LIMIT
    assert note.startswith(f"**{verdict.title()}:** ")
    assert "An extremely long" in note.splitlines()[0]
    for table in tables(note):
        assert {len(row) for row in table} == {len(table[0])}


def test_pass_names_the_commands_and_other_verdicts_do_not():
    assert "feature-audit promote --model_name feature-audit --version 7" in run_description(make_report("pass"))
    assert "feature-audit rollback --model_name feature-audit" in render_markdown(make_report("pass"))
    for verdict in ("fail", "inconclusive", "error"):
        assert "feature-audit promote" not in render_markdown(make_report(verdict))


def test_inconclusive_says_what_would_decide_it():
    report = make_report("inconclusive")
    for markdown in (render_markdown(report), run_description(report)):
        assert "61,000 more test users" in markdown

"""Several tested K: their table, their markers in the chart, and the sentence with the recommendation."""

from __future__ import annotations

import dataclasses
import re

import pytest
from feature_audit.report import (
    ladder_sentence,
    read_json,
    render_html,
    render_json,
    render_markdown,
    run_description,
)
from feature_audit.results import AuditReport
from page import Page
from report_factory import make_report, with_ladder

TITLE = "Tested K, in this order"
LOST = "AUC is 0.0011 worse than the full model's"


def shown(report: AuditReport) -> list[str]:
    """The page's, the file's and the note's text."""
    return [" ".join(text.split()) for text in (Page(render_html(report)).by_id("decision").text,
            render_markdown(report), run_description(report))]  # fmt: skip


@pytest.mark.parametrize(
    ("report", "says", "keeps_quiet"),
    [
        (with_ladder("pass", "pass", "pass"), ["K = 30 is recommended: K = 120, 60 and 30", "all passed"], ["Not tes"]),
        (
            with_ladder("pass", "pass", "inconclusive"),
            ["K = 60 is recommended. K = 30 was tested next and is inconclusive. The", LOST],
            ["Not tested"],
        ),
        (
            with_ladder("pass", "fail"),
            ["K = 120 is recommended. K = 60 was tested next and failed. The", "Not tested: K = 30."],
            ["all pass"],
        ),
        (
            with_ladder("inconclusive"),
            ["K = 120 was tested first and did not pass", "Not tested: K = 60 and 30."],
            ["is recommended"],
        ),
    ],
)
def test_one_sentence_says_what_is_recommended_and_why_the_next_is_not(
    report: AuditReport, says: list[str], keeps_quiet: list[str]
) -> None:
    for text in shown(report):
        for words in says:
            assert words in text.replace("\\", "")
        for words in keeps_quiet:
            assert words not in text
    assert ladder_sentence(report).startswith(says[0])


def test_one_k_alone_needs_no_table() -> None:
    alone = with_ladder("pass", ks=(120,))
    assert ladder_sentence(alone) == ""
    for text in (render_html(alone), render_markdown(alone), run_description(alone)):
        assert TITLE not in text
    without = dataclasses.replace(alone, ladder=[])
    assert render_html(alone) == render_html(without)
    assert render_markdown(alone) == render_markdown(without)


def test_the_table_has_every_k_in_order_and_no_figure_of_what_was_not_tested() -> None:
    page = Page(render_html(with_ladder("pass", "inconclusive")))
    rows = [" ".join(row.text.split()) for row in page.all("tr") if "section" in row.parents]
    place = rows.index("KFeatures droppedChange95 % intervalVerdict")
    assert rows[place + 1 : place + 4] == [
        "120300−0.0004−0.0011 to +0.0003✓ pass",
        "60360−0.0011−0.0029 to +0.0008? inconclusive",
        "30390not tested",
    ]
    markdown = render_markdown(with_ladder("pass", "inconclusive"))
    assert "| 30 | 390 |  |  | not tested |" in markdown
    assert "| 60 | 360 | −0.0011 | −0.0029 to +0.0008 | inconclusive |" in markdown


def test_no_interval_is_rounded_onto_the_margin() -> None:
    report = with_ladder("pass", "inconclusive")
    close = dataclasses.replace(report.ladder[1], ci_low=-0.00200004)
    text = render_markdown(dataclasses.replace(report, ladder=[report.ladder[0], close, report.ladder[2]]))
    assert "−0.00200004 to" in text


@pytest.mark.parametrize(
    ("tested", "signs"),
    [(("pass", "pass", "inconclusive"), "?✓✓"), (("pass", "fail"), "–✕✓"), (("inconclusive",), "––?")],
)
def test_the_curve_marks_every_k_with_its_verdict(tested: tuple, signs: str) -> None:
    curve = re.search(r'<section id="k-curve".*?</section>', render_html(with_ladder(*tested)), re.S)[0]
    for picture in re.findall(r"<svg.*?</svg>", curve, re.S)[:1]:
        marks = re.findall(r'<text x="([\d.]+)"[^>]* class="halo tested[^>]*>(.)</text>', picture)
        assert "".join(sign for _, sign in sorted(marks, key=lambda mark: float(mark[0]))) == signs
    legend = Page(curve).all("ul", class_="legend")[0].text
    for verdict in {*tested, *(["not tested"] if "–" in signs else [])}:
        assert {"pass": "passed", "fail": "failed"}.get(verdict, verdict) in legend


def test_a_k_beyond_the_curve_is_drawn_inside_the_picture() -> None:
    report = with_ladder("pass", "pass", "fail", ks=(400, 2, 1))
    points = [point for point in report.curve if 10 < point.k < 300]
    curve = re.search(
        r'<section id="k-curve".*?</section>', render_html(dataclasses.replace(report, curve=points)), re.S
    )[0]
    assert all(0 <= float(x) <= 480 for x in re.findall(r'<text x="([\d.-]+)"', curve))


def test_json_keeps_the_ladder_and_reads_reports_without_one() -> None:
    report = with_ladder("pass", "inconclusive")
    assert read_json(render_json(report)).ladder == report.ladder
    content = render_json(make_report())
    older = content.replace('"ladder": []', '"older": 0')
    assert older != content
    assert read_json(older.replace(',\n "older": 0', "")).ladder == []

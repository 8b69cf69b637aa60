"""report/index.html: one inert, self-contained, well-formed and accessible file."""

import dataclasses
import html
import itertools
import json
import math
import re
import shlex

import pytest
from feature_audit.report import charts, render_html
from feature_audit.report.actions import promote_command
from feature_audit.results import AuditReport, CurvePoint, FeatureDecision
from hypothesis import given, settings
from hypothesis import strategies as st
from page import Page
from report_factory import HOSTILE, make_report

VERDICTS = ("pass", "fail", "inconclusive", "error")
HEADLINES = {
    "pass": "Production can drop 297 of 420 features now, 3 more after review.",
    "fail": "Keep the full model: 120 of 420 features are not enough.",
    "inconclusive": "The evidence does not show whether 120 of 420 features are enough.",
    "error": "The audit stopped before a verdict.",
}


def squeezed(text):
    return " ".join(text.split())


@pytest.fixture(scope="module", params=VERDICTS)
def any_page(request):
    return Page(render_html(make_report(request.param)))


@pytest.fixture(scope="module")
def hostile_page():
    return Page(render_html(make_report(n_features=1000, k=200, hostile=True)))


def test_verdict_and_sentence_come_first(any_page):
    main = next(index for index, one in enumerate(any_page.elements) if one.tag == "main")
    header = next(one for one in any_page.elements[main:] if one.tag == "header")
    verdict = next(name for name in VERDICTS if name in header.classes)
    report = make_report(verdict)
    heading = any_page.all("h1")
    assert len(heading) == 1
    assert squeezed(heading[0].text) == f"Feature Audit verdict: {verdict.title()}"
    stated = report.sentence.removeprefix(f"{verdict.title()}: ")
    assert stated[1:] in squeezed(header.text)
    assert HEADLINES[verdict] in squeezed(header.text)


def test_verdicts_differ_by_word_symbol_and_colour():
    """Three channels each, so that pass and fail can be distinguished without colours."""
    shapes, words = set(), set()
    for verdict in VERDICTS:
        markup = render_html(make_report(verdict))
        shapes.add(re.search(r'<h1><svg class="symbol-\w+".*?>(.*?)</svg>', markup, re.S)[1])
        words.add(squeezed(Page(markup).all("h1")[0].text))
    assert len(shapes) == len(words) == 4
    style = Page(render_html(make_report())).all("style")[0].text
    assert {f".hero.{name} {{ --tone: var(--{name}); }}" in style for name in VERDICTS} == {True}
    for scheme in (style.split("@media")[0], style.split("prefers-color-scheme: dark")[1]):
        colours = [re.search(rf"--{name}: (#\w+);", scheme)[1] for name in VERDICTS]
        assert len(set(colours)) == 4


def test_inconclusive_says_what_would_decide_it():
    page = Page(render_html(make_report("inconclusive")))
    assert "61,000 more test users" in page.all("div", class_="needed")[0].text
    without = Page(render_html(make_report("inconclusive", needed=None)))
    assert "narrow the interval" in without.all("div", class_="needed")[0].text


def test_only_a_pass_offers_promotion_and_a_removal_plan():
    for verdict in VERDICTS:
        text = Page(render_html(make_report(verdict))).by_id("next").text
        assert ("feature-audit promote --model_name feature-audit --version 7" in text) == (verdict == "pass")
        assert ("feature-audit rollback --model_name feature-audit" in text) == (verdict == "pass")
        assert ("Order of removal" in text) == (verdict == "pass")


def test_promote_command_is_quoted_for_the_shell():
    command = promote_command(make_report(recommendation="models:/my model; rm -rf $HOME/3"))
    assert shlex.split(command) == [
        "feature-audit",
        "promote",
        "--model_name",
        "my model; rm -rf $HOME",
        "--version",
        "3",
    ]


def test_a_pass_that_is_not_registered_offers_no_promotion_of_another_audits_version():
    report = make_report("pass", recommendation=None)
    assert promote_command(report) is None
    text = Page(render_html(report)).by_id("next").text
    assert "feature-audit promote" not in text
    assert f"feature-audit parity --audit {report.provenance['run_id']}" in text


def test_self_contained(any_page):
    """Nothing is fetched, stored, opened or submitted: the frame forbids it and the reviewer may be offline."""
    for one in any_page.elements:
        for name, value in one.attributes.items():
            assert not name.startswith("on"), (one.tag, name)
            if name in ("src", "href", "action", "data", "srcset", "xlink:href", "poster"):
                assert name == "href", (one.tag, name)
                assert value.startswith("#"), value
    assert not {one.tag for one in any_page.elements} & {"link", "iframe", "object", "embed", "form", "img", "base"}
    script = "".join(one.text for one in any_page.all("script") if not one.attributes.get("type"))
    for forbidden in ("fetch(", "XMLHttpRequest", "import(", "localStorage", "sessionStorage", "cookie", "innerHTML",
                      "insertAdjacentHTML", "document.write", "eval(", "window.open", "http:", "https:"):  # fmt: skip
        assert forbidden not in script, forbidden
    style = any_page.all("style")[0].text
    assert "@import" not in style
    assert "url(" not in style.replace("url(#", "")


def test_links_lead_somewhere(any_page):
    ids = [one.attributes["id"] for one in any_page.elements if one.attributes.get("id")]
    assert len(ids) == len(set(ids))
    for one in any_page.elements:
        for name in ("href", "aria-labelledby", "aria-controls", "data-rows"):
            target = one.attributes.get(name)
            if target:
                assert target.removeprefix("#") in ids, (one.tag, name, target)


def test_landmarks_and_tables_are_labelled(any_page):
    assert [len(any_page.all(tag)) for tag in ("main", "nav", "h1")] == [1, 1, 1]
    assert any_page.all("html")[0].attributes["lang"] == "en"
    assert any_page.all("nav")[0].attributes["aria-label"]
    for section in any_page.all("section"):
        assert section.attributes["aria-labelledby"]
    captions = any_page.all("caption")
    assert len(captions) == len(any_page.all("table"))
    for head in any_page.all("th"):
        assert head.attributes.get("scope") in ("col", "row", "rowgroup"), head
    for picture in any_page.all("svg"):
        named = picture.attributes.get("role") == "img" and picture.attributes.get("aria-labelledby")
        assert named or picture.attributes.get("aria-hidden") == "true"
    for tag in ("input", "select"):
        for control in any_page.all(tag):
            assert "label" in control.parents


def test_headings_never_skip_a_level(any_page):
    levels = [int(one.tag[1]) for one in any_page.elements if re.fullmatch("h[1-6]", one.tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text_and_complete(hostile_page, name):
    """Each name is shown literally where it is listed, never as markup."""
    shown = {one.text for one in hostile_page.all("bdi")}
    rows = hostile_page.rows("features-rows")["rows"]
    assert name in {row[0] for row in rows}
    assert name in shown or any(row[0] == name for row in rows[50:])


def test_hostile_page_has_the_same_elements_as_a_tame_one(hostile_page):
    tame = Page(render_html(make_report(n_features=1000, k=200)))
    kinds = ("script", "style", "svg", "img", "main", "section", "input", "select", "button")
    assert [len(hostile_page.all(kind)) for kind in kinds] == [len(tame.all(kind)) for kind in kinds]


@settings(max_examples=15)
@given(st.text(min_size=1), st.text())
def test_any_name_anywhere_stays_inert(name, other):
    """The same text in every field from the data neither adds an element nor is lost."""
    report = make_report(
        n_features=60,
        k=20,
        sentence=other,
        k_reason=other,
        convergence=other,
        warnings=[name],
        provenance={name: {other: name}},
        data_summary={name: other},
        trials=[{name: other}],
        importances={name: 0.5},
    )
    decisions = [
        dataclasses.replace(row, feature=name, reason=other, carried_by=name, group=name) for row in report.decisions
    ]
    page = Page(render_html(dataclasses.replace(report, decisions=decisions)))
    tame = Page(render_html(make_report(n_features=60, k=20)))
    for kind in ("script", "style", "img", "iframe", "form", "input", "main"):
        assert len(page.all(kind)) == len(tame.all(kind))
    assert {row[0] for row in page.rows("features-rows")["rows"]} == {name}


def test_json_in_the_page_cannot_close_its_script():
    markup = render_html(make_report(hostile=True))
    blocks = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', markup, re.S)
    assert len(blocks) == 2
    for block in blocks:
        assert "<" not in block
        json.loads(block)


def test_first_page_stands_in_the_html_and_all_rows_in_the_json(hostile_page):
    report = make_report(n_features=1000, k=200, hostile=True)
    assert [row[0] for row in hostile_page.rows("features-rows")["rows"]] == [row.feature for row in report.decisions]
    shown = [
        one.text
        for one in hostile_page.all("bdi", class_="feature")
        if one.parents[-1] == "th" and "tbody" in one.parents
    ]
    assert shown[:4] == [row.feature for row in report.decisions[:4]] or report.decisions[0].feature in shown


def test_numbers_in_the_page_are_those_of_the_report():
    report = make_report("fail")
    text = squeezed(html.unescape(render_html(report)))
    for expected in ("−0.0087", "−0.0104", "−0.0070", "0.7712", "0.7625", "240,866 rows, 24,118 units", "0.7718"):
        assert expected in text, expected
    page = Page(render_html(report))
    points = [one for one in page.by_id("k-curve").text.split("\n") if "retrained" in one or "masked" in one]
    assert len(points) >= len(report.curve)


def test_a_margin_of_zero_has_no_sign():
    report = make_report("inconclusive", margin=0.0)
    deltas = [dataclasses.replace(row, margin=0.0 if row.margin else None) for row in report.deltas]
    page = Page(render_html(dataclasses.replace(report, deltas=deltas)))
    text = squeezed(page.by_id("decision").text)
    assert "margin 0 0, no change" in text
    assert "It contains 0, so" in text


def test_guard_that_overrules_is_named():
    report = dataclasses.replace(make_report("pass"), verdict="fail")
    deltas = [dataclasses.replace(row, verdict="fail") if row.metric == "logloss" else row for row in report.deltas]
    page = Page(render_html(dataclasses.replace(report, deltas=deltas)))
    assert "because of the guard log loss, all test rows" in squeezed(page.by_id("decision").text)


def test_a_thousand_features_weigh_less_than_a_megabyte():
    assert len(render_html(make_report(n_features=1000, k=200, hostile=True)).encode()) < 1_000_000


@pytest.mark.slow
def test_ten_thousand_features_are_paged_not_printed():
    page = Page(render_html(make_report(n_features=10_000, k=300)))
    assert len(page.rows("features-rows")["rows"]) == 10_000
    assert len(page.all("tr")) < 400


def test_an_empty_report_renders():
    empty = AuditReport(
        verdict="error", sentence="data=x: no such file", metric="auc", margin=0.0, confidence=0.95, k=0, n_features=0,
        n_columns=0, deltas=[], artifact_delta=None, curve=[], target_quality=math.nan, k_reason="", decisions=[],
        findings=[], costs=[], provenance={},
    )  # fmt: skip
    page = Page(render_html(empty))
    assert {one.attributes["id"] for one in page.all("section")} == {"next", "provenance"}
    assert "Not in this report" in page.by_id("provenance").text


@pytest.mark.parametrize("metric", [math.nan, math.inf])
def test_unknown_numbers_are_shown_as_not_available(metric):
    report = make_report()
    decisions = [dataclasses.replace(row, score=metric, selection_frequency=metric) for row in report.decisions]
    curve = [*report.curve, CurvePoint(3, metric, metric, "masked", metric)]
    page = Page(render_html(dataclasses.replace(report, decisions=decisions, curve=curve, stability=metric)))
    visible = re.sub(r"<(style|script).*?</\1>", "", page.html, flags=re.S)
    assert not re.search(r">\s*[−-]?(nan|inf)\b", visible, re.I)
    assert "n/a" in visible


@pytest.mark.parametrize(
    "points",
    [
        [CurvePoint(5, 0.7, 0.0, "masked")],
        [CurvePoint(5, 0.7, 0.0, "masked"), CurvePoint(5, 0.7, 0.0, "retrained")],
        [CurvePoint(k, 0.7, 0.0, "masked") for k in range(190, 211)],
        [CurvePoint(k, 0.7 - 1 / k, -1 / k, "somewhere else", math.nan) for k in (1, 10, 100_000)],
    ],
)
def test_odd_curves_are_drawn_inside_the_picture(points):
    markup = render_html(make_report(curve=points, k=points[0].k, target_quality=0.7))
    chart = re.search(r'<section id="k-curve".*?</section>', markup, re.S)[0]
    numbers = [float(value) for value in re.findall(r'c[xy]="([\d.-]+)"', chart)]
    assert all(math.isfinite(value) and 0 <= value <= 480 for value in numbers)
    assert "nan" not in chart.lower()


def test_a_table_retires_only_without_keeps_and_reviews():
    def feature(name, decision, group):
        return FeatureDecision(name, 1, 1.0, 1.0, decision, "signal", group=group, cost=2.0)

    decisions = [feature("a", "keep", "stays"), feature("b", "drop", "stays"), feature("c", "drop", "goes")]
    decisions += [feature("d", "review", "waits"), feature("e", "drop", "waits")]
    page = Page(render_html(make_report(decisions=decisions)))
    rows = [squeezed(row.text) for row in page.all("tr") if "section" in row.parents]
    for expected in ("goes10012 can be retired", "stays21012 still needed for a", "waits20112 still needed for d"):
        assert expected in rows


def contrast(first, second):
    """WCAG 2 contrast ratio of two ``#rrggbb`` colours."""

    def luminance(colour):
        channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_colours_have_enough_contrast(scheme):
    style = Page(render_html(make_report())).all("style")[0].text
    block = style.split("@media")[0] if scheme == "light" else style.split("prefers-color-scheme: dark")[1]
    colour = dict(reversed(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block.split("}")[0])))
    text = ("ink", "quiet", "accent", "pass", "fail", "inconclusive", "error", "keep", "review", "drop")
    for name in text:
        for ground in ("page", "panel"):
            assert contrast(colour[name], colour[ground]) >= 4.5, (name, ground)
    for zone in ("good-zone", "bad-zone"):
        for name in ("ink", "quiet"):
            assert contrast(colour[name], colour[zone]) >= 4.5, (name, zone)


def test_the_curve_shows_losses_below_the_full_model_where_lower_values_are_better():
    """A log loss above the full model's is a loss: its point lies under the line of the full model."""
    points = [CurvePoint(5, 0.33, -0.01, "retrained"), CurvePoint(9, 0.31, 0.01, "retrained")]
    report = make_report(curve=points, k=9, target_quality=0.32, margin=0.002)
    [chart] = charts.k_curves(report)
    worse, better = chart.series[0].marks
    assert worse.y > chart.limit.at > chart.target.at > better.y
    assert (chart.target.label, chart.limit.label) == ("0.3200", "−0.002")
    row = next(line for line in Page(render_html(report)).by_id("k-curve").text.split("\n") if "0.3300" in line)
    assert "−0.0100" in row

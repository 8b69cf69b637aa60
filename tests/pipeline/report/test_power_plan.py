"""The plan of the trainings: on the first screen if they cannot decide, else with the costs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from feature_audit.report import read_json, render_html, render_json, render_markdown
from feature_audit.results import PowerPlan
from report_factory import make_report

PLAN = PowerPlan(2, 2, 0.0, 0.3, 0.006, 0.0007, 0.001, "The smallest margin that these trainings can decide is 0.006.")


@pytest.mark.parametrize(("chance", "first"), [(0.3, True), (0.79, True), (0.8, False), (0.95, False)])
def test_the_first_screen_says_it_only_where_the_table_cannot_decide(chance: float, first: bool) -> None:
    report = make_report("inconclusive", power=replace(PLAN, chance=chance))
    page, text = render_html(report), render_markdown(report)
    assert (PLAN.sentence in page.split("</header>")[0]) is first
    assert PLAN.sentence in page.split("</header>", 1)[1], "among the costs in any case"
    assert text.count(PLAN.sentence) == 1 + first
    assert read_json(render_json(report)).power == report.power


@pytest.mark.parametrize("verdict", ["pass", "fail"])
def test_a_table_that_decided_needs_no_remedy_on_the_first_screen(verdict: str) -> None:
    report = make_report(verdict, power=PLAN)
    assert PLAN.sentence not in render_html(report).split("</header>")[0]
    assert render_markdown(report).count(PLAN.sentence) == 1


def test_a_report_without_a_plan_says_nothing() -> None:
    report = make_report("pass")
    assert report.power is None
    assert "None" not in render_html(report).split("</header>")[0]
    assert read_json(render_json(report)).power is None

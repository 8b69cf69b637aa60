"""The search in the report: its history, the K curve, and importances or the reason for their absence."""

import re

import pytest
from feature_audit.report import history, render_html, render_markdown
from report_factory import make_report


def trials(*values, state="complete"):
    return [{"number": place, "state": state, "value": value, "speed": 1.0} for place, value in enumerate(values)]


def section(report, name):
    return re.search(rf'<section id="{name}".*?</section>', render_html(report), re.S)[0]


def test_the_history_shows_every_trial_and_the_best_so_far():
    rows = trials(-0.03, -0.01, -0.02, -0.005)
    rows[2:2] = [{"number": 9, "state": "fail", "value": None}, {"number": 10, "state": "pruned", "value": 5.0}]
    trace = history.trace(make_report(trials=rows))
    assert len(trace.marks) == 4
    assert len(trace.lost) == 2, "a trial that was stopped early has no value, whatever its last step was worth"
    assert [tick.label for tick in trace.x_ticks] == ["0", "1", "9", "10", "2", "3"]
    stairs = [tuple(map(float, point.split(","))) for point in trace.best.split()]
    heights = [up for _, up in stairs]
    assert heights == sorted(heights, reverse=True), "the best never gets worse (up is a smaller y)"
    assert heights[-1] == pytest.approx(min(y for _, y in trace.marks), abs=0.06)
    frame = trace.frame
    for x, y in [*trace.marks, *stairs]:
        assert frame.left <= x <= frame.right
        assert frame.top <= y <= frame.bottom
    markup = section(make_report(trials=rows), "search")
    assert 'aria-labelledby="trace-title"' in markup
    assert "stopped early or interrupted" in markup
    assert history.VALUE in markup


@pytest.mark.parametrize("rows", [[], trials(0.1), trials(0.1, None), trials(0.1, 0.2, state="pruned")])
def test_nothing_is_drawn_where_there_is_nothing_to_compare(rows):
    report = make_report(trials=rows)
    assert history.trace(report) is None
    assert "trace-title" not in render_html(report)


def test_equal_values_and_many_trials_fit():
    trace = history.trace(make_report(trials=trials(*[0.5] * 100)))
    assert len(trace.marks) == 100
    assert len(trace.x_ticks) <= 12


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (trials(0.1), "need at least 8 finished trials; there is 1."),
        (trials(0.1, 0.2, None), "need at least 8 finished trials; there are 2."),
        (trials(*[0.1] * 8), "every setting of the search was fixed"),
    ],
)
def test_absent_importances_are_explained_on_the_page_and_in_its_twin(rows, says):
    report = make_report(trials=rows, importances={})
    assert says in history.no_importances(report)
    assert says in section(report, "search")
    assert says in render_markdown(report)
    assert "<h3>Importance of search parameters" not in render_html(report)


def test_importances_need_no_explanation():
    assert history.no_importances(make_report()) == ""
    assert history.no_importances(make_report(trials=[], importances={})) == ""
    assert "<h3>Importance of search parameters" in section(make_report(), "search")


def test_the_k_curve_has_both_sources_error_bars_margin_and_chosen_k():
    report = make_report()
    markup = section(report, "k-curve")
    for mark in ('class="mark masked"', 'class="mark retrained"', 'class="line masked"', 'class="line retrained"'):
        assert mark in markup
    retrained = re.findall(r'<g class="mark retrained">.*?</g>', markup, re.S)
    assert all('class="whisker"' in mark for mark in retrained)
    assert f"verdict: K = {report.k}" in markup
    assert "lowest acceptable" in markup
    assert "one standard error of the difference from the full model" in markup

"""The advice of an inconclusive report, and the remarks about looks in every report."""

from __future__ import annotations

import html

import pytest
from feature_audit.report import more_command, read_json, render_html, render_json, render_markdown, run_description
from feature_audit.results import AuditReport, MoreTrainings
from report_factory import make_report

MORE = MoreTrainings(seeds=9, baseline_seeds=3, seconds=720.0, confidence=0.9975)


def pages(report: AuditReport) -> list[str]:
    """All texts of a report, with plain spaces."""
    texts = [html.unescape(render_html(report)), render_markdown(report), run_description(report)]
    return [text.replace("\N{NARROW NO-BREAK SPACE}", " ") for text in texts]


def test_an_inconclusive_report_prints_the_command_and_its_minutes() -> None:
    report = make_report("inconclusive", more=MORE)
    command = f"feature-audit parity --audit {report.provenance['run_id']} --seeds 9 --baseline_seeds 3"
    assert more_command(report) == command
    for page in pages(report):
        assert command in page
        assert "about 12 min" in page
        assert "judged at 99.75 %" in page


def test_a_number_of_full_trainings_that_is_given_anyway_is_not_repeated() -> None:
    report = make_report("inconclusive", more=MORE)
    config = {**report.provenance["config"], "baseline_seeds": 3}
    report = make_report("inconclusive", more=MORE, provenance={**report.provenance, "config": config})
    assert str(more_command(report)).endswith("--seeds 9")


def test_the_command_names_the_code_that_a_continued_audit_asks_for() -> None:
    report = make_report("inconclusive", more=MORE)
    config = {**report.provenance["config"], "model": "team.models:build", "prepare": "my table:f"}
    report = make_report("inconclusive", more=MORE, provenance={**report.provenance, "config": config})
    assert " --prepare 'my table:f' --model team.models:build --seeds 9" in str(more_command(report))


def test_no_command_is_printed_if_trainings_cannot_decide() -> None:
    report = make_report("inconclusive")
    assert more_command(report) is None
    for page in pages(report):
        assert "audit again when the log has grown" in page
        assert "--seeds" not in page


@pytest.mark.parametrize("verdict", ["pass", "fail", "error"])
def test_other_verdicts_ask_for_no_trainings(verdict: str) -> None:
    assert more_command(make_report(verdict, more=MORE)) is None  # type: ignore[arg-type]


def test_a_later_look_says_both_confidences_and_labels_its_intervals_with_its_own() -> None:
    report = make_report("inconclusive", look=3, judged_at=0.99875, more=MORE)
    for page in pages(report):
        assert "95 %" in page
        assert "this is look 3 at these test rows, judged at 99.875 %" in page
        assert "99.875 % interval" in page
        assert "95 % interval" not in page
    for page in pages(make_report("inconclusive")):
        assert "95 % interval" in page
        assert "look 1" not in page


def test_json_holds_looks_and_trainings() -> None:
    report = make_report("inconclusive", look=3, judged_at=0.99875, more=MORE)
    read = read_json(render_json(report))
    assert (read.look, read.judged_at, read.more) == (3, 0.99875, MORE)
    assert read_json(render_json(make_report("pass"))).more is None

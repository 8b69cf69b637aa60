"""HTML, Markdown and JSON of a finished audit: takes plain data, returns text, and computes no statistics."""

from feature_audit.report.actions import READ_BY_OTHERS, more_command, promote_command, removal_waves
from feature_audit.report.as_html import render_html
from feature_audit.report.as_json import read_json, render_json
from feature_audit.report.as_markdown import render_markdown, run_description, version_description
from feature_audit.report.ladder import sentence as ladder_sentence
from feature_audit.report.markdown import text as escape
from feature_audit.report.numbers import duration
from feature_audit.report.view import plan_sentence
from feature_audit.report.view import sentence as verdict_sentence

__all__ = [
    "READ_BY_OTHERS",
    "duration",
    "escape",
    "ladder_sentence",
    "more_command",
    "plan_sentence",
    "promote_command",
    "read_json",
    "removal_waves",
    "render_html",
    "render_json",
    "render_markdown",
    "run_description",
    "verdict_sentence",
    "version_description",
]

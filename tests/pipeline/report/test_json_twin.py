"""report.json: stable keys, full precision, no NaN, and back again."""

import dataclasses
import json
import math
from importlib import resources

import jsonschema
import numpy as np
import pytest
from feature_audit.report import read_json, render_json
from feature_audit.report.as_json import to_plain
from feature_audit.results import AuditReport
from hypothesis import given
from hypothesis import strategies as st
from report_factory import make_report

VERDICTS = ("pass", "fail", "inconclusive", "error")


def _strict(text):
    """Refuse NaN and Infinity, like all readers except Python's."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


@pytest.mark.parametrize("verdict", VERDICTS)
def test_keys_are_the_reports_attributes_in_order(verdict):
    content = _strict(render_json(make_report(verdict)))
    assert list(content) == ["schema_version", *(field.name for field in dataclasses.fields(AuditReport))]


@pytest.mark.parametrize("verdict", VERDICTS)
def test_round_trip_is_exact(verdict):
    report = make_report(verdict, hostile=True)
    back = read_json(render_json(report))
    assert render_json(back) == render_json(report)
    assert back.decisions == report.decisions
    assert back.curve == report.curve
    assert back.costs == report.costs
    assert back.findings == report.findings
    # NaN is not equal to itself, so rows that hold it are compared by their text.
    assert repr(back.deltas) == repr(report.deltas)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_every_report_follows_the_schema_in_the_package(verdict):
    schema = json.loads(resources.files("feature_audit").joinpath("schemas/report.schema.json").read_text("utf-8"))
    content = _strict(render_json(make_report(verdict, hostile=True)))
    jsonschema.validate(content, schema)
    del content["deltas"]
    with pytest.raises(jsonschema.ValidationError, match="'deltas' is a required property"):
        jsonschema.validate(content, schema)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_keep_all_digits(value):
    assert _strict(render_json(make_report("error", margin=value)))["margin"] == value


def test_numpy_paths_and_sets_become_plain():
    plain = to_plain(
        {"a": np.float64("nan"), "b": np.int64(3), "c": np.array([1.5, np.inf]), "d": {"y", "x"}, 5: (True, None)}
    )
    assert plain == {"a": None, "b": 3, "c": [1.5, None], "d": ["x", "y"], "5": [True, None]}


def test_unknown_numbers_come_back_as_nan():
    back = read_json(render_json(make_report("error")))
    assert math.isnan(back.target_quality)


def test_another_schema_version_is_refused():
    text = render_json(make_report()).replace('"schema_version": 1', '"schema_version": 99')
    with pytest.raises(ValueError, match="schema_version=99"):
        read_json(text)

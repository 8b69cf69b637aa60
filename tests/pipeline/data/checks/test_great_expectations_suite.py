"""The GX suite: what it accepts, what it reports and what it refuses."""

from __future__ import annotations

import json

import polars as pl
import pytest
from data_helpers import every_kind, prepared_of
from feature_audit.config.sections import ChecksConfig
from feature_audit.data.checks.great_expectations_suite import validate
from feature_audit.errors import AuditError


def profiles(column: dict | None = None, table: dict | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    good = {
        "column": "x", "kind": "numeric", "usable": True, "null_share_train": 0.1, "null_share_validation": 0.1,
        "null_share_test": 0.1, "null_share_gap": 0.0, "distinct": 40, "distinct_share": 0.1, "drift_auc": 0.5,
    }  # fmt: skip
    other = {**good, "column": "z", **(column or {})}
    facts = {
        "label_nulls": 0, "label_values": 2, "usable_features": 2, "excluded_share": 0.0, "rarest_class_share": 0.3,
        "time_disorder": 0, "leaks": 0, "suspected_leaks": 0, "rows_train": 900, "rows_validation": 100,
        "rows_test": 200, "label_values_train": 2, "label_values_validation": 2, "label_values_test": 2,
    }  # fmt: skip
    return pl.DataFrame([good, other]), pl.DataFrame([{**facts, **(table or {})}])


def judged(column: dict | None = None, table: dict | None = None, task: str = "binary") -> dict:
    return validate(*profiles(column, table), ChecksConfig(), task)


def test_good_profiles_pass_and_are_json():
    result = judged()
    assert result["passed"]
    assert result["failures"] == []
    json.dumps(result)
    assert result["statistics"]["table"]["unsuccessful_expectations"] == 0


@pytest.mark.parametrize(
    ("column", "severity", "measure"),
    [
        ({"null_share_train": 1.0}, "warning", "null_share_train"),
        ({"null_share_gap": 0.5}, "warning", "null_share_gap"),
        ({"drift_auc": 0.9}, "warning", "drift_auc"),
        ({"distinct_share": 1.0, "kind": "categorical"}, "info", "distinct_share"),
        ({"column": "x"}, "critical", "column"),
    ],
)
def test_column_remarks_name_the_column(column, severity, measure):
    result = judged(column)
    (failure,) = result["failures"]
    assert (failure["severity"], failure["measure"]) == (severity, measure)
    assert column.get("column", "z") in failure["columns"]
    assert result["passed"] == (severity != "critical")


def test_excluded_columns_are_not_judged():
    assert judged({"null_share_train": 1.0, "usable": False})["failures"] == []


@pytest.mark.parametrize(
    "table",
    [
        {"label_nulls": 3}, {"label_values": 1}, {"label_values": 3}, {"usable_features": 0}, {"time_disorder": 5},
        {"rows_test": 3}, {"label_values_test": 1},
    ],
)  # fmt: skip
def test_critical_facts_stop(table):
    result = judged(table=table)
    assert not result["passed"]
    assert result["failures"][0]["severity"] == "critical"
    assert result["failures"][0]["measure"] == next(iter(table))


def test_regression_labels_may_have_many_values():
    assert judged(table={"label_values": 1_000}, task="regression")["passed"]


def test_a_critical_failure_ends_the_audit_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("feature_audit.data.checks.profile._disorder", lambda time, split: 7)
    with pytest.raises(
        AuditError, match=r"expected: train is before validation.*; found: time_disorder is 7"
    ) as caught:
        prepared_of(every_kind(), tmp_path, time="at")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "store" / "prepared.json").exists()


def test_the_result_is_stored_with_the_preparation(tmp_path):
    made, _ = prepared_of(every_kind(), tmp_path, time="at")
    assert made.validation["passed"]
    assert made.validation["statistics"]["columns"]["evaluated_expectations"] > 3

"""The warnings of the report."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from feature_audit.config import AuditConfig
from feature_audit.findings import Finding
from feature_audit.noninferiority import metric as find_metric
from feature_audit.noninferiority.chance import Chance
from feature_audit.noninferiority.references import Reference
from feature_audit.orchestration.report_data import below_half, data_warnings, fallen, too_good
from feature_audit.results import MetricDelta
from feature_audit.schema import Task
from feature_audit.stages.parity import guards_of


@pytest.mark.parametrize(
    ("metric", "value", "warned"),
    [("auc", 0.995, True), ("gauc", 0.99, True), ("r2", 0.999, True), ("auc", 0.93, False), ("accuracy", 0.995, False)],
)
def test_a_model_too_good_to_be_true_is_named_with_its_first_features(metric: str, value: float, warned: bool) -> None:
    found = too_good(quality(metric, value), AuditConfig().checks.leak_auc, ["arrival", "planned_arrival"])
    assert bool(found) is warned
    if warned:
        assert f"{value:.4f}" in found[0]
        assert "arrival, planned_arrival" in found[0]
        assert "exclude" in found[0]


def quality(metric: str, value: float, *, higher_is_better: bool = True) -> Chance:
    return Chance(metric, value, value - 0.01, value + 0.01, 0.0, higher_is_better)


@pytest.mark.parametrize(
    ("metric", "higher", "validation", "test", "warned"),
    [
        ("r2", True, 0.75, 0.46, True),
        ("r2", True, 0.75, 0.735, False),
        ("r2", True, 0.46, 0.75, False),
        ("logloss", False, 0.60, 0.70, True),
        ("logloss", False, 0.70, 0.60, False),
    ],
)
def test_a_full_model_that_is_worse_on_later_rows_is_a_warning(
    metric: str, higher: bool, validation: float, test: float, warned: bool
) -> None:
    findings = [Finding("price", "drift", "drift: ..."), Finding("city", "high_null", "missing in ...")]
    test_rows = asdict(quality(metric, test, higher_is_better=higher))
    found = fallen(quality(metric, validation, higher_is_better=higher), test_rows, findings)
    assert bool(found) is warned
    if warned:
        assert f"{metric} is {validation:.4f} on validation and {test:.4f} on the test rows" in found[0]
        assert found[0].endswith("Columns that drift: price.")
        assert (
            "Columns that drift" not in fallen(quality(metric, validation, higher_is_better=higher), test_rows, [])[0]
        )


@pytest.mark.parametrize(
    ("task", "metric", "full", "boosting", "warned"),
    [
        ("binary", "calibration", 1.30, 1.00, True),
        ("binary", "calibration", 1.00, 1.30, False),
        ("binary", "calibration", 1.00, 0.70, False),
        ("binary", "calibration", 0.70, 1.00, True),
        ("binary", "auc", 0.70, 0.75, True),
        ("binary", "auc", 0.75, 0.70, False),
        ("binary", "ndcg@5", 0.40, 0.45, True),
        ("binary", "logloss", 0.40, 0.35, True),
        ("binary", "logloss", 0.35, 0.40, False),
        ("binary", "auc", 0.700, 0.7015, False),  # within the margin
        ("regression", "rmse", 2.0, 1.5, True),
        ("multiclass", "accuracy", 0.8, 0.7, False),
    ],
)
def test_the_metric_says_which_of_two_models_is_weaker(
    task: Task, metric: str, full: float, boosting: float, warned: bool
) -> None:
    assert reference(metric, task, full, boosting, 1e-6).clearly_worse(0.002, 0.95) is warned


def test_boosting_is_ahead_only_beyond_noise_and_margin() -> None:
    assert reference("auc", "binary", 0.70, 0.72, 0.009).clearly_worse(0.002, 0.95)
    assert not reference("auc", "binary", 0.70, 0.72, 0.0095).clearly_worse(0.002, 0.95)
    assert not reference("auc", "binary", 0.70, 0.72, 0.009).clearly_worse(0.003, 0.95)


def reference(metric: str, task: Task, full: float, other: float, error: float) -> Reference:
    quality = find_metric(metric, task).quality
    delta = float(quality(full) - quality(other))
    return Reference("full", "boosting", "", "validation", 1000, metric, full, other, delta, error, 1e6, False)


def test_the_threshold_is_the_one_of_a_single_column() -> None:
    assert too_good(quality("auc", 0.995), 0.999, ["a"]) == []


@pytest.mark.parametrize(
    ("metric", "others"),
    [
        ("auc", {"logloss", "normalised_entropy", "calibration", "gauc", "ndcg"}),
        ("ndcg@10", {"auc", "logloss", "normalised_entropy", "calibration", "gauc"}),
        ("ndcg@5", {"auc", "logloss", "normalised_entropy", "calibration", "gauc", "ndcg"}),
    ],
)
def test_the_decision_metric_is_not_reported_a_second_time(metric: str, others: set[str]) -> None:
    assert set(guards_of(AuditConfig(task="binary", metric=metric, group="user"))) == others
    assert set(guards_of(AuditConfig(task="binary", metric="auc"))) == {
        "logloss",
        "normalised_entropy",
        "calibration",
    }


def test_findings_that_make_every_figure_doubtful_are_warnings() -> None:
    findings = [
        Finding("", "split_overlap", "31.2% of the test rows equal a train row in every candidate column"),
        *(Finding(f"later_{number}", "leak", "AUC 0.99", excluded=True) for number in range(7)),
        Finding("protected", "leak", "AUC 0.99"),
        Finding("eye", "suspected_leak", "AUC 0.95"),
        Finding("flat", "constant", "one value", excluded=True),
        Finding("moved", "drift", "AUC 0.8"),
    ]
    found = data_warnings(findings)
    assert found[0] == "31.2% of the test rows equal a train row in every candidate column."
    assert [line.rpartition(": ")[2] for line in found[1:]] == [
        "eye.", "protected.", "later_0, later_1, later_2, later_3, later_4 and 2 more.",
    ]  # fmt: skip
    assert "were kept because of never_drop" in found[2]
    assert "were excluded" in found[3]
    assert data_warnings(findings[-2:]) == []


@pytest.mark.parametrize(
    ("metric", "where", "baseline", "pruned", "warned"),
    [
        ("gauc", "all", 0.49, 0.55, True),
        ("gauc", "all", 0.55, 0.49, True),
        ("gauc", "all", 0.50, 0.50, False),
        ("gauc", "device = tv", 0.40, 0.40, False),  # few rows; the table shows it
        ("ndcg", "all", 0.30, 0.30, False),
        ("auc", "all", 0.40, 0.40, False),  # the verdict's own reservations say so
    ],
)
def test_scores_that_order_a_users_rows_worse_than_chance_are_a_warning(
    metric: str, where: str, baseline: float, pruned: float, warned: bool
) -> None:
    row = MetricDelta(metric, where, 900, 40, baseline, pruned, pruned - baseline, -0.1, 0.1, None, None, "information")
    found = below_half([row], "user_id")
    assert bool(found) is warned
    if warned:
        assert f"full model {baseline:.4f}, pruned {pruned:.4f}" in found[0]
        assert "within one user_id" in found[0]

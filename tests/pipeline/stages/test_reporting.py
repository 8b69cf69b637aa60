"""What the report warns of."""

from __future__ import annotations

import pytest
from feature_audit.config import AuditConfig
from feature_audit.stages.reporting import cut_short, too_good


@pytest.mark.parametrize(
    ("metric", "value", "warned"),
    [("auc", 0.995, True), ("gauc", 0.99, True), ("auc", 0.93, False), ("logloss", 0.995, False)],
)
def test_a_model_too_good_to_be_true_is_named_with_its_first_features(metric: str, value: float, warned: bool) -> None:
    found = too_good(AuditConfig(metric=metric), value, ["arrival", "planned_arrival"])
    assert bool(found) is warned
    if warned:
        assert f"{value:.4f}" in found[0]
        assert "arrival, planned_arrival" in found[0]
        assert "exclude" in found[0]


def test_the_threshold_is_the_one_of_a_single_column() -> None:
    config = AuditConfig(metric="auc", checks={"leak_auc": 0.999})
    assert too_good(config, 0.995, ["a"]) == []


def test_retrainings_that_the_limit_cut_are_warned_of_with_the_remedy() -> None:
    done, cut = {"epochs": 7, "cut": False}, {"epochs": 9, "cut": True}
    assert cut_short([done, done]) == []
    [warning] = cut_short([done, cut, cut])
    assert warning.startswith("2 of 3 retrainings were cut after 9 epochs")
    assert "seeds=3" in warning

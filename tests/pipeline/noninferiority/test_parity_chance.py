"""A full model at chance level proves nothing; intervals stay in the metric's range; few positives are refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from feature_audit.errors import AuditError
from feature_audit.noninferiority import decide, metric
from feature_audit.noninferiority.chance import against_chance
from hypothesis import given, settings
from hypothesis import strategies as st


def binary(rows: int, *, skill: float, share: float = 0.4, seeds: int = 3, seed: int = 0) -> dict[str, np.ndarray]:
    """Labels and scores of one full and several pruned models that share most of their noise."""
    rng = np.random.default_rng(seed)
    y = (rng.random(rows) < share).astype(int)
    shared = skill * y + rng.normal(size=rows)
    full, *pruned = (1 / (1 + np.exp(-shared - 0.05 * rng.normal(size=rows))) for _ in range(seeds + 1))
    return {"y": y, "baseline": full, "pruned": np.stack(pruned)}


def ask(data: dict[str, np.ndarray], **changed: object):
    return decide(**{"task": "binary", "metric": "auc", "margin": 0.02, "draws": 0, **data, **changed})


@pytest.mark.parametrize("metric_", ["auc", "logloss", "normalised_entropy", "calibration", "gauc", "ndcg@5"])
def test_no_metric_passes_a_binary_model_at_chance(metric_) -> None:
    cluster = np.arange(8000) % 500
    blind, seeing = (
        ask({**binary(8000, skill=skill), "cluster": cluster}, metric=metric_, margin=0.1) for skill in (0, 2)
    )
    assert seeing.verdict == seeing.decision.verdict == seeing.artifact.verdict == "pass"
    assert blind.verdict == blind.decision.verdict == blind.artifact.verdict == "inconclusive"
    assert "the full model is not better than chance on the test split" in blind.sentence
    assert "parity with it proves nothing" in blind.sentence
    assert "Check target, positive" in blind.needed
    assert blind.decision.ci_low > -0.1  # the difference alone would pass


@pytest.mark.parametrize(("task", "metric_"), [("regression", "r2"), ("regression", "mae"), ("multiclass", "accuracy"),
                                               ("multiclass", "logloss")])  # fmt: skip
def test_no_metric_of_another_task_passes_a_model_at_chance(task, metric_) -> None:
    rng = np.random.default_rng(1)
    verdicts = {}
    for skill in (0.0, 1.0):
        if task == "regression":
            y = rng.normal(size=5000)
            arms = np.stack([skill * y + 0.01 * rng.normal(size=5000)] * 2) + 0.01 * rng.normal(size=(2, 5000))
        else:
            y = rng.choice(3, 5000, p=[0.6, 0.3, 0.1])
            shared = rng.dirichlet([6, 3, 1], 5000) + skill * np.eye(3)[y]
            arms = np.stack([shared, shared + 0.01 * rng.random((5000, 3))])
            arms /= arms.sum(axis=2, keepdims=True)
        verdicts[skill] = decide(
            y=y, baseline=arms[0], pruned=arms[1], task=task, metric=metric_, margin=0.05, draws=0
        ).verdict
    assert verdicts == {0.0: "inconclusive", 1.0: "pass"}


def test_labels_moved_by_a_row_do_not_pass_at_forty_thousand_rows() -> None:
    data = binary(40_000, skill=1.5)
    assert ask(data).verdict == "pass"
    assert ask({**data, "y": np.roll(data["y"], 1)}).verdict == "inconclusive"


def test_a_model_below_chance_is_called_worse_and_a_failing_one_still_fails() -> None:
    assert "worse than chance" in ask(binary(4000, skill=-1)).sentence
    data = binary(4000, skill=0)
    assert ask({**data, "pruned": binary(4000, skill=-2)["pruned"]}).verdict == "fail"


def test_chance_is_what_a_constant_reaches() -> None:
    rng = np.random.default_rng(2)
    y, cluster = rng.integers(0, 2, 3000), rng.integers(0, 300, 3000)
    for name in ("auc", "gauc", "ndcg"):
        found = against_chance(y, rng.random((1, 3000)), task="binary", metric=name, cluster=cluster)
        assert found.chance == pytest.approx(metric(name).value(y, np.full(3000, 0.3), cluster))
        assert found.low < found.chance < found.high
        assert not found.better
        assert not found.worse


def test_the_interval_against_chance_covers_as_often_as_it_says() -> None:
    """Coverage of 95 % intervals for the true AUC of a binormal model: 200 rows, a tenth of them positive."""
    rng = np.random.default_rng(3)
    truth, inside = 0.9214, 0  # Phi(2 / sqrt(2))
    for _ in range(400):
        y = (np.arange(200) < 20).astype(int)
        found = against_chance(y, (2 * y + rng.normal(size=200))[None], task="binary", metric="auc")
        inside += found.low <= truth <= found.high
        assert 0 <= found.low <= found.high <= 1
    assert 0.92 <= inside / 400 <= 0.985


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), positives=st.integers(10, 14), skill=st.floats(-3, 6), other=st.floats(-3, 6))
def test_no_interval_leaves_the_range_of_its_metric(seed, positives, skill, other) -> None:
    rng = np.random.default_rng(seed)
    y = (np.arange(24) < positives).astype(int)
    cluster = rng.integers(0, 4, 24)
    full, small = (gain * y + rng.normal(size=24) for gain in (skill, other))
    for name in ("auc", "ndcg"):
        row = ask({"y": y, "baseline": full, "pruned": small, "cluster": cluster}, metric=name).decision
        assert -1 <= row.ci_low <= row.delta <= row.ci_high <= 1
        found = against_chance(y, full[None], task="binary", metric=name, cluster=cluster)
        assert 0 <= found.low <= found.value <= found.high <= 1


@pytest.mark.parametrize(("positives", "refused"), [(9, True), (10, False)])
@pytest.mark.parametrize("name", ["auc", "logloss"])
def test_an_interval_needs_ten_rows_of_each_class(positives, refused, name) -> None:
    y = (np.arange(3000) < positives).astype(int)
    data = {**binary(3000, skill=0), "y": y}
    for labels in (y, 1 - y):
        if refused:
            with pytest.raises(AuditError, match=r"9 (positive|negative).* at least 10 of each"):
                ask({**data, "y": labels}, metric=name)
        else:
            ask({**data, "y": labels}, metric=name)


def test_resamples_without_a_positive_raise_no_warning() -> None:
    data = {**binary(200, skill=0), "y": (np.arange(200) < 10).astype(int)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        guards = {"normalised_entropy": None, "calibration": None, "logloss": None}
        result = ask(data, guards=guards, draws=60_000, slices={"part": np.arange(200) % 2})
    checks = result.diagnostics["bootstrap"]
    assert checks["calibration"]["draws"] < checks["auc"]["draws"] == 60_000
    assert {one["slice"] for one in result.diagnostics["small_slices"]} == {"part = 0", "part = 1"}


def test_units_that_settle_the_label_are_refused() -> None:
    data = binary(2000, skill=1)
    with pytest.raises(AuditError, match="unit: every one of the 2 units has a single label"):
        ask({**data, "cluster": data["y"]})
    ask({**data, "cluster": data["y"] * 100 + np.arange(2000) % 50})  # users of one label each, many of both


def test_a_nearly_perfect_model_is_surely_better_than_chance() -> None:
    """Three wrong rows of 4,000 leave few degrees of freedom; an interval on the logit scale would span 0 to 1."""
    random = np.random.default_rng(0)
    y = (random.random(4_000) < 0.78).astype(int)
    scores = 10.0 * y + random.normal(size=4_000)
    wrong = random.choice(4_000, 3, replace=False)
    scores[wrong] = 10 - scores[wrong]
    found = against_chance(y, scores[None], task="binary", metric="auc")
    assert found.value > 0.99
    assert found.surely_better

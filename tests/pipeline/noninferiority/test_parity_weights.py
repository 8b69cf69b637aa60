"""Weighted metrics equal scikit-learn's, and repeated rows in value, but not in precision."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from feature_audit.errors import AuditError
from feature_audit.noninferiority import METRICS, decide, metric
from feature_audit.noninferiority.chance import advantage, against_chance
from feature_audit.noninferiority.clusters import cluster_codes
from feature_audit.noninferiority.components import row_variance
from feature_audit.noninferiority.metrics import Sample
from feature_audit.weighting import effective_size
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

EVERY = [(task, name) for task, names in METRICS.items() for name in names]


def sample_of(task: str, seed: int, rows: int = 240) -> Sample:
    """Labels, tied scores, 40 users, and weights over three orders of magnitude."""
    rng = np.random.default_rng(seed)
    cluster = rng.integers(0, 40, rows)
    weight = np.exp(rng.normal(0, 1.2, rows))
    if task == "binary":
        score = np.clip(np.round(rng.random(rows), 1), 0.05, 0.95)
        y = (rng.random(rows) < 0.2 + 0.5 * score).astype(float)
        y[:2] = 0, 1
    elif task == "regression":
        y = rng.normal(size=rows)
        score = y + rng.normal(size=rows)
    else:
        y, score = rng.integers(0, 3, rows), rng.dirichlet(np.ones(3), rows)
        y[:3] = 0, 1, 2
    return Sample(y, score, *cluster_codes(cluster, rows), weight)


def value(task: str, name: str, sample: Sample) -> float:
    return metric(name, task).statistics(sample).value


def gauc(sample: Sample) -> float:
    total = weights = 0.0
    for user in range(sample.n_clusters):
        mine = sample.codes == user
        y, score, weight = sample.y[mine], sample.score[mine], sample.weight[mine]
        if len(set(y)) == 2:
            total += weight.sum() * oracle.roc_auc_score(y, score, sample_weight=weight)
            weights += weight.sum()
    return total / weights


def entropy(sample: Sample) -> float:
    rate = np.full(len(sample.y), np.average(sample.y, weights=sample.weight))
    return scored(oracle.log_loss)(sample) / oracle.log_loss(sample.y, rate, sample_weight=sample.weight)


def scored(function):
    return lambda sample: function(sample.y, sample.score, sample_weight=sample.weight)


ORACLES = {
    ("binary", "auc"): scored(oracle.roc_auc_score),
    ("binary", "logloss"): scored(oracle.log_loss),
    ("binary", "normalised_entropy"): entropy,
    ("binary", "calibration"): lambda s: np.average(s.score, weights=s.weight) / np.average(s.y, weights=s.weight),
    ("binary", "gauc"): gauc,
    ("regression", "r2"): scored(oracle.r2_score),
    ("regression", "rmse"): scored(oracle.root_mean_squared_error),
    ("regression", "mae"): scored(oracle.mean_absolute_error),
    ("multiclass", "accuracy"): lambda s: oracle.accuracy_score(s.y, s.score.argmax(1), sample_weight=s.weight),
    ("multiclass", "logloss"): scored(oracle.log_loss),
}


@pytest.mark.parametrize(("task", "name"), ORACLES)
@settings(max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_weighted_metrics_equal_scikit_learn(task, name, seed):
    sample = sample_of(task, seed)
    assert value(task, name, sample) == pytest.approx(ORACLES[task, name](sample), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("task", "name"), EVERY)
@settings(max_examples=10)
@given(seed=st.integers(0, 10_000))
def test_a_weight_of_three_is_worth_three_rows(task, name, seed):
    sample = sample_of(task, seed)
    counts = np.random.default_rng(seed).integers(1, 5, len(sample.y))
    rows = np.arange(len(sample.y)).repeat(counts)
    repeated = Sample(sample.y[rows], sample.score[rows], sample.codes[rows], sample.n_clusters)
    weighted = replace(sample, weight=counts.astype(float))
    assert value(task, name, weighted) == pytest.approx(value(task, name, repeated), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("task", "name"), EVERY)
def test_only_ndcg_asks_for_the_unit_of_weights(task, name):
    sample = sample_of(task, 3)
    found = [value(task, name, replace(sample, weight=sample.weight * unit)) for unit in (1.0, 250.0)]
    assert (found[0] == pytest.approx(found[1], rel=1e-12)) is (name != "ndcg")


@pytest.mark.parametrize(("task", "name"), EVERY)
def test_influence_is_the_slope_of_the_quality_as_a_user_is_resampled(task, name):
    """Every user 40 times with unchanged weights, one user 41 times."""
    sample, chosen, copies = sample_of(task, 8), metric(name, task), 40
    statistics = chosen.statistics(sample)
    assert abs(statistics.influence.sum()) < 1e-9
    rows = len(sample.y)
    for user in (0, 7, 23):
        mine = np.flatnonzero(sample.codes == user)
        index = np.concatenate([np.arange(rows).repeat(copies), mine])
        copy = np.concatenate([np.tile(np.arange(copies), rows), np.full(len(mine), copies)])
        codes = cluster_codes(sample.codes[index] * (copies + 1) + copy, len(index))
        grown = chosen.statistics(Sample(sample.y[index], sample.score[index], *codes, sample.weight[index]))
        step = float(chosen.quality(grown.value) - chosen.quality(statistics.value))
        assert step * copies == pytest.approx(statistics.influence[user], rel=0.05, abs=2e-5)


@pytest.mark.parametrize(("task", "name"), [("binary", "auc"), ("binary", "logloss"), ("regression", "rmse")])
def test_the_standard_error_is_that_of_the_rows_and_not_of_their_weights(task, name):
    """Compared with the spread over 400 simulated tables; with weights as repeated rows, it would be far too small."""
    chosen, values, errors, promised = metric(name, task), [], [], []
    for seed in range(400):
        sample = sample_of(task, 50_000 + seed)
        sample = replace(sample, codes=None, n_clusters=len(sample.y))
        statistics = chosen.statistics(sample)
        values.append(statistics.value)
        errors.append(row_variance(statistics.influence)[0])
        promised.append(statistics.influence @ (statistics.influence / sample.weight))
    assert np.sqrt(np.mean(errors)) == pytest.approx(np.std(values), rel=0.15)
    assert np.sqrt(np.mean(promised)) < 0.75 * np.std(values)


def test_a_sampled_log_weighted_back_gives_the_metrics_of_the_whole_log():
    rng = np.random.default_rng(0)
    rows = 200_000
    score = rng.beta(1, 12, rows)
    y = (rng.random(rows) < score).astype(float)
    kept = (y == 1) | (rng.random(rows) < 0.1)
    weight = np.where(y[kept] == 1, 1.0, 10.0)
    for name, reach in (("auc", 0.01), ("logloss", 0.01), ("calibration", 0.02), ("normalised_entropy", 0.01)):
        whole = metric(name).value(y, score)
        assert metric(name).value(y[kept], score[kept], weight=weight) == pytest.approx(whole, rel=reach)
    assert metric("calibration").value(y[kept], score[kept]) < 0.5  # without weights


def arms(rows: int = 3_000, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = (rng.random(rows) < 0.3).astype(float)
    baseline = 1 / (1 + np.exp(1 - y - rng.normal(0, 1, (2, rows))))
    pruned = np.clip(baseline + rng.normal(0, 1e-3, (2, rows)), 1e-4, 1 - 1e-4)
    return {"y": y, "baseline": baseline, "pruned": pruned}


def judged(weight: np.ndarray | None, **more):
    return decide(**arms(), weight=weight, task="binary", metric="auc", margin=0.01, draws=200, **more)


def test_equal_weights_change_nothing():
    plain, weighted = judged(None), judged(np.full(3_000, 7.0))
    assert weighted.verdict == plain.verdict == "pass"
    assert weighted.decision.ci_low == pytest.approx(plain.decision.ci_low, rel=1e-9)
    assert weighted.decision.baseline == pytest.approx(plain.decision.baseline, rel=1e-12)


def test_slices_and_guards_are_weighted_as_the_whole_is():
    weight = np.random.default_rng(1).integers(1, 6, 3_000).astype(float)
    given, half = arms(), np.arange(3_000) % 2 == 0
    result = judged(weight, guards={"logloss": None}, slices={"half": half})
    by_name = {(row.metric, row.slice): row for row in result.deltas}
    loss = [oracle.log_loss(given["y"], score, sample_weight=weight) for score in given["baseline"]]
    assert by_name["logloss", "all"].baseline == pytest.approx(np.mean(loss), rel=1e-12)
    areas = [
        oracle.roc_auc_score(given["y"][half], score[half], sample_weight=weight[half]) for score in given["pruned"]
    ]
    assert by_name["auc", "half = True"].pruned == pytest.approx(np.mean(areas), rel=1e-12)


def test_one_row_with_nearly_all_the_weight_decides_nothing():
    weight = np.ones(3_000)
    weight[11] = 300_000.0
    result = judged(weight)
    assert effective_size(weight) < 1.03
    assert result.verdict == "inconclusive"
    assert "the test split has 1 effective rows, too few" in result.sentence
    assert "check `weight`" in result.needed


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_weights_that_are_none_are_refused_with_their_number(bad):
    weight = np.ones(3_000)
    weight[:4] = bad
    with pytest.raises(AuditError, match="weight contains 4 values that are not finite and above 0"):
        judged(weight)


@pytest.mark.parametrize("weight", [np.ones(10), np.array(["1"] * 3_000)])
def test_weights_of_another_shape_or_type_are_refused(weight):
    with pytest.raises(AuditError, match=r"weight has shape .*; give one number per test row \(3000\)"):
        judged(weight)


@pytest.mark.parametrize(("task", "name"), [one for one in EVERY if one[1] != "calibration"])  # its optimum is 1
def test_no_skill_is_the_best_weighted_constant(task, name):
    sample = sample_of(task, 4)
    counts = np.random.default_rng(4).integers(1, 5, len(sample.y))
    rows = np.arange(len(sample.y)).repeat(counts)

    def gained(index: np.ndarray, weight: np.ndarray | None) -> float:
        return advantage(
            metric(name, task), y=sample.y[index], scores=sample.score[index], task=task,
            cluster=sample.codes[index], weight=weight,
        )  # fmt: skip

    assert gained(np.arange(len(counts)), counts.astype(float)) == pytest.approx(gained(rows, None), rel=1e-9)


def test_chance_is_the_weighted_share_of_the_commonest_class():
    y = np.array([0] * 60 + [1] * 40)
    score = np.tile([0.5, 0.5], (100, 1))
    weight = np.where(y == 1, 9.0, 1.0)
    found = against_chance(y, score[None], task="multiclass", metric="accuracy", weight=weight)
    assert found.chance == pytest.approx(360 / 420)

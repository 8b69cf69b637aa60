"""Every metric against scikit-learn or torchmetrics, and its influence values against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from feature_audit.errors import UsageError
from feature_audit.metric_names import METRIC_NAMES
from feature_audit.noninferiority import METRICS, metric
from feature_audit.noninferiority.clusters import cluster_codes
from feature_audit.noninferiority.metrics import Sample
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle


def binary_sample(seed: int, rows: int = 300, *, ties: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    score = rng.random(rows)
    y = (rng.random(rows) < 0.2 + 0.5 * score).astype(int)
    y[:2] = 0, 1
    return y, np.round(score, 1) if ties else score, rng.integers(0, rows // 6, rows)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("auc", oracle.roc_auc_score),
        ("logloss", oracle.log_loss),
        ("calibration", lambda y, p: p.mean() / y.mean()),
        (
            "normalised_entropy",
            lambda y, p: oracle.log_loss(y, p) / oracle.log_loss(y, np.full(len(y), y.mean())),
        ),
    ],
)
@settings(max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_binary_metrics_equal_scikit_learn(name, reference, ties, seed):
    y, score, _ = binary_sample(seed, ties=ties)
    assert metric(name).value(y, score) == pytest.approx(reference(y, score), rel=1e-12)


@pytest.mark.parametrize(
    ("name", "reference"),
    [("r2", oracle.r2_score), ("rmse", oracle.root_mean_squared_error), ("mae", oracle.mean_absolute_error)],
)
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_regression_metrics_equal_scikit_learn(name, reference, offset):
    rng = np.random.default_rng(3)
    y = rng.normal(size=500) + offset
    score = y + rng.normal(size=500)
    assert metric(name, "regression").value(y, score) == pytest.approx(reference(y, score), rel=1e-9)


def test_multiclass_metrics_equal_scikit_learn():
    rng = np.random.default_rng(4)
    y, score = rng.integers(0, 4, 400), rng.dirichlet(np.ones(4), 400)
    assert metric("accuracy", "multiclass").value(y, score) == oracle.accuracy_score(y, score.argmax(1))
    assert metric("logloss", "multiclass").value(y, score) == pytest.approx(oracle.log_loss(y, score), rel=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_gauc_weighs_users_by_rows_and_counts_those_with_one_class(ties):
    y, score, cluster = binary_sample(5, ties=ties)
    y[cluster == cluster[0]] = 1
    codes, n_clusters = cluster_codes(cluster, len(y))
    total = rows = excluded = 0.0
    for code in range(n_clusters):
        mine = codes == code
        if len(set(y[mine])) < 2:
            excluded += 1
            continue
        total += mine.sum() * oracle.roc_auc_score(y[mine], score[mine])
        rows += mine.sum()
    statistics = metric("gauc").statistics(Sample(y, score, codes, n_clusters))
    assert excluded > 0
    assert statistics.excluded == excluded
    assert statistics.value == pytest.approx(total / rows, rel=1e-12)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_ndcg_with_ties_equals_scikit_learn(k):
    y, score, cluster = binary_sample(6, ties=True)
    each = []
    for code in np.unique(cluster):
        mine = cluster == code
        if y[mine].any():
            pair = y[mine][None], score[mine][None]
            each.append(oracle.ndcg_score(*pair, k=k) if mine.sum() > 1 else 1.0)
    assert metric(f"ndcg@{k}").value(y, score, cluster) == pytest.approx(np.mean(each), rel=1e-12)


def test_ndcg_without_ties_equals_torchmetrics():
    from torchmetrics.retrieval import RetrievalNormalizedDCG  # imports matplotlib

    y, score, cluster = binary_sample(7, ties=False)
    reference = RetrievalNormalizedDCG(top_k=10, empty_target_action="skip")
    expected = reference(torch.tensor(score), torch.tensor(y), indexes=torch.tensor(cluster))
    assert metric("ndcg").value(y, score, cluster) == pytest.approx(float(expected), rel=1e-5)


def sample_for(task: str, seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    if task == "binary":
        y, score, cluster = binary_sample(seed, ties=True)
        score = np.clip(score, 0.05, 0.95)
    else:
        cluster = rng.integers(0, 40, 300)
        y = rng.normal(size=300) if task == "regression" else rng.integers(0, 3, 300)
        score = y + rng.normal(size=300) if task == "regression" else rng.dirichlet(np.ones(3), 300)
    codes, n_clusters = cluster_codes(cluster, 300)
    return Sample(y, score, codes, n_clusters)


@pytest.mark.parametrize(("task", "name"), [(task, name) for task, names in METRICS.items() for name in names])
def test_influence_is_the_slope_of_the_quality_in_each_units_weight(task, name):
    """A cluster whose rows are repeated moves the quality by its influence value, to first order."""
    sample = sample_for(task, 8)
    chosen = metric(name, task)
    statistics = chosen.statistics(sample)
    assert abs(statistics.influence.sum()) < 1e-9
    copies = 40  # all clusters 40 times, one of them 41 times: a weight step of 1/40
    for cluster in (0, 7, 23):
        index = np.concatenate([np.arange(300).repeat(copies), np.flatnonzero(sample.codes == cluster)])
        # A repeated cluster must stay a separate cluster, else per-user metrics would get longer lists.
        copy = np.concatenate([np.tile(np.arange(copies), 300), np.full(np.sum(sample.codes == cluster), copies)])
        codes, n_clusters = cluster_codes(sample.codes[index] * (copies + 1) + copy, len(index))
        grown = chosen.statistics(Sample(sample.y[index], sample.score[index], codes, n_clusters))
        step = float(chosen.quality(grown.value) - chosen.quality(statistics.value))
        assert step * copies == pytest.approx(statistics.influence[cluster], rel=0.05, abs=2e-5)


def test_orientation_makes_higher_better():
    assert metric("logloss").quality(0.4) == -0.4
    assert metric("calibration").quality(1.25) == pytest.approx(metric("calibration").quality(0.8))
    assert metric("calibration").quality(1.1) > metric("calibration").quality(1.2)
    assert metric("auc").quality(0.7) == 0.7


def test_auc_of_two_million_rows_stays_exact():
    """2 million rows with one pair out of order, which float32 midranks would lose."""
    rows = 2_000_000
    y = np.arange(rows) >= rows // 2
    score = np.arange(rows, dtype=np.float64)
    score[rows // 2 - 1], score[rows // 2] = score[rows // 2], score[rows // 2 - 1]
    assert metric("auc").value(y, score) == 1 - 1 / (rows // 2) ** 2


@pytest.mark.parametrize(("name", "task"), [("gini", "binary"), ("auc", "regression"), ("ndcg@5", "multiclass")])
def test_an_unknown_metric_is_refused_by_name(name, task):
    with pytest.raises(UsageError, match=f"metric={name} does not fit task={task}; choose "):
        metric(name, task)


@pytest.mark.parametrize("name", ["ndcg@0", "ndcg@-1", "ndcg@x", "ndcg@", "ndcg@5@5", "auc@5"])
def test_a_cut_off_that_cannot_be_is_refused_by_name(name):
    with pytest.raises(UsageError, match=f"metric={name}: .*; give "):
        metric(name)


def test_every_name_that_the_configuration_accepts_can_be_computed():
    assert {task: tuple(metrics) for task, metrics in METRICS.items()} == METRIC_NAMES


def test_a_cut_off_beyond_all_rows_costs_no_memory():
    y, score, cluster = binary_sample(6, ties=True)
    assert metric(f"ndcg@{10**9 - 1}").value(y, score, cluster) == metric(f"ndcg@{len(y)}").value(y, score, cluster)

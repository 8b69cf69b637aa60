"""Standard errors, resampling and DeLong against scipy, and against each other."""

from __future__ import annotations

import numpy as np
import pytest
from feature_audit.noninferiority import metric, ranking
from feature_audit.noninferiority.clusters import cluster_codes
from feature_audit.noninferiority.components import components, row_variance
from feature_audit.noninferiority.metrics import Sample
from feature_audit.noninferiority.resampling import cluster_weights, resampled_sums
from scipy import stats
from sklearn.metrics import roc_auc_score


def clustered(seed: int, users: int = 200, per_user: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels, two correlated models' scores and users; the models differ by user as well as by row."""
    rng = np.random.default_rng(seed)
    cluster = rng.integers(0, users, users * per_user)
    rows = len(cluster)
    y = (rng.random(rows) < 0.3).astype(int)
    shared = y + rng.normal(size=rows)
    full, small = (shared + 0.5 * rng.normal(size=users)[cluster] + 0.3 * rng.normal(size=rows) for _ in range(2))
    return y, full, small, cluster


def delong(y: np.ndarray, full: np.ndarray, small: np.ndarray) -> tuple[float, float]:
    return ranking.delong(y, ranking.auc_placements(y, full), ranking.auc_placements(y, small))


def test_paired_auc_bootstrap_equals_scipys_over_users():
    """The linearised resampling gives the standard error of scipy's exact paired bootstrap of users."""
    y, full, small, cluster = clustered(0)
    codes, n_clusters = cluster_codes(cluster, len(y))
    psi = [metric("auc").statistics(Sample(y, score, codes, n_clusters)).influence for score in (full, small)]
    rows_of = [np.flatnonzero(codes == code) for code in range(n_clusters)]

    def exact(users: np.ndarray) -> float:
        index = np.concatenate([rows_of[user] for user in users])
        return ranking.auc_influence(y[index], small[index])[0] - ranking.auc_influence(y[index], full[index])[0]

    reference = stats.bootstrap(
        (np.arange(n_clusters),), exact, n_resamples=1500, vectorized=False, method="percentile", rng=1
    )
    ours = resampled_sums((psi[1] - psi[0])[:, None], 1500, 0)[:, 0]
    analytic = np.sqrt(row_variance(psi[1] - psi[0])[0])
    assert ours.std(ddof=1) == pytest.approx(reference.standard_error, rel=0.08)
    assert analytic == pytest.approx(reference.standard_error, rel=0.08)


def test_linearised_auc_resamples_agree_with_exact_ones_draw_by_draw():
    y, full, _, cluster = clustered(1)
    codes, n_clusters = cluster_codes(cluster, len(y))
    auc, influence = ranking.auc_influence(y, full)
    by_cluster = np.bincount(codes, weights=influence, minlength=n_clusters)
    weights = next(cluster_weights(n_clusters, 300, 5))
    exact = [roc_auc_score(y, full, sample_weight=weight) for weight in weights[:, codes]]
    linear = auc + weights @ by_cluster
    assert np.corrcoef(exact, linear)[0, 1] > 0.995
    assert linear.std() == pytest.approx(np.std(exact), rel=0.02)


@pytest.mark.parametrize(("name", "task"), [("r2", "regression"), ("rmse", "regression"), ("mae", "regression")])
def test_moment_metrics_resample_exactly(name, task):
    rng = np.random.default_rng(2)
    y = rng.normal(size=90)
    score = y + rng.normal(size=90)
    cluster = rng.integers(0, 20, 90)
    codes, n_clusters = cluster_codes(cluster, 90)
    chosen = metric(name, task)
    statistics = chosen.statistics(Sample(y, score, codes, n_clusters))
    weights = next(cluster_weights(n_clusters, 20, 3))
    ours = chosen.resampled(weights @ statistics.sums, statistics)
    for draw, weight in zip(ours, weights, strict=True):
        index = np.repeat(np.arange(90), weight[codes].astype(int))
        assert draw == pytest.approx(chosen.quality(chosen.value(y[index], score[index])), rel=1e-9)


def test_delong_is_the_unit_variance_where_each_row_is_a_unit():
    y, full, small, _ = clustered(3, users=1500, per_user=2)
    delta, error = delong(y, full, small)
    a, b = (ranking.auc_influence(y, score) for score in (full, small))
    assert delta == pytest.approx(b[0] - a[0], abs=1e-15)
    assert error == pytest.approx(np.sqrt(row_variance(b[1] - a[1])[0]), rel=0.01)


def test_delong_equals_its_definition_by_pairs():
    """Structural components written out over all pairs (DeLong et al. 1988), ties included."""
    rng = np.random.default_rng(4)
    y = np.array([1] * 15 + [0] * 25)
    models = np.round(rng.normal(size=(2, 40)) + y, 1)
    v10, v01, auc = [], [], []
    for score in models:
        kernel = (score[:15, None] > score[None, 15:]) + 0.5 * (score[:15, None] == score[None, 15:])
        v10.append(kernel.mean(axis=1))
        v01.append(kernel.mean(axis=0))
        auc.append(kernel.mean())
    contrast = np.array([-1, 1])
    variance = contrast @ (np.cov(v10) / 15 + np.cov(v01) / 25) @ contrast
    delta, error = delong(y, *models)
    assert delta == pytest.approx(auc[1] - auc[0], abs=1e-14)
    assert error == pytest.approx(np.sqrt(variance), rel=1e-12)


def test_users_widen_the_interval_that_delong_gives():
    """Users who are mostly positive or mostly negative, and whom the models rank differently."""
    rng = np.random.default_rng(5)
    cluster = np.repeat(np.arange(150), 20)
    y = (rng.random(3000) < np.where(rng.random(150) < 0.5, 0.9, 0.1)[cluster]).astype(int)
    full, small = (y + rng.normal(size=150)[cluster] + 0.3 * rng.normal(size=3000) for _ in range(2))
    _, row_level = delong(y, full, small)
    codes, n_clusters = cluster_codes(cluster, len(y))
    a, b = (metric("auc").statistics(Sample(y, score, codes, n_clusters)).influence for score in (full, small))
    assert np.sqrt(row_variance(b - a)[0]) > 2 * row_level


def test_row_degrees_of_freedom_fall_where_few_units_carry_the_variance():
    rng = np.random.default_rng(6)
    even = rng.normal(size=20_000)
    heavy = even * (1 + 200 * (rng.random(20_000) < 0.001))
    assert row_variance(even - even.mean())[1] == pytest.approx(20_000, rel=0.1)
    assert row_variance(heavy - heavy.mean())[1] < 100


def test_components_recover_known_variances():
    """On average over many small simulations: the simulated sigma^2, tau^2 and V."""
    rng = np.random.default_rng(7)
    sigma, own, common, units = 0.5, 1.0, 2.0, 40
    found = []
    for _ in range(3000):
        arm = rng.normal(0, common, units)
        each = arm + rng.normal(0, own, (4, units)) + rng.normal(0, sigma, (4, 1))
        baseline = rng.normal(0, own, (1, units)) + rng.normal(0, sigma, (1, 1))
        psi = (each - each.mean(axis=1, keepdims=True)) / units
        psi_baseline = (baseline - baseline.mean(axis=1, keepdims=True)) / units
        parts = components(psi, psi_baseline, each.mean(axis=1), baseline.mean(axis=1))
        found.append(
            (
                parts.row,
                parts.shared_noise,
                parts.between,
                parts.row + parts.weight * (parts.between - parts.shared_noise),
            )
        )
    row, noise, between, total = np.mean(found, axis=0)
    assert row == pytest.approx((common**2 + own**2 * 1.25) / units, rel=0.03)
    assert noise == pytest.approx(own**2 / units, rel=0.03)
    assert between == pytest.approx(sigma**2 + own**2 / units, rel=0.05)
    assert total == pytest.approx((common**2 + own**2 * 1.25) / units + sigma**2 * 1.25, rel=0.05)


def test_resamples_are_multinomial_and_repeatable():
    first = np.concatenate(list(cluster_weights(50, 400, 9)))
    assert (first.sum(axis=1) == 50).all()
    assert first.mean() == 1
    assert first.var() == pytest.approx(49 / 50, rel=0.05)
    np.testing.assert_array_equal(first, np.concatenate(list(cluster_weights(50, 400, 9))))


def test_pooling_many_units_keeps_the_variance(monkeypatch):
    rng = np.random.default_rng(10)
    sums = rng.exponential(size=(6000, 2))
    each = resampled_sums(sums, 3000, 0)
    monkeypatch.setattr("feature_audit.noninferiority.resampling.MOST_CLUSTERS", 1500)
    pooled = resampled_sums(sums, 3000, 0)
    np.testing.assert_allclose(pooled.mean(axis=0), sums.sum(axis=0), rtol=0.002)
    np.testing.assert_allclose(pooled.var(axis=0), each.var(axis=0), rtol=0.12)

"""The bounds: their error is at most the nominal one for every seed noise; interval and verdict agree."""

from __future__ import annotations

import numpy as np
import pytest
from feature_audit.noninferiority import metric, power
from feature_audit.noninferiority.comparison import Comparison
from feature_audit.noninferiority.components import Components
from feature_audit.noninferiority.intervals import (
    PASS_SHARE,
    conclude,
    critical_value,
    degrees_of_freedom,
    holm_levels,
    seed_constant,
)
from feature_audit.noninferiority.metrics import ClusterStatistics
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats


def parts(
    row: float = 1.0, between: float = 0.5, noise: float = 0.2, seeds: tuple[int, int] = (3, 1), row_df: float = 5000.0
) -> Components:
    return Components(row, row_df, between, noise, sum(seeds) - 2, 1 / seeds[0] + 1 / seeds[1])


def undecided(delta: float, today: Components, margin: float) -> Comparison:
    def arm(value: float, seeds: int) -> list[ClusterStatistics]:
        return [ClusterStatistics(value, np.zeros(1000), np.zeros((1000, 1)))] * seeds

    return Comparison(metric("auc"), "all", 5000, 1000, margin, "decision", arm(0.0, 1), arm(delta, 3), False, today)


def forecast(delta: float, today: Components, margin: float) -> str:
    one = undecided(delta, today, margin)
    enough = power.enough_trainings(one, confidence=0.95, seeds=(3, 1))
    return power.needed(one, enough, confidence=0.95, seeds=(3, 1), cluster_name="users")


class World:
    """The model that the bounds assume: normal estimate, chi-square seed variance, any true seed noise."""

    def __init__(
        self, share: float, seed_noise: float, seeds: tuple[int, int], seed: int = 0, size: int = 6000
    ) -> None:
        rng = np.random.default_rng(seed)
        weight, nu = 1 / seeds[0] + 1 / seeds[1], sum(seeds) - 2
        noise = share / weight
        spread = (noise + seed_noise / weight) * rng.chisquare(nu, size) / nu
        self.estimates = rng.normal(0, np.sqrt(1 + seed_noise), size)
        self.parts = [Components(1.0, 1e6, float(between), noise, nu, weight) for between in spread]


@pytest.mark.parametrize("seeds", [(3, 1), (3, 3), (5, 1)])
@pytest.mark.parametrize("share", [0.0, 0.4, 0.95])
@pytest.mark.parametrize("seed_noise", [0.0, 0.3, 1.0, 5.0, 30.0])
def test_a_loss_of_the_margin_passes_at_most_five_percent_of_the_time(seeds, share, seed_noise):
    world = World(share, seed_noise, seeds)
    margin = 3.0
    verdicts = [
        conclude(estimate - margin, one, margin, 0.95).verdict
        for estimate, one in zip(world.estimates, world.parts, strict=True)
    ]
    passed = stats.binomtest(verdicts.count("pass"), len(verdicts)).proportion_ci(0.999)
    assert passed.low <= 0.05
    if seed_noise == 0 and share == 0:
        assert passed.high >= 0.045  # not conservative without seed noise


@pytest.mark.parametrize("margin", [3.0, None])
@pytest.mark.parametrize("share", [0.0, 0.6])
@pytest.mark.parametrize("seed_noise", [0.0, 1.0, 8.0])
def test_the_interval_covers_the_truth(margin, share, seed_noise):
    world = World(share, seed_noise, (3, 1), seed=1)
    ends = [conclude(float(error), one, margin, 0.95) for error, one in zip(world.estimates, world.parts, strict=True)]
    covered = stats.binomtest(sum(end.low <= 0 <= end.high for end in ends), len(ends)).proportion_ci(0.999)
    assert covered.high >= 0.95
    if seed_noise == 0.0 and share == 0.0:
        assert covered.low <= 0.95


@settings(max_examples=200)
@given(
    delta=st.floats(-5, 5),
    margin=st.floats(0, 3),
    between=st.floats(0, 4),
    noise=st.floats(0, 1),
    confidence=st.sampled_from([0.9, 0.95, 0.99]),
)
def test_verdict_and_interval_agree(delta, margin, between, noise, confidence):
    one = parts(between=between, noise=noise)
    end = conclude(delta, one, margin, confidence)
    plain = conclude(delta, one, None, confidence)
    assert plain.low <= end.low <= delta <= plain.high <= end.high
    assert (end.verdict == "pass") == (end.low > -margin)
    assert (end.verdict == "fail") == (end.high < -margin)
    assert plain.verdict is None
    assert plain.high - delta == pytest.approx(delta - plain.low)


def test_without_seed_noise_it_is_the_normal_bound_and_with_little_else_the_t_bound():
    assert critical_value(parts(between=0.0, noise=0.0), 0.05) == pytest.approx(stats.norm.isf(0.05), rel=1e-3)
    assert critical_value(parts(row=1e-9, between=1.0, noise=0.0), 0.05) == pytest.approx(
        stats.t.isf(0.05, 2), rel=1e-3
    )
    assert critical_value(parts(row=1e-9, between=1.0, noise=0.0, seeds=(5, 4)), 0.05) == pytest.approx(
        stats.t.isf(0.05, 7), rel=1e-3
    )


def test_degrees_of_freedom_fall_as_the_seeds_disagree():
    found = [degrees_of_freedom(parts(between=between), 0.05) for between in (0.01, 0.3, 1.0, 10.0, 1000.0)]
    assert found == sorted(found, reverse=True)
    assert found[-1] == pytest.approx(2, rel=0.01)


@pytest.mark.parametrize("share", [0.195, 0.305, 0.509, 0.719, 0.855])
@pytest.mark.parametrize("alpha", [0.05, 0.045])
def test_rounding_the_share_of_row_noise_never_makes_a_bound_tighter(share, alpha):
    """The constant is tabulated for whole per cents; a share between two of them uses the conservative one."""
    row, between, weight = 1.0, 0.9, 4 / 3
    one = parts(row=row, between=between, noise=share * row / weight, row_df=1e12)
    seed = weight * between
    exact = 2 * (1 + seed_constant(2, share, alpha) * ((one.total - seed) / seed) ** 2)
    rounded = degrees_of_freedom(one, alpha)
    assert rounded <= exact * (1 + 1e-9)
    assert rounded == pytest.approx(exact, rel=0.03)


def test_seed_row_noise_is_not_counted_twice():
    """Differences of seeds that the test rows explain add nothing to the row variance."""
    assert parts(row=1.0, between=0.3, noise=0.3).total == pytest.approx(1.0)
    assert parts(row=1.0, between=0.1, noise=0.3).total == 1.0
    assert parts(row=1.0, between=0.6, noise=0.3).total == pytest.approx(1.0 + 0.3 * 4 / 3)


def test_holm_gives_the_last_open_guard_the_whole_level():
    clear, open_one = (-50.0, parts(), 1.0), (-0.5, parts(), 1.0)
    assert holm_levels([clear, open_one, clear], 0.05) == [0.05 / 3, 0.05, 0.05 / 3]
    assert holm_levels([open_one, open_one], 0.05) == [0.025, 0.025]
    assert holm_levels([], 0.05) == []


def test_forecast_remedies_reach_the_stated_power():
    """With the recommended users or seeds, an audit passes in about 4 of 5 simulations."""
    delta, margin = -0.5, 3.0
    today = parts(row=1.0, between=0.45, noise=0.3)
    world = World(share=0.4, seed_noise=0.2, seeds=(3, 1))
    grown = power.grown(today, 3.0, (3, 1))
    assert grown.row == pytest.approx(1 / 3)
    assert grown.seed == pytest.approx(today.seed)
    sentence = forecast(delta, today, margin)
    factor = float(sentence.split("(")[1].split(" times")[0])
    scale = np.sqrt(1 / factor)
    passed = [
        conclude(
            delta + estimate * np.sqrt((1 / factor + 0.2) / 1.2),
            Components(scale**2, 1e6, one.between * (0.3 / factor + 0.15) / 0.45, 0.3 / factor, 2, 4 / 3),
            margin,
            0.95,
        ).verdict
        == "pass"
        for estimate, one in zip(world.estimates, world.parts, strict=True)
    ]
    assert 0.6 < np.mean(passed) < 0.95


@pytest.mark.parametrize(("delta", "share"), [(-0.5, PASS_SHARE), (-5.5, 1 - PASS_SHARE)], ids=["pass", "fail"])
def test_enough_trainings_are_the_fewest_that_reach_the_margin(delta: float, share: float) -> None:
    today, level = parts(row=0.3, between=1.5, noise=0.2), 1 - share * 0.05
    enough = power.enough_trainings(undecided(delta, today, 3.0), confidence=0.95, seeds=(3, 1))
    assert len(enough) > 1
    for pruned, full in enough:
        assert power.reach(power.grown(today, 1.0, (pruned, full)), level) <= 2.5
        assert power.reach(power.grown(today, 1.0, (pruned - 1, full)), level) > 2.5


def test_the_forecast_states_when_no_remedy_helps():
    assert "The estimate equals the margin" in forecast(-2.0, parts(), 2.0)
    assert "neither" in forecast(-1.99, parts(row=4.0, between=50.0), 2.0)

"""The benchmark in small: audits with known truth and simulated scores through ``decide``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from feature_audit.noninferiority import METRICS, ParityResult, decide, metric
from scipy import stats

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "benchmarks" / "parity"))
world = pytest.importorskip("world", reason="benchmarks/parity is part of the checkout, not of the package")
ladder = pytest.importorskip("ladder")
sys.path.pop(0)

pytestmark = pytest.mark.slow  # of a benchmark and its simulations

MARGIN = 0.002


def audits(design: world.Design, count: int) -> list[ParityResult]:
    rng = np.random.default_rng(11)
    found = []
    for _ in range(count):
        audit = world.simulate(design, rng)
        found.append(
            decide(y=audit.y, cluster=audit.cluster, baseline=audit.baseline, pruned=audit.pruned, task="binary",
                   metric="auc", margin=MARGIN, draws=0)
        )  # fmt: skip
    return found


def test_the_simulated_aucs_equal_the_closed_form():
    """The mean AUC of many trainings on many rows equals that of the closed form."""
    design = world.Design("truth", 0.002, 0.0, users=40_000, seeds=(2, 2))
    audit = world.simulate(design, np.random.default_rng(0))
    full = np.mean([metric("auc").value(audit.y, score) for score in audit.baseline])
    small = np.mean([metric("auc").value(audit.y, score) for score in audit.pruned])
    assert full == pytest.approx(world.FULL_AUC, abs=0.004)
    assert small - full == pytest.approx(-0.002, abs=0.0006)


def test_the_k_of_a_simulated_ladder_share_rows_and_the_full_model_and_lose_what_they_should():
    design = world.Design("ladder", 0.5, 0.0, users=40_000, seeds=(2, 2))
    audits = world.simulate_ladder(design, [0.0, 0.004], np.random.default_rng(0), alike=0.9)
    value = metric("auc").value
    full, *small = ([value(audits[0].y, score) for score in arm] for arm in (
        audits[0].baseline, audits[0].pruned, audits[1].pruned))  # fmt: skip
    assert all(one.y is audits[0].y and one.baseline is audits[0].baseline for one in audits)
    assert [np.mean(arm) - np.mean(full) for arm in small] == pytest.approx([0.0, -0.004], abs=0.0006)
    likeness = np.corrcoef(audits[0].pruned.mean(axis=0), audits[1].pruned.mean(axis=0))[0, 1]
    apart = world.simulate_ladder(design, [0.0, 0.004], np.random.default_rng(0))
    assert likeness > np.corrcoef(apart[0].pruned.mean(axis=0), apart[1].pruned.mean(axis=0))[0, 1]


@pytest.mark.parametrize("losses", [(1, 1, 1), (-5, 1, 1), (-5, 1, -5)])
def test_the_error_over_several_k_is_that_of_one_test(losses):
    case = ladder.Case("boundary", losses, alike=0.9)
    counts = ladder.run(case, 300, seed=1)
    assert stats.binomtest(counts["in order"], 300).proportion_ci(0.99).low <= 0.05
    assert (counts["first"] == 300) == (losses[0] < 0)


@pytest.mark.parametrize("seed_noise", [0.0, 0.0007, 0.002])
def test_a_loss_of_the_margin_passes_one_time_in_twenty_at_most(seed_noise):
    found = audits(world.Design("boundary", MARGIN, seed_noise), 500)
    passed = sum(one.verdict == "pass" for one in found)
    covered = sum(one.decision.ci_low <= -MARGIN <= one.decision.ci_high for one in found)
    assert stats.binomtest(passed, 500).proportion_ci(0.99).low <= 0.05
    assert stats.binomtest(covered, 500).proportion_ci(0.99).high >= 0.95


def test_identical_models_pass_nine_times_in_ten_where_the_sample_allows_it():
    found = audits(world.Design("identical", 0.0, 0.0), 300)
    assert np.mean([one.verdict == "pass" for one in found]) >= 0.9


def test_the_benchmark_is_one_command():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "pipeline"), str(ROOT / "selectors")])}
    command = [sys.executable, "benchmarks/parity", "--simulations", "2", "--rows", "2000", "--draws", "50"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "| identical, seed noise 0.0007 |" in done.stdout
    assert "**Speed**: 2,000 test rows" in done.stdout
    command = [sys.executable, "benchmarks/parity/ladder.py", "--simulations", "2"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "| two, both lose the margin | 1, 1 | 3 + 1 |" in done.stdout


@pytest.mark.parametrize(
    ("name", "task"),
    [(name, "binary") for name in METRICS["binary"]] + [(name, "regression") for name in METRICS["regression"]],
)
def test_every_metrics_interval_covers_the_population_it_was_sampled_from(name, task):
    """Users drawn from a large population whose true delta is known; the artifacts are fixed."""
    rng = np.random.default_rng(12)
    users, per_user = 20_000, 5
    cluster = np.repeat(np.arange(users), per_user)
    level = rng.normal(size=users)[cluster]
    signal = level + rng.normal(size=users * per_user)
    full, small = (
        signal + 0.4 * rng.normal(size=users)[cluster] + 0.3 * rng.normal(size=len(cluster)) for _ in range(2)
    )
    y = signal + rng.normal(size=len(cluster))
    if task == "binary":
        y = (rng.random(len(cluster)) < 1 / (1 + np.exp(-signal))).astype(int)
        full, small = 1 / (1 + np.exp(-full)), 1 / (1 + np.exp(-1.2 * small + 0.1))
    chosen = metric(name, task)
    truth = chosen.quality(chosen.value(y, small, cluster)) - chosen.quality(chosen.value(y, full, cluster))
    covered = 0
    for _ in range(300):
        drawn = rng.integers(0, users, 250)
        rows = (drawn[:, None] * per_user + np.arange(per_user)).ravel()
        row = decide(
            y=y[rows], cluster=np.repeat(np.arange(250), per_user), baseline=full[rows], pruned=small[rows], task=task,
            metric=name, margin=1.0, draws=0,
        ).artifact  # fmt: skip
        covered += row.ci_low <= truth <= row.ci_high
    interval = stats.binomtest(covered, 300).proportion_ci(0.999)
    assert interval.high >= 0.95
    if name != "calibration":  # conservative on purpose where the ratio is near one
        assert interval.low <= 0.95

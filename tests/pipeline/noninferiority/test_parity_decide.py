"""``decide``: properties that must hold for any two models, and one line for every mistake."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from feature_audit.errors import AuditError, UsageError
from feature_audit.noninferiority import activity, decide
from feature_audit.noninferiority import metric as find_metric
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.weightstats import ttost_paired


def models(seed: int, rows: int = 600, seeds: int = 3, gap: float = 0.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    cluster = rng.integers(0, rows // 6, rows)
    signal = rng.normal(size=rows)
    y = (rng.random(rows) < 1 / (1 + np.exp(-2 * signal))).astype(int)
    scores = [1 / (1 + np.exp(-(2 - gap * (i > 0)) * (signal + 0.2 * rng.normal(size=rows)))) for i in range(seeds + 1)]
    return {"y": y, "cluster": cluster, "baseline": scores[0], "pruned": np.stack(scores[1:])}


def ask(data: dict[str, np.ndarray], **settings_: object):
    return decide(**{"task": "binary", "metric": "auc", "margin": 0.01, "draws": 0, **data, **settings_})


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), metric=st.sampled_from(["auc", "logloss", "gauc", "ndcg@5", "normalised_entropy"]))
def test_swapping_the_models_flips_the_sign(seed, metric):
    data = models(seed, seeds=2)
    full = np.stack([data["baseline"], data["baseline"][::-1]])
    # A pass skips the search for the trainings that would decide; delta and interval do not depend on the margin.
    given = {"metric": "logloss", "margin": 5.0, "guards": {metric: None}}
    one = ask({**data, "baseline": full}, **given).deltas[-1]
    other = ask({**data, "baseline": data["pruned"], "pruned": full}, **given).deltas[-1]
    if one.role == "decision":
        return
    assert one.delta == pytest.approx(-other.delta, abs=1e-12)
    assert one.ci_low == pytest.approx(-other.ci_high, abs=1e-12)
    assert one.ci_high == pytest.approx(-other.ci_low, abs=1e-12)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_the_order_of_rows_and_the_names_of_users_do_not_matter(seed):
    data = models(seed)
    order = np.random.default_rng(seed).permutation(len(data["y"]))
    moved = {
        "y": data["y"][order],
        "cluster": data["cluster"][order],
        "baseline": data["baseline"][order],
        "pruned": data["pruned"][:, order],
    }
    guards = {"logloss": 0.01, "gauc": None, "ndcg": None, "calibration": None}
    as_is = ask(data, guards=guards)
    for there, here in zip(as_is.deltas, ask(moved, guards=guards).deltas, strict=True):
        assert there.verdict == here.verdict
        assert [there.delta, there.ci_low, there.ci_high] == pytest.approx([here.delta, here.ci_low, here.ci_high])
    renamed = ask({**data, "cluster": 7919 * data["cluster"] - 5}, guards=guards)
    assert renamed.deltas == as_is.deltas


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), shift=st.floats(-50, 50), scale=st.floats(0.1, 20))
def test_auc_ignores_any_increasing_change_of_the_scores(seed, shift, scale):
    data = models(seed)
    moved = {**data, "baseline": data["baseline"] * scale + shift, "pruned": data["pruned"] * scale + shift}
    there, here = ask(data).decision, ask(moved).decision
    assert here.delta == pytest.approx(there.delta, abs=1e-3)  # rounding may tie scores that were a step apart
    assert here.units == there.units


def test_r2_and_rmse_ignore_a_common_shift_of_labels_and_scores():
    rng = np.random.default_rng(0)
    y = rng.normal(size=400)
    full, small = y + rng.normal(size=400), y + rng.normal(size=(3, 400))
    for metric in ("r2", "rmse", "mae"):
        here, there = (
            decide(y=y + by, baseline=full + by, pruned=small + by, task="regression", metric=metric, margin=0.1)
            for by in (0.0, 1000.0)
        )
        assert here.decision.delta == pytest.approx(there.decision.delta, abs=1e-9)
        assert here.decision.ci_low == pytest.approx(there.decision.ci_low, abs=1e-9)


@pytest.mark.parametrize("seeds", [1, 3])
def test_identical_scores_pass_with_a_margin_and_are_open_without_one(seeds):
    data = models(0)
    same = {**data, "pruned": np.repeat(data["baseline"][None], seeds, axis=0)}
    passed = ask(same, guards={"logloss": 0.001, "gauc": None}, draws=200)
    assert passed.verdict == "pass"
    intervals = np.array([(row.delta, row.ci_low, row.ci_high) for row in passed.deltas])
    np.testing.assert_allclose(intervals, np.zeros((3, 3)), atol=1e-14)  # sums of equal rows may round differently
    assert ask(same, margin=0.0).verdict == "inconclusive"


def test_margin_zero_means_not_worse_at_all():
    better = models(1, gap=-1.5)
    noisy = better["baseline"] * 0.2 + np.random.default_rng(0).random(len(better["y"])) * 0.5
    assert ask({**better, "baseline": noisy}, margin=0.0).verdict == "pass"
    assert ask({**better, "pruned": noisy}, margin=0.0).verdict == "fail"
    assert ask(better, margin=0.0).verdict == "inconclusive"


@pytest.mark.parametrize("seeds", [range(2), pytest.param(range(2, 8), marks=pytest.mark.slow)])
def test_a_larger_margin_never_undoes_a_pass_nor_a_smaller_one_a_fail(seeds):
    for seed in seeds:
        order = [ask(models(seed, gap=0.3), margin=margin).verdict for margin in (0.0, 0.002, 0.01, 0.05, 0.2)]
        rank = ["fail", "inconclusive", "pass"]
        assert [rank.index(verdict) for verdict in order] == sorted(rank.index(verdict) for verdict in order)


def test_the_artifact_interval_lies_within_the_one_over_retrainings():
    for seed in range(6):
        result = ask(models(seed))
        assert result.artifact.delta == result.decision.delta
        assert result.artifact.ci_low >= result.decision.ci_low
        assert result.artifact.ci_high <= result.decision.ci_high


def test_against_deployed_only_the_retrainings_add_seed_noise():
    """Only the noise of the retrainings counts then: with three of them a third of it instead of four thirds."""
    data = models(3)
    both, fixed = ask(data), ask(data, against="deployed")
    parts = [one.diagnostics["components"][0] for one in (both, fixed)]
    assert parts[0]["weight"] == pytest.approx(4 / 3)
    assert parts[1]["weight"] == pytest.approx(1 / 3)
    assert parts[0]["between_seed_variance"] == parts[1]["between_seed_variance"]
    assert parts[1]["seed_df"] == 2
    assert fixed.decision.delta == both.decision.delta
    assert fixed.decision.ci_low > both.decision.ci_low
    assert "vs. the one full model as trained" in fixed.sentence
    assert "as trained" not in both.sentence
    assert [one.diagnostics["against"] for one in (both, fixed)] == ["retrained", "deployed"]
    with pytest.raises(
        UsageError, match=r"^against=deployed: there is one deployed model, .* of 2 were given; give one, or "
    ):
        ask({**data, "baseline": data["pruned"][:2]}, against="deployed")


@pytest.mark.parametrize("noisy", ["pruned", "baseline"])
def test_a_noisier_arm_is_not_averaged_away_by_the_other(noisy):
    """Five trainings of one model that agree say nothing about two trainings of the other that differ."""
    rng = np.random.default_rng(4)
    signal = rng.normal(size=3000)
    y = (rng.random(3000) < 1 / (1 + np.exp(-2 * signal))).astype(int)

    def arm(noise: float, seeds: int) -> np.ndarray:
        return np.stack([1 / (1 + np.exp(-signal - noise * n * rng.normal(size=3000))) for n in range(seeds)])

    few, many = arm(0.5, 2), arm(0.01, 5)
    arms = {noisy: few, ("baseline" if noisy == "pruned" else "pruned"): many}
    parts = ask({"y": y, **arms}).diagnostics["components"][0]
    own = np.var([find_metric("auc").value(y, score) for score in few], ddof=1)
    assert parts["weight"] * parts["between_seed_variance"] >= own / 2
    assert parts["seed_df"] == 5


def test_the_shipped_seed_is_the_artifact():
    data = models(2)
    shipped = ask(data, shipped=1).artifact
    alone = ask({**data, "pruned": data["pruned"][1:2]}).decision
    assert shipped.delta == alone.delta
    assert shipped.ci_low == pytest.approx(alone.ci_low)


def test_one_training_each_agrees_with_statsmodels_and_says_what_it_leaves_out():
    rng = np.random.default_rng(3)
    y = rng.normal(size=500)
    full, small = y + 0.5 * rng.normal(size=500), y + 0.5 * rng.normal(size=500)
    margin = 0.05
    result = decide(y=y, baseline=full, pruned=small, task="regression", metric="mae", margin=margin, draws=0)
    quality = -np.abs(y - small), -np.abs(y - full)
    error = np.std(quality[0] - quality[1], ddof=1) / np.sqrt(500)
    _, (_, p_value, _), _ = ttost_paired(*quality, -margin, 10.0)
    assert result.diagnostics["components"][0]["standard_error"] == pytest.approx(error, rel=1e-9)
    assert (result.verdict == "pass") == (p_value < 0.045)
    for candidate in np.linspace(0.0, 0.3, 31):
        verdict = decide(
            y=y, baseline=full, pruned=small, task="regression", metric="mae", margin=candidate, draws=0
        ).verdict
        p = ttost_paired(*quality, -candidate, 10.0)[1][1]
        assert (verdict == "pass") == (p < 0.045) or abs(p - 0.045) < 0.002
    assert "without seed variance" in result.sentence
    assert not result.diagnostics["seed_noise_measured"]


def test_guards_are_judged_after_the_decision_and_a_failed_one_stops_the_pass():
    data = models(4, rows=3000)
    harmed = {**data, "pruned": data["pruned"] ** 3}  # same order, bad probabilities
    result = ask(harmed, guards={"logloss": 0.01, "calibration": None})
    assert result.decision.verdict == "pass"
    assert [row.verdict for row in result.deltas] == ["pass", "fail", None]
    assert result.verdict == "fail"
    assert "log loss" in result.sentence
    assert list(result.diagnostics["correction"]["levels"]) == ["logloss (all)"]


def test_slices_with_a_margin_share_the_error_by_holm_and_small_ones_are_counted():
    data = models(5, rows=3000)
    country = np.where(np.arange(3000) < 40, "XX", np.where(np.arange(3000) % 3 == 0, "FR", "DE"))
    data["y"][(np.arange(3000) % 11 == 0)] = 1
    eleventh = np.where(np.arange(3000) % 11 == 0, "one", "both")
    result = ask(data, slices={"country": country, "half": eleventh}, slice_margin=0.05)
    names = [row.slice for row in result.deltas]
    assert names == ["all", "country = DE", "country = FR", "half = both"]
    assert all(row.role == "guard" for row in result.deltas[1:])
    small = {one["slice"]: one["reason"] for one in result.diagnostics["small_slices"]}
    assert small["country = XX"] == "fewer than 50 rows"
    assert "test rows have the same label" in small["half = one"]
    reported = ask(data, slices={"country": country})
    assert [row.role for row in reported.deltas] == ["decision", "information", "information"]
    assert reported.diagnostics["correction"]["levels"] == {}


def test_guards_that_stay_open_share_the_error_and_one_alone_has_it_all():
    """The same rows of the same slice, once with another guard and once with slices too small to be guards."""
    data = models(5, rows=3000)
    country = np.where(np.arange(3000) % 3 == 0, "FR", "DE")
    few = np.where(country == "DE", "DE", np.char.add("x", (np.arange(3000) // 60).astype(str)))
    both, alone = (ask(data, slices={"country": labels}, slice_margin=1e-6) for labels in (country, few))
    assert [row.slice for row in both.deltas] == ["all", "country = DE", "country = FR"]
    assert [row.slice for row in alone.deltas] == ["all", "country = DE"]
    assert list(both.diagnostics["correction"]["levels"].values()) == pytest.approx([0.025, 0.025])
    assert list(alone.diagnostics["correction"]["levels"].values()) == pytest.approx([0.05])
    shared, whole = both.deltas[1], alone.deltas[1]
    assert shared.delta == whole.delta
    assert shared.ci_low < whole.ci_low
    assert shared.ci_high > whole.ci_high
    assert both.deltas[0] == alone.deltas[0], "the decision keeps the whole error"


def test_an_inconclusive_answer_says_what_would_decide():
    data = models(6, rows=200)
    result = ask(data, margin=0.004)
    assert result.verdict == "inconclusive"
    assert "test users" in result.needed
    assert "retrainings" in result.needed
    assert ask(models(6, rows=2000), margin=5.0).needed is None


def test_the_bootstrap_confirms_the_standard_errors():
    result = ask(models(7, rows=1200), guards={"logloss": None, "gauc": None}, draws=2000)
    for part in result.diagnostics["components"]:
        check = result.diagnostics["bootstrap"][part["metric"]]
        assert check["standard_error"] == pytest.approx(np.sqrt(part["row_variance"]), rel=0.1)


def test_a_kink_that_the_expansion_misses_is_widened_by_the_bootstrap():
    """Calibration is |log ratio|: at a ratio of exactly one its slope is zero, its sampling error is not."""
    rng = np.random.default_rng(8)
    p = rng.uniform(0.2, 0.8, 800)
    y = (rng.random(800) < p).astype(int)
    p = np.clip(p * y.sum() / p.sum(), 0, 1)
    pruned = np.clip(np.stack([p, p, p]) + 0.1 * rng.normal(size=(3, 800)), 0, 1)
    linear = ask({"y": y, "baseline": p, "pruned": pruned}, metric="calibration", draws=0).decision
    honest = ask({"y": y, "baseline": p, "pruned": pruned}, metric="calibration", draws=1000).decision
    assert honest.ci_high - honest.ci_low >= linear.ci_high - linear.ci_low


def test_a_reported_metric_that_cannot_be_computed_is_skipped_and_a_guard_is_refused():
    data = {**models(11), "cluster": np.arange(600)}
    result = ask(data, guards={"gauc": None})
    assert "none of the 600 users" in result.diagnostics["skipped_guards"]["gauc"]
    with pytest.raises(AuditError, match="metric=gauc"):
        ask(data, guards={"gauc": 0.01})


def test_inconclusive_guards_are_named_with_a_pass():
    result = ask(models(12, rows=3000), margin=0.02, guards={"logloss": 0.0})
    assert result.verdict == "pass"
    assert result.sentence.endswith("; inconclusive: log loss.")


@pytest.mark.parametrize(("rows", "verdict"), [(300, "inconclusive"), (20_000, "pass")])
def test_models_that_no_row_tells_apart_are_not_certain_to_be_equal(rows, verdict):
    """Rule of three: no difference in n rows leaves room for a loss of about 3 / n."""
    rng = np.random.default_rng(13)
    y = rng.integers(0, 3, rows)
    full = rng.dirichlet(np.ones(3), rows) + 0.3 * np.eye(3)[y]
    full /= full.sum(axis=1, keepdims=True)
    pruned = np.stack([full**1.1, full**0.9])  # other scores, same predicted classes
    result = decide(y=y, baseline=full, pruned=pruned, task="multiclass", metric="accuracy", margin=0.002, draws=50)
    assert result.decision.delta == 0
    assert result.verdict == verdict
    assert -result.decision.ci_low == pytest.approx(3 * 0.67 / rows, rel=0.2)


def test_class_codes_must_fit_the_scores():
    with pytest.raises(AuditError, match=r"y contains \[3\]; a multiclass target must be a class code from 0 to 2"):
        decide(y=np.array([0, 1, 2, 3] * 5), baseline=np.ones((20, 3)) / 3, pruned=np.ones((20, 3)) / 3,
               task="multiclass", metric="accuracy", margin=0.1)  # fmt: skip


def test_the_result_is_plain_data():
    data = models(9)
    result = ask(data, guards={"logloss": 0.01}, slices={"half": data["cluster"] % 2}, draws=100)
    assert json.loads(json.dumps(asdict(result), allow_nan=False))["verdict"] == result.verdict


def test_multiclass_and_regression_are_decided_too():
    rng = np.random.default_rng(10)
    y = rng.integers(0, 3, 900)
    full, *small = (rng.dirichlet(np.ones(3), 900) + 2 * np.eye(3)[y] for _ in range(4))
    scores = [s / s.sum(axis=1, keepdims=True) for s in (full, *small)]
    result = decide(
        y=y, baseline=scores[0], pruned=np.stack(scores[1:]), task="multiclass", metric="accuracy", margin=0.05,
        guards={"logloss": 0.1},
    )  # fmt: skip
    assert result.verdict == "pass"
    assert result.decision.baseline == pytest.approx((scores[0].argmax(1) == y).mean())


def test_activity_names_new_head_and_tail_users():
    train = np.repeat([1, 2, 3, 4], [100, 50, 5, 1])
    test = np.repeat([1, 2, 3, 4, 9], [10, 10, 10, 10, 5])
    found = activity(test, train)
    labels = np.array(found.labels)[found.codes]
    assert {user: labels[test == user][0] for user in (1, 2, 3, 4, 9)} == {
        1: "head", 2: "head", 3: "tail", 4: "tail", 9: "new",
    }  # fmt: skip
    assert not activity(test, np.array([], dtype=int)).codes.any()
    assert found.labels[0] == "new"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"margin": -0.1}, UsageError, "margin=-0.1: must not be negative"),
        ({"margin": float("nan")}, UsageError, "margin=nan"),
        ({"confidence": 95}, UsageError, "confidence=95: give a value between 0.5 and 1"),
        ({"metric": "rmse"}, UsageError, "metric=rmse does not fit task=binary; choose auc"),
        ({"metric": "gauc", "cluster": None}, UsageError, "metric=gauc is computed within users; name the user column"),
        ({"y": np.ones(600, dtype=int)}, AuditError, "all 600 test rows have the same label"),
        ({"y": np.full(600, 2)}, AuditError, r"y contains \[2\]; a binary target must be 0 or 1"),
        (
            {"y": np.zeros(10, dtype=int)},
            AuditError,
            r"baseline scores have shape \(600,\); give \(seeds, rows\) with rows=10",
        ),
        (
            {"metric": "gauc", "cluster": np.arange(600)},
            AuditError,
            "metric=gauc: none of the 600 users has rows of both",
        ),
        ({"baseline": np.full(600, np.nan)}, AuditError, "baseline scores contain 600 values that are not finite"),
        (
            {"metric": "logloss", "baseline": np.full(600, 3.0)},
            AuditError,
            "metric=logloss: baseline scores range from 3",
        ),
        ({"cluster": np.zeros(7, dtype=int)}, AuditError, r"unit has shape \(7,\); give one code per test row \(600\)"),
        ({"cluster": np.zeros(600, dtype=int)}, AuditError, "all test rows belong to a single unit"),
        (
            {"slices": {"country": np.zeros(3)}},
            AuditError,
            r"slice country: has shape \(3,\); give one label per test row",
        ),
        ({"shipped": 3}, UsageError, "shipped=3: give 0 to 2, the index of a pruned seed"),
    ],
)
def test_a_mistake_is_one_line(change, error, message):
    with pytest.raises(error, match=message) as caught:
        ask({**models(0), **change})
    assert "\n" not in str(caught.value)


def trained(y, rng, *, full, pruned, loss, noise=0.02):
    """Scores of several trainings of varying strength on the same rows."""
    shared = rng.normal(size=len(y))
    strength = 1.2 + noise * rng.normal(size=full + pruned) - loss * (np.arange(full + pruned) >= full)
    scores = strength[:, None] * y + 0.999 * shared + 0.04 * rng.normal(size=(full + pruned, len(y)))
    return {"baseline": scores[:full], "pruned": scores[full:]}


def test_numbers_of_trainings_that_would_decide():
    rng = np.random.default_rng(4)
    y = rng.integers(0, 2, 20_000)
    settings = {"y": y, "task": "binary", "metric": "auc", "margin": 0.006, "draws": 0}
    scores = trained(y, rng, full=1, pruned=3, loss=0.0)
    now, later = decide(**settings, **scores), decide(**settings, **scores, needed_at=(0.95, 0.9975))
    assert now.verdict == later.verdict == "inconclusive"
    enough, stricter = (one.diagnostics["enough_trainings"] for one in (now, later))
    for pairs in (enough, stricter):
        assert pairs
        assert all(pruned >= 3 and full >= 1 and pruned + full > 4 for pruned, full in pairs)
        assert sorted(pairs, key=lambda pair: pair[1]) == pairs == sorted(pairs, reverse=True)
    full = min(pair[1] for pair in stricter)
    fewest = [{b: a for a, b in pairs}[full] for pairs in (enough, stricter)]
    assert fewest[0] < fewest[1]
    assert "of the full model would give a pass" in now.needed
    assert now.needed != later.needed


def test_new_rows_are_judged_at_a_first_looks_confidence():
    rng = np.random.default_rng(4)
    y = rng.integers(0, 2, 2_000)
    settings = {"y": y, "task": "binary", "metric": "auc", "margin": 0.006, "draws": 0}
    scores = trained(y, rng, full=2, pruned=2, loss=0.0, noise=0.0)
    needed = [
        decide(**settings, **scores, confidence=0.9999, needed_at=at).needed.split(" test rows")[0]
        for at in ((0.95, 0.9975), (0.95, 0.9999), (0.9999, 0.9999))
    ]
    assert needed[0] == needed[1] != needed[2]


def test_no_number_of_trainings_helps_where_the_rows_do_not_tell():
    rng = np.random.default_rng(5)
    y = rng.integers(0, 2, 300)
    result = decide(
        y=y, task="binary", metric="auc", margin=0.001, draws=0, **trained(y, rng, full=1, pruned=3, loss=0, noise=0)
    )
    assert result.verdict == "inconclusive"
    assert result.diagnostics["enough_trainings"] == []
    assert result.needed.endswith("More trainings would not be enough.")


@pytest.mark.slow
def test_the_advised_number_of_trainings_decides_four_times_in_five():
    """On the same rows, if the true difference is the measured one."""
    rng = np.random.default_rng(6)
    y = rng.integers(0, 2, 4_000)
    settings = {"y": y, "task": "binary", "metric": "auc", "margin": 0.006, "draws": 0}
    decided, asked = 0, 0
    while asked < 150:
        first = decide(**settings, **trained(y, rng, full=2, pruned=4, loss=0.0))
        enough = first.diagnostics["enough_trainings"]
        if first.verdict != "inconclusive" or not enough or abs(first.decision.delta) > 0.0007:
            continue
        pruned, full = min(enough, key=sum)
        again = decide(**settings, **trained(y, rng, full=full, pruned=pruned, loss=0.0))
        asked, decided = asked + 1, decided + (again.verdict == "pass")
    assert 0.65 <= decided / asked <= 0.97


def test_no_more_trainings_of_a_deployed_model_are_advised():
    rng = np.random.default_rng(4)
    y = rng.integers(0, 2, 20_000)
    scores = trained(y, rng, full=1, pruned=3, loss=0.0)
    fixed = decide(y=y, task="binary", metric="auc", margin=0.004, draws=0, against="deployed", **scores)
    assert fixed.verdict == "inconclusive"
    [(pruned, full)] = fixed.diagnostics["enough_trainings"]
    assert full == 1
    assert pruned > 3

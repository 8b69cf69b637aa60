"""Choosing K: the grid on which it is confirmed, and the way along it under each rule."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from feature_audit.audit.run import _key
from feature_audit.config import AuditConfig
from feature_audit.config_files import load_config
from feature_audit.data import Prepared
from feature_audit.schema import Column, Field, ModelSchema
from feature_audit.search import KPoint, StudySummary, consensus
from feature_audit.search.rule import STEPS
from feature_audit.stages import confirmations as module
from feature_audit.stages.choice import Choice, confirm_k
from feature_audit.stages.confirmations import MOST_WORK, STEP, grid_around
from feature_audit.stages.retrain import seeds
from feature_audit.stages.select import MOST_TRIAL_WORK, _agree, _most_work, _ranked_together
from hypothesis import given
from hypothesis import strategies as st


@given(st.sets(st.integers(1, 300), min_size=1), st.data())
def test_grid_holds_the_anchor_and_neighbours_a_factor_apart(ks: set[int], data: st.DataObject) -> None:
    anchor = data.draw(st.sampled_from(sorted(ks)))
    grid = grid_around(sorted(ks), anchor)
    assert anchor in grid
    assert grid == sorted(set(grid))
    assert set(grid) <= ks
    upto = grid[: grid.index(anchor) + 1]
    assert all(small * STEP <= large for small, large in itertools.pairwise(upto))
    assert grid[-1] == max(ks), "the budget itself can always be reached"


FEATURES = 60
#: K of a curve with seven points up to 50.
KS = np.unique(np.geomspace(2, 50, 7).astype(int))


class Judge:
    """Stands for ``ValidationJudge``: the estimate at K is a function of K."""

    def __init__(self, quality: Callable[[int], float]) -> None:
        self.quality = quality

    def point(self, k: int, scores: Any) -> KPoint:
        return KPoint(k, 0.8 + self.quality(k), self.quality(k), 0.0005)


def prepared(features: int, group: int | None = None) -> Prepared:
    """Of numeric features f0, f1, ... in groups g0, g1, ... of a size, and as many validation as test rows."""
    schema = ModelSchema(tuple(Field(f"f{place}", "numeric", 9) for place in range(features)), "binary")
    columns = [
        Column(name, "Float64", "numeric", group=f"g{place // group}" if group else None)
        for place, name in enumerate(schema.names)
    ]
    return Prepared(
        Path(),
        schema,
        tuple(columns),
        (),
        {},
        {"train": 50_000, "validation": 100, "test": 100},
        {},
        "",
        {},
        {},
        {},
        "",
        "",
    )


def confirmed(
    rule: str,
    masked: list[float],
    quality: Callable[[int], float],
    *,
    work: float | Callable[[int], float] = 0.01,
    slots: int = 40,
    profile: str = "default",
    features: int = FEATURES,
    budget: int = 50,
    group: int | None = None,
    **settings: Any,
) -> Choice:
    """K from a masked curve up to ``slots`` of a budget, where a retraining costs ``work`` full trainings."""
    config = AuditConfig.model_validate({"k": budget, "metric": "auc", "k_rule": rule, "profile": profile, **settings})
    ks = np.unique(np.geomspace(group or 2, slots, len(masked)).astype(int) // (group or 1)) * (group or 1)
    points = [asdict(KPoint(int(k), 0.8 + d, d, 0.0005)) for k, d in zip(ks, masked, strict=False)]

    def train_one(_config: AuditConfig, _store: Any, schema: ModelSchema, **_: Any) -> Any:
        k = len(schema.fields)
        return None, None, {"work": work(k) if callable(work) else work, "epochs": 4}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "train_one", train_one)
        patch.setattr(module, "touched", lambda _, schema: parameters(len(schema.fields)))
        judge: Any = Judge(quality)
        store: Any = None
        full: Any = SimpleNamespace(work=1.0, facts={"epochs": 4})
        table = prepared(features, group)
        return confirm_k(config, table, store, judge, points, list(range(features)), 2, budget, full)


def parameters(k: int) -> int:
    """That a row of a model on K features touches."""
    return 100 + 8 * k


def share(k: int) -> float:
    """Work of a retraining at K that takes as many examples as the full model's training."""
    return parameters(k) / parameters(FEATURES)


@given(
    st.sampled_from(list(STEPS)),
    st.lists(st.floats(-0.02, 0.01), min_size=2, max_size=9),
    st.integers(0, 10**6),
    st.sampled_from([-0.0021, -0.001, 0.005]),
    st.sampled_from([2, 12, 40]),
    st.sampled_from([12, 50, FEATURES]),
    st.sampled_from([0.01, 0.2, 0.6, 5.0]),
)
def test_a_k_that_was_refuted_is_not_taken_while_a_larger_one_is_untried(
    rule: str, masked: list[float], seed: int, best: float, slots: int, budget: int, work: float
) -> None:
    """Whatever retrainings find, and whatever they cost."""
    found = best - 0.01 * np.random.default_rng(seed).random(FEATURES) ** 2
    choice = confirmed(
        rule, masked, lambda k: found[k - 1], work=work, slots=min(slots, budget), budget=budget, features=FEATURES
    )
    deltas = {point.k: point.delta for point in choice.retrained}
    largest = min(budget, FEATURES - 1)
    assert choice.k in deltas, "a K that was retrained"
    assert 2 <= min(deltas) <= max(deltas) <= largest
    assert choice.work == pytest.approx(work * len(deltas))
    assert all(deltas[k] == found[k - 1] for k in deltas)
    if deltas[choice.k] < -0.002:
        assert max(deltas) == largest
        assert deltas[choice.k] == max(deltas.values())
        tried = ", ".join(map(str, sorted(deltas)))
        assert f"no retrained K (tried: {tried}) is within the margin" in choice.reason
        assert f"K = {choice.k} comes closest" in choice.reason
        assert f"{deltas[choice.k]:+.4f} ±" in choice.reason
    else:
        assert choice.reason.startswith(f"K = {choice.k} is the smallest K")


@pytest.mark.parametrize(("features", "budget", "largest"), [(30, 30, 29), (30, 400, 29), (30, 24, 24)])
def test_a_refuted_k_is_followed_by_larger_ones_up_to_all_features_but_one(
    features: int, budget: int, largest: int
) -> None:
    """The search had 20 slots. The largest K is tried even where the one before it is less than a factor away."""
    found = confirmed(
        "assured", [-0.03, -0.02, 0.001], lambda k: -0.0106, slots=20, budget=budget, features=features, work=0.7
    )
    assert [point.k for point in found.retrained][-1] == largest
    assert found.evidence == "best"
    enough = confirmed(
        "assured", [-0.03, -0.02, 0.001], lambda k: 0.01 if k > 20 else -0.0106, slots=20, budget=budget,
        features=features, work=0.7,
    )  # fmt: skip
    assert enough.k > 20
    assert enough.evidence == "assured"


def test_whole_groups_are_not_split_on_the_way_up() -> None:
    """Twelve groups of five; the search had slots for four."""
    found = confirmed(
        "assured", [-0.05, -0.03, 0.01], lambda k: 0.01 if k >= 40 else -0.01, slots=20, budget=FEATURES, group=5,
        groups={f"g{number}": [f"f{place}" for place in range(5 * number, 5 * number + 5)] for number in range(12)},
        whole_groups=[f"g{number}" for number in range(12)],
    )  # fmt: skip
    assert found.k >= 40
    assert found.evidence == "assured"
    assert all(point.k % 5 == 0 for point in found.retrained)


def test_one_retraining_that_falls_short_is_not_called_the_only_k() -> None:
    found = confirmed("assured", [-0.05, 0.01], lambda k: -0.01, slots=2, budget=3, features=3)
    assert (found.k, found.evidence) == (2, "best")
    assert "no retrained K (tried: 2) is within the margin" in found.reason


def test_each_rule_walks_to_its_own_k() -> None:
    """The masked curve is too good at small K; what retrainings find rises with K, by much less than the margin."""
    masked = [-0.0019, -0.001, 0.0, 0.0001, 0.0002, 0.0003]
    found = {rule: confirmed(rule, masked, lambda k: 0.001 - 0.012 / k) for rule in STEPS}
    assert {rule: (choice.k, choice.evidence) for rule, choice in found.items()} == {
        "within_margin": (6, "within"), "assured": (12, "assured"), "one_standard_error": (21, "level"),
    }  # fmt: skip


def test_one_standard_error_measures_the_best_k_of_the_curve_first() -> None:
    """Without it, a small K would be compared with its neighbours alone."""
    masked = [-0.001, 0.0, 0.0002, 0.0004, 0.0041]
    found = confirmed("one_standard_error", masked, lambda k: 0.004 if k >= 40 else 0.0)
    assert 40 in [point.k for point in found.retrained]
    assert found.k == 40


def test_smaller_k_are_tried_one_by_one_while_they_are_forecast_to_be_enough() -> None:
    """The curve is .02 too low everywhere, and the first retraining says so."""
    masked = [-0.06, -0.05, -0.04, -0.03, -0.019, -0.018, -0.017]
    down = confirmed("assured", masked, lambda k: float(np.interp(k, KS, masked)) + 0.02, slots=50)
    assert [point.k for point in down.retrained] == [17, 29, 50], "the last is proposed; 10 is forecast to fall short"
    assert (down.k, down.evidence) == (17, "assured")


def test_larger_k_are_tried_one_by_one() -> None:
    """The curve is .02 too high everywhere, so its first K that is enough is not."""
    masked = [-0.06, 0.0, 0.0001, 0.0002, 0.0003, 0.021, 0.022]
    found = confirmed("assured", masked, lambda k: float(np.interp(k, KS, masked)) - 0.02, slots=50)
    assert [point.k for point in found.retrained] == [3, 5, 10, 17, 29]
    assert (found.k, found.evidence) == (29, "assured")


def test_a_smaller_k_that_is_forecast_to_fall_short_is_not_tried() -> None:
    """The curve is .01 too low at K = 29, which is proposed, and says so of 17 as well: not enough there."""
    masked = [-0.06, -0.05, -0.04, -0.03, -0.02, 0.01, 0.011]
    found = confirmed("assured", masked, lambda k: 0.02, slots=50)
    assert [point.k for point in found.retrained] == [29]
    assert (found.k, found.evidence) == (29, "assured")


@pytest.mark.parametrize("rule", list(STEPS))
def test_where_nothing_is_within_the_margin_the_budget_is_reached_and_the_best_taken(rule: str) -> None:
    found = confirmed(rule, [-0.05, -0.03, -0.02], lambda k: -1.0 / k)
    assert (found.k, found.evidence) == (50, "best")
    assert f"tried: {', '.join(str(point.k) for point in found.retrained)}) is within the margin" in found.reason


def test_trials_leave_enough_for_what_their_proposal_will_cost(tmp_path: Path) -> None:
    """Retrainings of nearly all features cost nearly as much as the full model; those of a few hardly anything."""
    full: Any = SimpleNamespace(work=10.0)
    for number, delta in enumerate([0.01, -0.01]):  # proposed are 2 of 60 features and 55 of them
        points = [asdict(KPoint(k, 0.8, d, 0.0005)) for k, d in [(2, delta), (55, 0.01)]]
        content = {"points": points, "order": list(range(FEATURES))}
        (tmp_path / f"trial_{number}.json").write_text(json.dumps(content), encoding="utf-8")
    config = AuditConfig.model_validate({"k": 55, "metric": "auc"})
    few, many = (_most_work(config, prepared(FEATURES), full, tmp_path, number) for number in (0, 1))
    assert few == 10.0 * MOST_TRIAL_WORK
    assert many == 0.0, "one trial is run whatever it costs, and no other"
    quick = AuditConfig.model_validate({"k": 55, "metric": "auc", "profile": "quick"})
    assert _most_work(quick, prepared(FEATURES), full, tmp_path, 0) < few


@pytest.mark.parametrize(("swapped", "agree"), [(0, True), (1, True), (4, False)])
def test_trials_agree_where_they_share_most_features(tmp_path: Path, swapped: int, agree: bool) -> None:
    """At the K that the better of two proposes, 20 of 60; how the others are ordered does not matter."""
    first = list(range(FEATURES))
    second = [*range(swapped, 20), *range(FEATURES - 1, 19, -1), *range(swapped)]
    for number, order in enumerate([first, second]):
        points = [asdict(KPoint(k, 0.8, d, 0.0005)) for k, d in [(5, -0.1), (20, 0.01), (40, 0.01)]]
        (tmp_path / f"trial_{number}.json").write_text(json.dumps({"points": points, "order": order}))
    config = AuditConfig.model_validate({"k": 55, "metric": "auc"})
    assert _agree(config, prepared(FEATURES), tmp_path, [0, 1]) == agree


def test_trials_rank_together_and_whole_groups_go_by_the_best_one(tmp_path: Path) -> None:
    """Of four finished trials, the last has fewer slots than the proposed K = 3."""
    orders = [[3, 0, 1, 2], [0, 1, 2, 3], [1, 0, 2, 3], [3, 2, 1, 0]]
    points = [asdict(KPoint(k, 0.8, delta, 0.0005)) for k, delta in ((2, -0.1), (3, 0.01))]
    for number, order in enumerate(orders):
        (tmp_path / f"trial_{number}.json").write_text(json.dumps({"order": order, "points": points}))
    rows = [{"number": 9, "state": "pruned", "value": 0.9, "slots": 4}]  # has left nothing to read
    for number, (value, slots) in enumerate([(0.1, 4), (0.3, 4), (0.2, 3), (0.2, 2)]):
        rows.append({"number": number, "state": "complete", "value": value, "slots": slots})
    summary = StudySummary(rows, best=1, importances={})

    def ranked(**given: Any) -> list[int]:
        return _ranked_together(AuditConfig(k=3, metric="auc", **given), prepared(4), tmp_path, summary)

    assert ranked() == consensus(orders[:3])
    assert consensus(orders[:3]) not in (orders[1], consensus(orders[1:]))
    assert ranked(groups={"a": ["a_*"]}, whole_groups=["a"]) == orders[1]


def test_retrainings_that_are_not_needed_cost_a_limited_share_of_a_full_training() -> None:
    """K = 12 is proposed. It is within the margin but not assured, so larger ones would only be better evidence."""
    masked = [-0.05, -0.04, -0.03, 0.01, 0.01, 0.01]

    def choose(first: float) -> Choice:
        return confirmed("assured", masked, lambda k: first if k < 50 else 0.01, work=lambda k: 0.5 * share(k))

    optional, needed = choose(-0.0015), choose(-0.01)
    assert 1 < len(optional.retrained) < len(needed.retrained)
    assert optional.work <= MOST_WORK < needed.work
    assert (optional.evidence, needed.evidence) == ("level", "assured")
    assert needed.k == 50


def test_smaller_k_are_not_tried_where_they_would_cost_too_much() -> None:
    masked = [-0.05, -0.04, -0.03, 0.01, 0.01, 0.01]  # K = 12 is proposed, and everything suffices
    for length, tried in ((1.0, [6, 12]), (5.0, [12])):
        found = confirmed("assured", masked, lambda k: 0.04, work=lambda k, by=length: by * share(k))  # type: ignore[misc]
        assert [point.k for point in found.retrained][-len(tried) :] == tried


@pytest.mark.parametrize("profile", ["default", "quick"])
def test_all_features_again_are_not_worth_a_confirmation(profile: str) -> None:
    """The curve proposes all 50, for masked networks need more features than retrained ones, or nothing less holds."""
    masked = [-0.05, -0.04, -0.03, -0.02, -0.01, 0.01]

    def choose(enough: int) -> Choice:
        def quality(k: int) -> float:
            return 0.01 if k >= enough else -0.01

        return confirmed("assured", masked, quality, slots=50, features=50, profile=profile)

    fewer = choose(enough=20)
    assert (fewer.k, fewer.evidence) == (26, "assured")
    none = choose(enough=50)
    assert (none.k, none.evidence) == (26, "best"), "49 is no better, and a verdict on 26 says more than one on all"
    assert none.retrained[-1].k == 49
    assert 50 not in [point.k for point in (*fewer.retrained, *none.retrained)]


@pytest.mark.parametrize(
    ("spent", "each", "count"),
    [(3.0, 0.3, 5), (3.0, 0.41, 3), (3.0, 0.39, 4), (4.5, 0.3, 3), (9.0, 1.0, 3), (3.0, 0.0, 5)],
)
def test_seeds_become_fewer_where_the_audit_would_cost_much(spent: float, each: float, count: int) -> None:
    full: Any = SimpleNamespace(work=10.0, facts={"epochs": 4})
    selection: Any = SimpleNamespace(choice=SimpleNamespace(retraining_work=10 * each), work=10 * spent)
    assert seeds(load_config(None, {}), full, selection) == count
    assert seeds(load_config(None, {"seeds": 7}), full, selection) == 7


def test_retrainings_may_be_as_long_as_the_longest_training_so_far() -> None:
    """The confirmation at the chosen K may have stopped early by chance: three retrainings would become five."""

    def measured(length: float) -> Choice:
        return confirmed("within_margin", [0.0] * 4, lambda k: 0.01 - 0.2 / k, work=lambda k: length * share(k))

    for length in (0.1, 3.0):  # of the confirmations, where the full model's is 1
        found = measured(length)
        assert len(found.retrained) > 1
        assert found.work == pytest.approx(length * sum(share(point.k) for point in found.retrained))
        assert found.retraining_work == pytest.approx(max(length, 1.0) * share(found.k))
        assert Choice.from_dict(found.to_dict()) == found


@pytest.mark.parametrize("other", [{"profile": "quick"}, {"trials": 3, "profile": "default"}])
def test_a_search_under_another_limit_is_another_search(other: dict[str, Any]) -> None:
    """The profile limits the confirmations, ``auto`` the trials: neither study may be taken for the other's."""
    keys = [_key("select", load_config(None, given), {}).digest for given in ({}, other)]
    assert keys[0] != keys[1]

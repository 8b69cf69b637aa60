"""Choosing K: the grid on which it is confirmed, and the way along it under each rule."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from feature_audit.config import AuditConfig
from feature_audit.config_files import load_config
from feature_audit.data import Prepared
from feature_audit.schema import Field, ModelSchema
from feature_audit.search import KPoint, StudySummary, consensus
from feature_audit.search.rule import STEPS
from feature_audit.stages import confirmations as module
from feature_audit.stages.audit import _key
from feature_audit.stages.baseline import touched_share
from feature_audit.stages.choice import Choice, confirm_k
from feature_audit.stages.confirmations import MOST_CONFIRMATIONS, STEP, grid_around, larger_ks
from feature_audit.stages.cost import FEWEST_SEEDS
from feature_audit.stages.retrain import plan
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


@given(st.integers(1, 300), st.integers(1, 400))
def test_larger_k_end_at_the_budget(k: int, high: int) -> None:
    larger = larger_ks(k, high)
    if k >= high:
        assert larger == []
    else:
        assert larger[-1] == high
        assert larger == sorted(set(larger))
        assert larger[0] > k


FEATURES = 60
#: K of a curve with seven points up to 50.
KS = np.unique(np.geomspace(2, 50, 7).astype(int))


class Judge:
    """Stands for ``ValidationJudge``: the estimate at K is a function of K."""

    def __init__(self, quality: Callable[[int], float]) -> None:
        self.quality = quality

    def point(self, k: int, scores: Any) -> KPoint:
        return KPoint(k, 0.8 + self.quality(k), self.quality(k), 0.0005)


def prepared(features: int) -> Prepared:
    """Of numeric features f0, f1, ... and as many validation as test rows."""
    schema = ModelSchema(tuple(Field(f"f{place}", "numeric", 9) for place in range(features)), "binary")
    return Prepared(
        Path(), schema, (), (), {}, {"train": 50_000, "validation": 100, "test": 100}, {}, "", {}, {}, {}, "", ""
    )


def confirmed(
    rule: str,
    masked: list[float],
    quality: Callable[[int], float],
    *,
    work: float | Callable[[int], float] = 0.01,
    slots: int = 40,
    left: float = math.inf,
    profile: str = "default",
    features: int = FEATURES,
    limits: list[int | None] | None = None,
    cut: tuple[int, ...] = (),
    **settings: Any,
) -> Choice:
    """K from a masked curve up to ``slots`` of a budget of 50, where a retraining costs ``work`` full trainings.

    What limits the epochs of retrainings is added to ``limits``; those at K in ``cut`` are ended by it.
    """
    config = AuditConfig.model_validate({"k": 50, "metric": "auc", "k_rule": rule, "profile": profile, **settings})
    ks = np.unique(np.geomspace(2, slots, len(masked)).astype(int))
    points = [asdict(KPoint(int(k), 0.8 + d, d, 0.0005)) for k, d in zip(ks, masked, strict=False)]

    def train_one(_config: AuditConfig, _store: Any, schema: ModelSchema, **named: Any) -> Any:
        if limits is not None:
            limits.append(named["most_epochs"])
        k = len(schema.fields)
        return None, None, {"work": work(k) if callable(work) else work, "epochs": 4, "cut": k in cut}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "train_one", train_one)
        judge: Any = Judge(quality)
        store: Any = None
        full: Any = SimpleNamespace(work=1.0, facts={"epochs": 4})
        return confirm_k(config, prepared(features), store, judge, points, list(range(features)), 2, 50, full, left)


@given(
    st.sampled_from(list(STEPS)),
    st.lists(st.floats(-0.02, 0.01), min_size=2, max_size=9),
    st.floats(-0.02, 0.01),
    st.floats(0, 0.05),
    st.sampled_from([0.01, 0.2, 0.6]),
)
def test_the_chosen_k_was_retrained_or_is_said_not_to_be_and_stays_in_the_budget(
    rule: str, masked: list[float], top: float, slope: float, work: float
) -> None:
    found = confirmed(rule, masked, lambda k: top - slope / k, work=work)
    ks = [point.k for point in found.retrained]
    if found.evidence == "unconfirmed":
        assert max(ks) < found.k <= 50
        assert all(point.delta < -0.002 for point in found.retrained)
    else:
        assert found.k in ks
    assert 2 <= min(ks) <= max(ks) <= 50
    assert len(ks) == len(set(ks)) <= MOST_CONFIRMATIONS
    assert found.work == pytest.approx(work * len(ks))


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
    assert "no K that was measured" in found.reason


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
    """Of four finished trials, two know feature 2 by heart, and the last has fewer slots than the proposed K = 3."""
    orders, by_heart = [[3, 0, 1, 2], [0, 1, 2, 3], [1, 0, 2, 3], [3, 2, 1, 0]], [[2], [3], [2], []]
    points = [asdict(KPoint(k, 0.8, delta, 0.0005)) for k, delta in ((2, -0.1), (3, 0.01))]
    for number, (order, heart) in enumerate(zip(orders, by_heart, strict=True)):
        content = {"order": order, "by_heart": heart, "points": points}
        (tmp_path / f"trial_{number}.json").write_text(json.dumps(content))
    rows = [{"number": 9, "state": "pruned", "value": 0.9, "slots": 4}]  # has left nothing to read
    for number, (value, slots) in enumerate([(0.1, 4), (0.3, 4), (0.2, 3), (0.2, 2)]):
        rows.append({"number": number, "state": "complete", "value": value, "slots": slots})
    summary = StudySummary(rows, best=1, importances={})

    def ranked(**given: Any) -> tuple[list[int], list[int]]:
        config = AuditConfig(k=3, metric="auc", **given)
        order, heart = _ranked_together(config, prepared(4), tmp_path, summary)
        return order, np.flatnonzero(heart).tolist()

    assert ranked() == (consensus(orders[:3]), [2])
    assert consensus(orders[:3]) not in (orders[1], consensus(orders[1:]))
    assert ranked(groups={"a": ["a_*"]}, whole_groups=["a"]) == (orders[1], [3])


def test_confirmations_leave_enough_for_the_final_retrainings() -> None:
    """Nothing suffices, so K would go up to the budget; the larger K is, the dearer, and three must be left over."""
    schema = prepared(FEATURES).schema

    def work(k: int) -> float:
        return 0.4 * touched_share(load_config(None, {}), schema, schema.keep(schema.names[:k]))

    masked = [-0.05, -0.001, 0.001, 0.0011, 0.0012, 0.0013, 0.0014]
    found = {left: confirmed("assured", masked, lambda k: -1.0 / k, work=work, left=left) for left in (math.inf, 1.9)}
    largest = {left: max(point.k for point in choice.retrained) for left, choice in found.items()}
    assert largest[math.inf] == 50
    assert len(found[1.9].retrained) > 1
    full_length = work(found[1.9].k) / 0.4
    assert found[1.9].work + FEWEST_SEEDS * full_length <= 1.9
    assert found[math.inf].work + FEWEST_SEEDS * work(largest[math.inf]) > 1.9
    spent = confirmed("assured", masked, lambda k: -1.0 / k, work=work, left=-1.0)
    assert len(spent.retrained) == 1, "never none"


def test_a_training_that_stopped_early_is_no_promise_that_the_next_ones_will() -> None:
    """Everything suffices, and retrainings happen to take a tenth of the examples of the full model's training."""
    schema = prepared(FEATURES).schema

    def share(k: int) -> float:
        return touched_share(load_config(None, {}), schema, schema.keep(schema.names[:k]))

    def retrained(left: float) -> list[int]:
        masked = [-0.05, -0.04, -0.03, 0.01, 0.01, 0.01]
        found = confirmed("assured", masked, lambda k: 0.04, work=lambda k: 0.1 * share(k), left=left)
        return [point.k for point in found.retrained]

    most = 0.1 * share(12) + share(6) + FEWEST_SEEDS * share(12)  # K = 12 is proposed, 6 is forecast
    assert retrained(0.99 * most) == [12], "three retrainings of the first K may be ten times as long"
    assert retrained(1.01 * most)[-2:] == [6, 12]


def test_a_choice_knows_which_of_its_retrainings_were_cut() -> None:
    masked = [-0.05, -0.04, -0.03, 0.01, 0.01, 0.01]
    found = confirmed("assured", masked, lambda k: -0.01 if k < 20 else 0.01, cut=(12, 40))
    assert [point.k for point in found.retrained] == [12, 21]
    assert found.cut == [12]
    assert Choice.from_dict(found.to_dict()) == found


def test_where_a_larger_k_is_too_dear_to_measure_it_is_taken_unconfirmed() -> None:
    """K = 12 is proposed and falls short; three retrainings are affordable, a confirmation beside them is not."""
    masked = [-0.05, -0.04, -0.03, 0.01, 0.01, 0.01]
    found = confirmed("assured", masked, lambda k: -0.0042 if k < 30 else 0.01, work=0.3, left=1.3)
    assert [point.k for point in found.retrained] == [12]
    assert (found.k, found.evidence) == (21, "unconfirmed")
    assert "K = 12 came closest: validation auc 0.7958, -0.0042" in found.reason
    assert 0.3 < found.retraining_work < 0.3 * 21 / 12, "of the larger K, which touches a little more"
    enough = confirmed("assured", masked, lambda k: -0.0042 if k < 20 else 0.01, work=0.3, left=9.0)
    assert (enough.k, enough.evidence) == (21, "assured"), "what it was would have been found out"


def test_a_k_that_falls_short_is_followed_by_a_larger_one_even_where_trainings_are_long() -> None:
    """They are cut where the limit would be exceeded; a K that nobody has measured may be wrong by any amount."""
    schema = prepared(FEATURES).schema

    def share(k: int) -> float:
        return touched_share(load_config(None, {}), schema, schema.keep(schema.names[:k]))

    def retrained(left: float) -> list[int]:
        masked, length = [-0.05, -0.04, -0.03, 0.01, 0.01, 0.01], 5.0  # in full trainings' examples
        found = confirmed(
            "assured", masked, lambda k: -0.01 if k < 20 else 0.01, work=lambda k: length * share(k), left=left
        )
        return [point.k for point in found.retrained]

    enough = 5 * share(12) + share(21) + FEWEST_SEEDS * share(40)  # 40 is what would be taken if 21 fell short
    assert retrained(0.99 * enough) == [12]
    assert retrained(1.01 * enough) == [12, 21]


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
    assert (none.k, none.evidence) == (26, "best"), "a verdict on 26 says more than one on all"
    assert 50 not in [point.k for point in (*fewer.retrained, *none.retrained)]


def test_the_quick_profile_starts_at_a_k_that_it_can_afford() -> None:
    """K = 40 of 60 is proposed and everything suffices; work is in proportion to the parameters that a row touches."""
    schema = prepared(FEATURES).schema

    def work(k: int) -> float:
        return touched_share(load_config(None, {}), schema, schema.keep(schema.names[:k]))

    def first(left: float, profile: str) -> int:
        masked = [-0.05, -0.04, -0.03, -0.02, -0.01, 0.01]
        found = confirmed("assured", masked, lambda k: 0.01, work=work, left=left, profile=profile)
        return max(point.k for point in found.retrained)

    all_four = (1 + FEWEST_SEEDS) * work(40)
    assert first(all_four * 1.01, "quick") == first(all_four * 0.9, "default") == 40
    assert 20 <= first(all_four * 0.9, "quick") < 40
    assert first(0.1, "quick") == 40, "nothing near it fits: the limit is missed anyway"


@pytest.mark.parametrize(
    ("spent", "each", "seeds"),
    [(3.0, 0.3, 5), (3.0, 0.41, 3), (3.0, 0.39, 4), (4.5, 0.3, 3), (9.0, 1.0, 3), (3.0, 0.0, 5)],
)
def test_seeds_become_fewer_where_the_audit_would_be_dear(spent: float, each: float, seeds: int) -> None:
    full: Any = SimpleNamespace(work=10.0, facts={"epochs": 4})
    table = prepared(FEATURES)
    selection: Any = SimpleNamespace(
        choice=SimpleNamespace(retraining_work=10 * each), work=10 * spent, names=table.schema.names[:6]
    )
    assert plan(load_config(None, {}), table, full, selection).seeds == seeds
    assert plan(load_config(None, {"seeds": 7}), table, full, selection).seeds == 7


def test_a_pruned_model_may_train_as_long_as_the_limit_allows_and_at_least_as_long_as_the_full_one() -> None:
    """The full model stopped after 4 epochs, at 10 units of work; half of the features cost about half as much."""
    table = prepared(FEATURES)
    full: Any = SimpleNamespace(work=10.0, facts={"epochs": 4})
    half = table.schema.names[: FEATURES // 2]
    epoch = 10.0 / 4 * touched_share(load_config(None, {}), table.schema, table.schema.keep(half))

    def limit(spent: float, given: dict[str, Any] | None = None) -> int | None:
        selection: Any = SimpleNamespace(choice=SimpleNamespace(retraining_work=99.0), work=10 * spent, names=half)
        return plan(load_config(None, given or {}), table, full, selection).most_epochs

    for spent in (1.0, 2.0, 3.0):
        most = limit(spent)
        assert most is not None
        assert FEWEST_SEEDS * most * epoch <= 10 * (5 - spent) < FEWEST_SEEDS * (most + 1) * epoch
    assert limit(4.9) == limit(9.0) == 4
    assert limit(-1e6) is None, "no training would ever be as long"
    for other in ({"seeds": 3}, {"trials": 2}, {"profile": "thorough"}):
        assert limit(3.0, other) is None, "numbers that were given are run, and thorough has no limit"


def test_a_confirmation_is_no_longer_than_the_final_retrainings_could_be() -> None:
    """Otherwise it would promise what they cannot keep. It and three more share what is left."""
    limits: list[int | None] = []
    for left in (math.inf, 4.0, 0.1):
        confirmed("assured", [0.01] * 4, lambda k: 0.01, work=0.2, left=left, limits=limits)
    schema = prepared(FEATURES).schema
    epoch = 1 / 4 * touched_share(load_config(None, {}), schema, schema.keep(schema.names[:2]))
    assert limits[0] is None
    assert limits[-2] == int(4.0 / (1 + FEWEST_SEEDS) / epoch)
    assert limits[-1] == 4
    confirmed("assured", [0.01] * 4, lambda k: 0.01, work=0.2, left=0.1, limits=limits, trials=2)
    assert limits[-1] is None, "a number of trials is run whatever it costs"


def test_retrainings_may_be_as_long_as_the_longest_training_so_far() -> None:
    """The confirmation at the chosen K may have stopped early by chance: three retrainings would become five."""
    schema = prepared(FEATURES).schema

    def share(k: int) -> float:
        return touched_share(load_config(None, {}), schema, schema.keep(schema.names[:k]))

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

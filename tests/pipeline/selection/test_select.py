"""The whole selection through its public entry, on a small log with known truth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from data_helpers import prepared_of
from feature_audit.config.files import load_config
from feature_audit.data import Store
from feature_audit.errors import AuditError
from feature_audit.models import build_model, predict, train
from feature_audit.models.training import Pace
from feature_audit.selection import (
    Constraints,
    FullModel,
    SearchSpace,
    Selection,
    SelectionPlan,
    select_features,
)
from feature_audit.selection.trial import SelectionObjective, path_value
from feature_audit.stages.select import plan_of
from hypothesis import given
from hypothesis import strategies as st

SIGNAL, NOISE = 4, 8
CONFIG = load_config(None, {"metric": "auc", "margin": "0.02", "trials": "2"})


def log_of(rows: int = 1_500, seed: int = 0) -> pl.DataFrame:
    """Signals s0 to s3 with decreasing effects, and noise."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, SIGNAL + NOISE))
    logit = x[:, :SIGNAL] @ [1.6, 1.2, 0.9, 0.7]
    names = [f"s{place}" for place in range(SIGNAL)] + [f"n{place}" for place in range(NOISE)]
    frame = pl.DataFrame(dict(zip(names, x.T, strict=True)))
    return frame.with_columns(y=pl.Series((random.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int8)))


@dataclass
class Case:
    """A trained full model on a store, and a function that retrains."""

    store: Store
    full: FullModel
    retrained: list[list[int]]
    numbers: list[int]
    weights: dict[str, torch.Tensor]

    def model_of(self, kept: np.ndarray) -> torch.nn.Module:
        schema = self.store.schema.keep(np.asarray(self.store.schema.names)[kept])
        torch.manual_seed(0)
        return build_model("mlp", schema, embedding_dim=4, params={})

    def scores(self, kept: np.ndarray, seed: int) -> tuple[torch.nn.Module, np.ndarray]:
        model = self.model_of(kept)
        schema = self.store.schema.keep(np.asarray(self.store.schema.names)[kept])
        train(model, self.store, schema, config=CONFIG.training, task="binary", seed=seed, device="cpu")
        return model, predict(model, self.store, "validation", schema, task="binary", device="cpu")

    def retrain(self, kept: Sequence[np.ndarray], first: int) -> list[tuple[np.ndarray, float]]:
        self.retrained.extend(one.tolist() for one in kept)
        self.numbers.extend(range(first, first + len(kept)))
        return [(self.scores(one, 100 + number)[1], 1.0) for number, one in enumerate(kept, first)]

    def plan(self, constraints: Constraints, **changes: Any) -> SelectionPlan:
        return replace(plan_of(CONFIG, self.store, constraints), **changes)

    def select(self, constraints: Constraints, **changes: Any) -> Selection:
        self.retrained.clear()
        self.numbers.clear()
        plan = self.plan(constraints, **changes)
        return select_features(self.full, self.store, constraints, plan, retrain=self.retrain)

    @cached_property
    def plain_and_retrained(self) -> tuple[Selection, list[list[int]]]:
        """The selection with default settings, and the sets that it retrained."""
        return self.select(ALL), self.retrained.copy()

    @property
    def plain(self) -> Selection:
        """The selection with default settings."""
        return self.plain_and_retrained[0]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    folder = tmp_path_factory.mktemp("selection")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    _, store = prepared_of(log_of(), folder)
    empty = Case(store, FullModel(torch.nn.Identity(), None, None, 1), [], [], {})
    model, scores = empty.scores(np.arange(SIGNAL + NOISE), 0)
    train_scores = predict(model, store, "train", store.schema, task="binary", device="cpu")
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    yield replace(empty, full=FullModel(model.eval(), train_scores, scores, 1_000), weights=weights)
    torch.set_num_threads(threads)


ALL = Constraints(n_features=12, min_k=1, max_k=12)


def test_finds_the_signals_confirms_k_and_accounts_for_its_work(case: Case) -> None:
    found, retrained = case.plain_and_retrained
    assert sorted(found.order[:SIGNAL].tolist()) == [0, 1, 2, 3]
    assert sorted(found.order.tolist()) == list(range(12))
    assert found.rank[found.order[0]] == 1
    assert found.evidence == "confident"
    assert found.k <= SIGNAL
    assert found.kept.tolist() == sorted(found.order[: found.k].tolist())
    assert retrained[-1] == found.kept.tolist() or found.n_confirmations > 1
    assert found.masks.shape == (2, 12)
    assert (found.masks.sum(axis=1) == found.k).all()
    masked = [point.k for point in found.curve if point.source == "masked"]
    assert masked == sorted(masked)
    assert max(masked) == 12
    trials = sum(row.notes["compute"] for row in found.trials)
    assert trials > 0
    asked = len(case.full.train_scores) * 1_000 / 3
    assert found.compute > trials + found.n_confirmations + asked, "curve, confirmations, and the full model's answers"
    assert all(torch.equal(case.weights[name], value) for name, value in case.full.model.state_dict().items())


def test_retrainings_are_compared_with_the_model_that_is_audited(case: Case) -> None:
    """The network with the gates may be only a reference if a team trains the full model."""
    perfect = case.store.target("validation") * 0.8 + 0.1
    other = replace(case, full=replace(case.full, compared_with=perfect))
    found, plain = other.select(ALL), case.plain
    assert [p for p in found.curve if p.source == "masked"] == [p for p in plain.curve if p.source == "masked"]
    compare = [(point.metric - 1.0, point.delta) for point in found.curve if point.source == "retrained"]
    assert compare
    assert all(delta == pytest.approx(wanted, abs=1e-9) for wanted, delta in compare)


def test_all_features_are_never_the_answer_to_which_can_go(case: Case) -> None:
    """Even with a strict margin: K = N would compare the full model with itself."""
    strict = replace(case.plan(ALL).criterion, margin=0.0, confidence=0.9999)
    found = case.select(ALL, criterion=strict, trials=1)
    assert case.numbers == list(range(found.n_confirmations)), "each with a seed of its own"
    assert found.n_confirmations > 1
    assert found.k < 12
    assert found.evidence == "best_effort"
    assert all(len(kept) < 12 for kept in case.retrained)


def test_the_same_seed_gives_the_same_selection(case: Case) -> None:
    first, again = case.select(ALL, trials=1), case.select(ALL, trials=1)
    assert again.order.tolist() == first.order.tolist()
    assert again.curve == first.curve
    assert case.select(ALL, trials=1, seed=5).trials[0].value != first.trials[0].value


def test_trials_differ_in_seed_and_settings(case: Case) -> None:
    found = case.plain
    first, second = found.trials
    assert first.settings["slots"] == 12
    assert first.settings != second.settings
    assert first.value != second.value
    assert -1 < first.value < 0, "minus a held-out loss"
    alone = [set(row.notes["order"][: found.k]) for row in found.trials]
    assert [set(np.flatnonzero(mask)) for mask in found.masks] == alone, "what each trial would keep by itself"
    orders = [row.notes["order"] for row in found.trials]
    differ = [k for k in range(1, 12) if set(orders[0][:k]) != set(orders[1][:k])]
    assert differ, "beyond the signals they differ by chance"
    for k in differ:
        assert [set(np.flatnonzero(mask)) for mask in case.plain.at(k).masks] == [set(order[:k]) for order in orders]


def test_trials_of_the_same_settings_differ_by_their_seeds(case: Case) -> None:
    space = SearchSpace((12, 12), (6.3, 6.3), (0.16, 0.16), (0.75, 0.75))
    first, second = case.select(ALL, space=space).trials
    assert first.settings == second.settings
    assert first.value != second.value


def test_the_forecast_knows_how_large_validation_and_test_are(case: Case) -> None:
    """180 validation and 300 test rows: the test split's standard error is smaller than validation's."""
    rows = {split: case.store.rows(split) for split in ("validation", "test")}
    assert case.plan(ALL).criterion.test_ratio == pytest.approx(math.sqrt(rows["validation"] / rows["test"]))
    assert rows["validation"] < rows["test"]


def test_protected_excluded_and_fixed_k_are_kept_to(case: Case) -> None:
    constraints = Constraints(n_features=12, min_k=4, max_k=4, protected=(11,), excluded=(0, 5))
    found = case.select(constraints, trials=1)
    assert (found.k, found.evidence) == (4, "fixed")
    assert case.retrained == [], "a given K is not confirmed"
    assert found.order[0] == 11
    assert set(found.order[-2:]) == {0, 5}
    assert set(found.kept.tolist()) == {1, 2, 3, 11}


def test_whole_groups_are_kept_or_dropped_together(case: Case) -> None:
    groups = (0, 0, 1, 1, *range(2, 10))
    found = case.select(Constraints(n_features=12, min_k=1, max_k=6, groups=groups), trials=1)
    kept = set(found.kept.tolist())
    assert len(kept & {0, 1}) != 1
    assert len(kept & {2, 3}) != 1
    with pytest.raises(AuditError, match=r"k=1: no set of whole groups has 1 to 1 .* smallest|k=1: no set of whole"):
        case.select(Constraints(n_features=12, min_k=1, max_k=1, groups=(0,) * 6 + (1,) * 6), trials=1)


def test_a_wide_table_is_judged_few_rows_at_a_time(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """4,096 rows of 20,000 embeddings take 2.6 GB, and a forward pass keeps several copies."""
    objective = SelectionObjective(case.full, case.store, ALL, case.plan(ALL))
    whole = [len(target) for _, target in objective.validation_batches()]
    monkeypatch.setattr("feature_audit.models.contract._MOST_CELLS", 64 * ALL.n_features)
    parts = [len(target) for _, target in objective.validation_batches()]
    assert (len(whole), max(parts), sum(parts)) == (1, 64, sum(whole))


def test_a_high_cost_moves_a_feature_back(case: Case) -> None:
    plain = case.plain
    last = int(plain.order[SIGNAL - 1])
    prior = tuple(-3.0 if feature == last else 0.0 for feature in range(12))
    costly = case.select(replace(ALL, prior=prior), trials=1)
    assert costly.rank[last] > plain.rank[last], "a prior is subtracted, not added"


@pytest.mark.parametrize(
    "selector",
    [pytest.param("cae", marks=pytest.mark.slow), "mutual_information", pytest.param("random", marks=pytest.mark.slow)],
)
def test_every_kind_of_selector_goes_the_same_way(case: Case, selector: str) -> None:
    found = case.select(ALL, selector=selector)
    assert sorted(found.order.tolist()) == list(range(12))
    assert len(found.trials) == (2 if selector == "cae" else 1), "a baseline has nothing to repeat"
    assert found.n_confirmations >= 1


@given(st.dictionaries(st.integers(1, 300), st.floats(0.1, 2.0), min_size=1))
def test_a_path_is_worth_minus_its_mean_loss(losses: dict[int, float]) -> None:
    value = path_value(losses, 300)
    assert -max(losses.values()) - 1e-9 <= value <= -min(losses.values()) + 1e-9
    better = {k: loss - 0.05 for k, loss in losses.items()}
    assert path_value(better, 300) == pytest.approx(value + 0.05)
    assert path_value({**losses, 400: 9.0, 300: 0.5}, 300) == pytest.approx(path_value({**losses, 300: 0.5}, 300)), "K"


@pytest.mark.parametrize(("rows", "size"), [(1_000_000, 1024), (54_400, 512), (7_000, 64), (1_400, 32)])
def test_few_rows_take_small_batches(case: Case, rows: int, size: int) -> None:
    """A selector needs a number of steps; with larger batches these would be many epochs of a small table."""

    class Sized:
        schema = case.store.schema

        def rows(self, split: str) -> int:
            return rows

        effective_rows = rows

    store: Any = Sized()
    found = plan_of(CONFIG, store, ALL).batch_size
    assert found == size <= Pace.of(rows, CONFIG.training, store.schema).batch_size
    assert found == 32 or math.ceil(rows / found) >= 100

"""The model face: contract of the path, recovery of planted signals, bad input."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from concrete_selectors import PathSettings, SelectionStopped, Teacher
from concrete_selectors import fit_path as path_module
from planted import learn


@pytest.mark.parametrize("selector", ["ip_cae", "cae"])
def test_finds_the_signals_of_every_task(any_task: SimpleNamespace, selector: str) -> None:
    path = learn(any_task, settings={"selector": selector})
    kept = set(path.subset(3).tolist())
    assert {1, 2} <= kept
    assert len(kept & {0, 3}) == 1
    assert path.loss_at[3] < path.loss_at[1]


def test_an_id_that_the_network_has_memorised_goes(make_task: Callable[..., SimpleNamespace]) -> None:
    """Train rows would keep it: by their labels it is the best of all features."""
    task = make_task("binary", rows=6000, id_values=2000, epochs=12)
    path = learn(task, settings={"k_max": 8, "k_min": 2})
    assert task.n_features - 1 not in path.subset(5)
    assert {1, 2} <= set(path.subset(3).tolist())


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass"])
def test_a_count_that_is_worth_less_later_is_kept(make_task: Callable[..., SimpleNamespace], task: str) -> None:
    fading = make_task(task, rows=6000, id_values=2000, epochs=12, later=0.6)
    path = learn(fading, settings={"k_max": 8, "k_min": 2})
    assert 4 in path.subset(5)
    assert fading.n_features - 1 not in path.subset(5)


def test_contract_of_the_path(binary_task: SimpleNamespace) -> None:
    before = {name: value.clone() for name, value in binary_task.model.state_dict().items()}
    log: list[dict[str, Any]] = []
    path = learn(binary_task, progress=log.append)
    n = binary_task.n_features
    assert sorted(path.ranking.tolist()) == list(range(n))
    assert path.scores.shape == path.carried_by.shape == (n,)
    for k in range(1, n + 1):
        subset = path.subset(k)
        assert len(set(subset.tolist())) == k
        assert (np.diff(subset) > 0).all()
        assert set(subset.tolist()) == set(path.ranking[:k].tolist())
    assert path.ks == (1, 2, 3, 4, 5, 6)
    assert set(path.loss_at) == set(path.ks)
    assert all(np.isfinite(list(path.loss_at.values())))
    assert {entry["phase"] for entry in log} == {"concrete", "eliminate", "finetune"}
    assert all({"step", "steps"} <= set(entry) for entry in log)
    assert path.row_passes["forward_backward"] >= 4 * binary_task.cut * 0.9
    assert path.solver_work > 0
    for name, value in binary_task.model.state_dict().items():
        assert torch.equal(before[name], value), name
    assert all(parameter.grad is None for parameter in path._module.parameters())


def test_a_curve_that_nobody_wants_costs_nothing_and_changes_nothing(binary_task: SimpleNamespace) -> None:
    measured, bare = (learn(binary_task, settings={"measure_curve": wanted}) for wanted in (True, False))
    assert bare.loss_at == {}
    assert bare.ks == measured.ks
    assert np.array_equal(bare.ranking, measured.ranking)
    logits = [path.predict(binary_task.validation(0), 3) for path in (measured, bare)]
    assert torch.equal(*logits)
    assert bare.row_passes["forward"] < measured.row_passes["forward"]
    assert bare.row_passes["forward_backward"] == measured.row_passes["forward_backward"]


def test_carriers_are_candidates_and_carry_themselves(binary_task: SimpleNamespace) -> None:
    """Also those that the surgeon brought in: with slots hardly trained, they are not the slots' own."""
    for settings in (
        {},
        {"epochs": 0.1, "fewest_steps": 1, "speed": 1e-6, "prior_strength": 0.0, "k_max": 4, "seed": 1},
    ):
        path = learn(binary_task, settings=settings)
        kept = path.subset(max(path.ks))
        assert all(path.carried_by[feature] == feature for feature in kept)
        assert all(path.carried_by[carrier] == carrier for carrier in path.carried_by)


def test_predicts_all_rows_in_order_from_the_subset_alone(binary_task: SimpleNamespace) -> None:
    path = learn(binary_task)
    rows = binary_task.x[:300]
    whole = path.predict([(rows, None)], 3)  # type: ignore[list-item]
    parts = path.predict([(part, None) for part in rows.split(77)], 3)  # type: ignore[misc]
    torch.testing.assert_close(whole, parts)
    scrambled = rows.clone()
    dropped = np.setdiff1d(np.arange(binary_task.n_features), path.subset(3))
    scrambled[:, dropped] = (scrambled[:, dropped] + 1) % 5
    torch.testing.assert_close(path.predict([(scrambled, None)], 3), whole)  # type: ignore[list-item]


def test_seed_reproduces_and_matters(binary_task: SimpleNamespace) -> None:
    torch.manual_seed(1)
    first = learn(binary_task, settings={"seed": 3})
    torch.manual_seed(2)
    second = learn(binary_task, settings={"seed": 3})
    other = learn(binary_task, settings={"seed": 4})
    assert (first.ranking == second.ranking).all()
    assert first.loss_at == second.loss_at
    assert first.loss_at != other.loss_at


def test_protected_features_are_in_every_subset(binary_task: SimpleNamespace) -> None:
    path = learn(binary_task, protected=[9, 11])
    assert path.ks[0] == 2
    assert path.subset(2).tolist() == [9, 11]
    assert {9, 11} <= set(path.subset(4).tolist())
    with pytest.raises(ValueError, match="k=1: give 2 to 16"):
        path.subset(1)


def test_groups_go_as_one(binary_task: SimpleNamespace) -> None:
    groups = [number // 2 for number in range(16)]
    path = learn(binary_task, groups=groups, settings={"k_max": 4})
    assert set(path.subset(2).tolist()) == {0, 1, 2, 3}
    assert len(path.subset(3)) == 6


def test_prior_can_cost_a_feature_its_place(binary_task: SimpleNamespace) -> None:
    """Feature 0 has a (worse) copy in 3: made expensive, it is no candidate any more."""
    prior = torch.zeros(binary_task.n_features)
    prior[0] = -1e3
    path = learn(binary_task, prior=prior)
    assert 0 not in path.subset(6)
    assert 3 in path.subset(3)


def test_of_two_copies_the_prior_prefers_the_cheaper(binary_task: SimpleNamespace) -> None:
    """Feature 3 is a worse copy of feature 0; where feature 0 costs more than it gives beyond it, 3 is kept."""
    prior = torch.zeros(binary_task.n_features)
    prior[0] = -4.0
    assert 0 in learn(binary_task).subset(3)
    assert 0 not in learn(binary_task, prior=prior).subset(3)


def test_the_surgeons_units_join_the_candidates(binary_task: SimpleNamespace) -> None:
    """Slots that are hardly trained find no signal; the screen brings them in, the elimination keeps them."""
    blind = {"epochs": 0.1, "fewest_steps": 1, "speed": 1e-6, "prior_strength": 0.0, "k_max": 4, "seed": 1}
    alone = set(learn(binary_task, settings={**blind, "screen": 0.0}).subset(3).tolist())
    joined = set(learn(binary_task, settings={**blind, "screen": 1.0}).subset(3).tolist())
    assert {1, 2} <= joined
    assert not {1, 2} <= alone


def test_expectations_leave_the_model_as_it_was(any_task: SimpleNamespace) -> None:
    asked: list[bool] = []

    def expect(logits: torch.Tensor) -> torch.Tensor:
        asked.append(any_task.model.training)
        if logits.dim() == 2:
            return torch.softmax(logits, dim=1)
        return torch.sigmoid(logits) if set(any_task.y.unique().tolist()) == {0.0, 1.0} else logits

    any_task.model.train()
    any_task.model.layers.eval()  # frozen by its owner
    path = learn(any_task, expect=Teacher(any_task.model, expect))
    assert any_task.model.training
    assert not any_task.model.layers.training
    assert asked
    assert not any(asked)
    assert {1, 2} <= set(path.subset(3).tolist())
    labels_alone = learn(any_task)
    assert path.row_passes["forward"] > labels_alone.row_passes["forward"]


def test_trust_of_zero_asks_nobody(binary_task: SimpleNamespace) -> None:
    def fails(logits: torch.Tensor) -> torch.Tensor:
        raise AssertionError

    learn(binary_task, expect=Teacher(binary_task.model, fails), settings={"trust": 0.0})


def test_a_failing_expectation_leaves_the_mode_of_the_model(binary_task: SimpleNamespace) -> None:
    def fails(logits: torch.Tensor) -> torch.Tensor:
        raise KeyError("mine")

    binary_task.model.train()
    with pytest.raises(KeyError, match="mine"):
        learn(binary_task, expect=Teacher(binary_task.model, fails))
    assert binary_task.model.training
    binary_task.model.eval()


@pytest.mark.parametrize("rows", [0, 1, 2, 100])
def test_validation_batches_of_one_row(binary_task: SimpleNamespace, rows: int) -> None:
    x, y, cut = binary_task.x, binary_task.y, binary_task.cut
    single = [(x[cut + row : cut + row + 1], y[cut + row : cut + row + 1]) for row in range(rows)]
    task = SimpleNamespace(**{**vars(binary_task), "validation": lambda epoch: single})
    if rows == 0:
        with pytest.raises(ValueError, match="validation: gave no row"):
            learn(task)
        return
    path = learn(task)
    together = [(x[cut : cut + rows], y[cut : cut + rows])]
    joined = learn(SimpleNamespace(**{**vars(binary_task), "validation": lambda epoch: together}))
    assert path.loss_at == pytest.approx(joined.loss_at, rel=1e-3)


def test_nan_on_validation_is_named(binary_task: SimpleNamespace) -> None:
    def validation(epoch: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [(batch, target * float("nan")) for batch, target in binary_task.validation(epoch)]

    with pytest.raises(ValueError, match=r"validation: its loss is NaN|NaN"):
        learn(SimpleNamespace(**{**vars(binary_task), "validation": validation}))


def test_wide_units_are_cached_within_the_limit(binary_task: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """One unit of eleven features pads the five single ones: the limit holds for what is really kept."""
    seen: list[int] = []
    original = path_module.cache_rows

    def watched(*arguments: Any, **named: Any) -> Any:
        cache = original(*arguments, **named)
        seen.append(4 * cache.inputs.numel())
        return cache

    monkeypatch.setattr(path_module, "cache_rows", watched)
    monkeypatch.setattr(path_module, "_CACHE_BYTES", 50_000)
    learn(binary_task, groups=[*range(5), *[5] * 11], settings={"k_max": 4})
    assert seen
    assert max(seen) <= 50_000


def test_every_feature_may_be_a_candidate(binary_task: SimpleNamespace) -> None:
    path = learn(binary_task, settings={"k_max": 500, "k_min": 2})
    assert max(path.ks) == binary_task.n_features
    assert min(path.ks) == 2


def test_fixed_k(binary_task: SimpleNamespace) -> None:
    path = learn(binary_task, settings={"k_max": 4, "k_min": 4})
    assert path.ks == (4,)
    assert {0, 1, 2} <= set(path.subset(4).tolist()) or {1, 2, 3} <= set(path.subset(4).tolist())


def test_only_protected(binary_task: SimpleNamespace) -> None:
    path = learn(binary_task, protected=[4, 5], settings={"k_max": 2})
    assert path.subset(2).tolist() == [4, 5]


def test_a_short_hot_training_has_not_converged(binary_task: SimpleNamespace) -> None:
    path = learn(binary_task, settings={"epochs": 0.1, "fewest_steps": 1, "temperature_end": 9.0})
    assert not path.converged
    assert path.mean_max_probability < 0.99


def test_caller_can_stop(binary_task: SimpleNamespace) -> None:
    seen: list[tuple[int, float]] = []

    def stop(step: int, value: float) -> bool:
        seen.append((step, value))
        return len(seen) == 2

    with pytest.raises(SelectionStopped, match="6 features"):
        learn(binary_task, should_stop=stop)
    assert [step for step, _ in seen] == [1, 2]
    assert all(np.isfinite(value) for _, value in seen)


@pytest.mark.parametrize("variant", [{"mean_replacement": False}, {"nested": False}, {"noise_masks": 1}, {"rank": 2}])
def test_variants_of_the_recipe_run(binary_task: SimpleNamespace, variant: dict[str, Any]) -> None:
    path = learn(binary_task, settings=variant)
    assert len(path.subset(3)) == 3


def test_one_small_batch_is_enough(binary_task: SimpleNamespace) -> None:
    task = SimpleNamespace(**vars(binary_task))
    task.train = task.validation = lambda epoch: [(binary_task.x[:5], binary_task.y[:5])]
    task.steps_per_epoch = 1
    assert len(learn(task).subset(2)) == 2


def test_model_without_parameters_in_use_of_one_row(binary_task: SimpleNamespace) -> None:
    task = SimpleNamespace(**vars(binary_task))
    task.train = task.validation = lambda epoch: [(binary_task.x[:1], binary_task.y[:1])]
    task.steps_per_epoch = 1
    path = learn(task, settings={"k_max": 3})
    assert np.isfinite(list(path.loss_at.values())).all()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"k_max": 0}, "k_max=0"),
        ({"k_min": 0}, "k_min=0"),
        ({"k_max": 3, "k_min": 4}, "k_max=3: below k_min=4"),
        ({"selector": "x"}, "selector='x'"),
        ({"epochs": 0}, "epochs=0"),
        ({"noise_masks": 0}, "noise_masks=0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"finetune_epochs": -1}, "finetune_epochs=-1"),
        ({"anneal_share": 0.0}, "anneal_share=0.0: give a number above 0, at most 1"),
        ({"anneal_share": 2.0}, "anneal_share=2.0: give a number above 0, at most 1"),
        ({"temperature_end": 0.0}, "temperature_end=0.0: temperatures fall; give a number above 0"),
        ({"temperature_end": 10.5}, "temperature_end=10.5: temperatures fall; .* at most temperature_start=10.0"),
        ({"temperature_start": 0.05}, "temperature_end=0.1: temperatures fall; .* at most temperature_start=0.05"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        PathSettings(**{"k_max": 5, **settings})


def test_bad_arguments_are_named(binary_task: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="protected=99"):
        learn(binary_task, protected=[99])
    with pytest.raises(ValueError, match="k_max=6: 7 features are always kept"):
        learn(binary_task, protected=range(7))
    with pytest.raises(ValueError, match="groups: 1 ids for 16"):
        learn(binary_task, groups=[0])
    with pytest.raises(ValueError, match="prior: shape"):
        learn(binary_task, prior=torch.zeros(3))
    empty = SimpleNamespace(**vars(binary_task))
    empty.train = lambda epoch: []
    with pytest.raises(ValueError, match="train: gave no batch"):
        learn(empty)


def test_diverged_training_says_so(binary_task: SimpleNamespace) -> None:
    task = SimpleNamespace(**vars(binary_task))
    task.loss = lambda logits, target: logits * float("nan")
    with pytest.raises(ValueError, match="loss=nan: training diverged"):
        learn(task)

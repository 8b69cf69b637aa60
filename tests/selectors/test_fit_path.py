"""The model interface: contract of the path, recovery of planted signals, constraints, invalid input."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from concrete_selectors import PathSettings, SelectionPath, SelectionStopped, SelectionTask, Teacher
from planted import learn, settings_of, task_of


@pytest.fixture(scope="module")
def plain(binary_task: SimpleNamespace) -> SelectionPath:
    """The path with default settings."""
    return learn(binary_task)


@pytest.mark.parametrize("selector", ["ip_cae", "cae"])
def test_finds_the_signals_of_every_task(any_task: SimpleNamespace, selector: str) -> None:
    path = learn(any_task, settings={"selector": selector})
    kept = set(path.subset(3).tolist())
    assert {1, 2} <= kept
    assert len(kept & {0, 3}) == 1
    assert path.heldout_loss[4] < path.heldout_loss[1]


def test_an_id_that_the_network_has_overfitted_goes(make_task: Callable[..., SimpleNamespace]) -> None:
    """Judged by train rows it would be kept, because it fits their labels best."""
    task = make_task("binary", rows=6000, id_values=2000, epochs=12)
    path = learn(task, settings={"k_max": 8, "k_min": 2})
    assert task.n_features - 1 not in path.subset(5)
    assert {1, 2} <= set(path.subset(3).tolist())


@pytest.mark.parametrize(
    "task",
    ["binary", pytest.param("regression", marks=pytest.mark.slow), pytest.param("multiclass", marks=pytest.mark.slow)],
)
def test_a_count_whose_effect_shrinks_on_later_rows_is_kept(
    make_task: Callable[..., SimpleNamespace], task: str
) -> None:
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
    assert path.scores.shape == (n,)
    assert np.isfinite(path.scores).all()
    for k in range(1, n + 1):
        subset = path.subset(k)
        assert len(set(subset.tolist())) == k
        assert (np.diff(subset) > 0).all()
        assert set(subset.tolist()) == set(path.ranking[:k].tolist())
    assert sorted(path.heldout_loss) == [1, 2, 4, 6]
    assert all(np.isfinite(list(path.heldout_loss.values())))
    assert {entry["phase"] for entry in log} == {"concrete", "eliminate"}
    assert all({"step", "steps"} <= set(entry) for entry in log)
    assert path.row_passes["forward_backward"] >= 3 * binary_task.cut * 0.9
    assert path.surrogate_compute > 0
    for name, value in binary_task.model.state_dict().items():
        assert torch.equal(before[name], value), name


def test_held_out_loss_is_that_of_a_network_of_those_groups(binary_task: SimpleNamespace) -> None:
    """Compared with networks retrained on the kept features: similar validation losses in the same order."""
    path = learn(binary_task, teacher=Teacher(binary_task.model, torch.sigmoid))
    rates = binary_task.y[binary_task.cut :].mean()
    entropy = float(-(rates * rates.log() + (1 - rates) * (1 - rates).log()))
    losses = [path.heldout_loss[k] for k in (1, 2, 4)]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] < entropy
    batches = list(binary_task.validation(0))
    model = binary_task.model
    with torch.no_grad():
        full = torch.cat([binary_task.loss(model.predict(model.embed(x)), y) for x, y in batches]).mean()
    assert losses[-1] == pytest.approx(float(full), rel=0.15)


def test_seed_reproduces_and_matters(binary_task: SimpleNamespace) -> None:
    torch.manual_seed(1)
    first = learn(binary_task, settings={"seed": 3})
    torch.manual_seed(2)
    second = learn(binary_task, settings={"seed": 3})
    other = learn(binary_task, settings={"seed": 4})
    assert (first.ranking == second.ranking).all()
    assert first.heldout_loss == second.heldout_loss
    assert first.heldout_loss != other.heldout_loss


def test_protected_features_are_in_every_subset(binary_task: SimpleNamespace) -> None:
    path = learn(binary_task, protected=[9, 11])
    assert min(path.heldout_loss) == 2
    assert path.subset(2).tolist() == [9, 11]
    assert {9, 11} <= set(path.subset(4).tolist())
    with pytest.raises(ValueError, match="k=1: give 2 to 16"):
        path.subset(1)


def test_groups_go_as_one(binary_task: SimpleNamespace) -> None:
    groups = [number // 2 for number in range(16)]
    path = learn(binary_task, groups=groups, settings={"k_max": 4})
    assert set(path.subset(2).tolist()) == {0, 1, 2, 3}
    assert len(path.subset(3)) == 6


class TestExcluded:
    def test_is_never_kept_and_comes_last(self, binary_task: SimpleNamespace) -> None:
        path = learn(binary_task, excluded=[1, 7])
        assert sorted(path.ranking.tolist()) == list(range(16))
        assert set(path.ranking[-2:].tolist()) == {1, 7}
        assert np.isneginf(path.scores[[1, 7]]).all()
        assert np.isfinite(np.delete(path.scores, [1, 7])).all()
        assert {2} <= set(path.subset(3).tolist()) & {0, 2, 3}
        with pytest.raises(ValueError, match="k=15: give 1 to 14"):
            path.subset(15)

    def test_a_copy_takes_its_place(self, binary_task: SimpleNamespace) -> None:
        assert {1, 2, 3} == set(learn(binary_task, excluded=[0]).subset(3).tolist())

    def test_takes_its_group_along(self, binary_task: SimpleNamespace) -> None:
        path = learn(binary_task, excluded=[3], groups=[number // 2 for number in range(16)], settings={"k_max": 4})
        assert set(path.ranking[-2:].tolist()) == {2, 3}
        assert {0, 1} <= set(path.subset(1).tolist())

    def test_bounds_k(self, binary_task: SimpleNamespace) -> None:
        path = learn(binary_task, excluded=range(4, 16), settings={"k_max": 16})
        assert max(path.heldout_loss) == 4
        with pytest.raises(ValueError, match="k_min=5: only 4 features are usable"):
            learn(binary_task, excluded=range(4, 16), settings={"k_min": 5})

    def test_contradictions_are_refused(self, binary_task: SimpleNamespace) -> None:
        with pytest.raises(ValueError, match=r"excluded: features \[4\] are one group, but one of them is protected"):
            learn(binary_task, excluded=[4], protected=[4])
        with pytest.raises(ValueError, match=r"excluded: features \[2, 3\] are one group"):
            learn(binary_task, excluded=[2], protected=[3], groups=[number // 2 for number in range(16)])
        with pytest.raises(ValueError, match="excluded: all 16 features are"):
            learn(binary_task, excluded=range(16))
        with pytest.raises(ValueError, match="excluded=16: features are numbered 0 to 15"):
            learn(binary_task, excluded=[16])


def test_prior_can_cost_a_feature_its_place(binary_task: SimpleNamespace) -> None:
    """Feature 3 is a (worse) copy of feature 0, which is not a candidate if it is expensive."""
    prior = torch.zeros(binary_task.n_features)
    prior[0] = -1e3
    path = learn(binary_task, prior=prior)
    assert 0 not in path.subset(6)
    assert 3 in path.subset(3)


def test_the_prior_prefers_the_cheaper_of_two_copies(binary_task: SimpleNamespace, plain: SelectionPath) -> None:
    """Feature 3 is a worse copy of feature 0; it is kept if feature 0 costs more than its advantage."""
    prior = torch.zeros(binary_task.n_features)
    prior[0] = -4.0
    assert 0 in plain.subset(3)
    assert 0 not in learn(binary_task, prior=prior).subset(3)


@pytest.mark.parametrize(
    "any_task",
    [pytest.param("binary", marks=pytest.mark.slow), pytest.param("regression", marks=pytest.mark.slow), "multiclass"],
    indirect=True,
)
def test_a_teacher_leaves_the_model_as_it_was(any_task: SimpleNamespace) -> None:
    asked: list[bool] = []

    def targets(logits: torch.Tensor) -> torch.Tensor:
        asked.append(any_task.model.training)
        if logits.dim() == 2:
            return torch.softmax(logits, dim=1)
        return torch.sigmoid(logits) if set(any_task.y.unique().tolist()) == {0.0, 1.0} else logits

    any_task.model.train()
    any_task.model.layers.eval()  # frozen by its owner
    path = learn(any_task, teacher=Teacher(any_task.model, targets))
    assert any_task.model.training
    assert not any_task.model.layers.training
    assert asked
    assert not any(asked)
    assert {1, 2} <= set(path.subset(3).tolist())
    labels_alone = learn(any_task)
    assert path.row_passes["forward"] > labels_alone.row_passes["forward"]


def test_without_distillation_the_teacher_is_not_called(binary_task: SimpleNamespace) -> None:
    def fails(logits: torch.Tensor) -> torch.Tensor:
        raise AssertionError

    learn(binary_task, teacher=Teacher(binary_task.model, fails), settings={"distillation": 0.0})


def test_a_failing_teacher_leaves_the_mode_of_the_model(binary_task: SimpleNamespace) -> None:
    def fails(logits: torch.Tensor) -> torch.Tensor:
        raise KeyError("mine")

    binary_task.model.train()
    with pytest.raises(KeyError, match="mine"):
        learn(binary_task, teacher=Teacher(binary_task.model, fails))
    assert binary_task.model.training
    binary_task.model.eval()


@pytest.mark.parametrize(
    "rows", [0, pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(100, marks=pytest.mark.slow)]
)
def test_validation_batches_of_one_row(binary_task: SimpleNamespace, rows: int) -> None:
    x, y, cut = binary_task.x, binary_task.y, binary_task.cut
    single = [(x[cut + row : cut + row + 1], y[cut + row : cut + row + 1]) for row in range(rows)]
    task = SimpleNamespace(**{**vars(binary_task), "validation": lambda epoch: single})
    if rows == 0:
        with pytest.raises(ValueError, match="validation: contains no row"):
            learn(task)
        return
    path = learn(task)
    together = [(x[cut : cut + rows], y[cut : cut + rows])]
    joined = learn(SimpleNamespace(**{**vars(binary_task), "validation": lambda epoch: together}))
    assert path.heldout_loss == pytest.approx(joined.heldout_loss, rel=1e-3)


def test_nan_on_validation_is_named(binary_task: SimpleNamespace) -> None:
    def validation(epoch: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [(batch, target * float("nan")) for batch, target in binary_task.validation(epoch)]

    broken = SimpleNamespace(**{**vars(binary_task), "validation": validation})
    with pytest.raises(ValueError, match="validation: the loss is NaN"):
        learn(broken)
    with pytest.raises(ValueError, match="validation: the loss is NaN"):
        learn(broken, should_stop=lambda step, value: False)


def test_wide_groups_are_cached_within_the_limit(
    make_task: Callable[..., SimpleNamespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One group of eleven features pads the five single ones; with little memory, few rows are embedded and judged."""
    task = make_task("binary")
    groups = [*range(5), *[5] * 11]
    plenty = learn(task, groups=groups, settings={"k_max": 4})
    monkeypatch.setattr("concrete_selectors.elimination.surrogate.CACHE_BYTES", 50_000)
    scarce = learn(task, groups=groups, settings={"k_max": 4})
    rows = 50_000 // (4 * 4 * 11 * 4)  # bytes, candidates, features of the widest, numbers of an embedding
    assert scarce.surrogate_compute < plenty.surrogate_compute * 2 * rows / (len(task.y) - task.cut)
    assert len(scarce.subset(2)) in (2, 12)


def test_every_feature_may_be_a_candidate(binary_task: SimpleNamespace) -> None:
    path = learn(binary_task, settings={"k_max": 500, "k_min": 2})
    assert max(path.heldout_loss) == binary_task.n_features
    assert min(path.heldout_loss) == 2


def test_fixed_k(binary_task: SimpleNamespace) -> None:
    path = learn(binary_task, settings={"k_max": 4, "k_min": 4})
    assert path.heldout_loss == {}
    assert {0, 1, 2} <= set(path.subset(4).tolist()) or {1, 2, 3} <= set(path.subset(4).tolist())


def test_only_protected(binary_task: SimpleNamespace) -> None:
    path = learn(binary_task, protected=[4, 5], settings={"k_max": 2})
    assert path.subset(2).tolist() == [4, 5]


def test_a_short_hot_training_has_not_converged(binary_task: SimpleNamespace) -> None:
    path = learn(binary_task, settings={"epochs": 0.1, "fewest_steps": 1, "temperature_end": 9.0})
    assert not path.converged
    assert path.mean_max_probability < 0.99


def test_the_stopping_callback_is_called_once_per_point_and_can_stop(
    binary_task: SimpleNamespace, plain: SelectionPath
) -> None:
    seen: list[tuple[int, float]] = []

    def stop(step: int, value: float) -> bool:
        seen.append((step, value))
        return len(seen) == 2

    asked = learn(binary_task, should_stop=stop)
    np.testing.assert_array_equal(asked.ranking, plain.ranking)
    assert asked.row_passes["forward"] - plain.row_passes["forward"] == len(binary_task.y) - binary_task.cut
    with pytest.raises(SelectionStopped, match="6 features") as stopped:
        learn(binary_task, should_stop=stop)
    assert [step for step, _ in seen] == [1, 1]
    assert all(np.isfinite(value) for _, value in seen)
    assert stopped.value.row_passes["forward_backward"] > 0


@pytest.mark.parametrize("variant", [{"mean_replacement": False}, {"noise_masks": 1}])
def test_variants_of_the_recipe_run(binary_task: SimpleNamespace, variant: dict[str, Any]) -> None:
    assert len(learn(binary_task, settings=variant).subset(3)) == 3


@pytest.mark.parametrize("rows", [1, 5])
def test_one_small_batch_is_enough(binary_task: SimpleNamespace, rows: int) -> None:
    task = SimpleNamespace(**vars(binary_task))
    task.train = task.validation = lambda epoch: [(binary_task.x[:rows], binary_task.y[:rows])]
    task.steps_per_epoch = 1
    path = learn(task, settings={"k_max": 3})
    assert len(path.subset(2)) == 2
    assert np.isfinite(list(path.heldout_loss.values())).all()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"k_max": 0}, "k_max=0"),
        ({"k_min": 0}, "k_min=0"),
        ({"k_max": 3, "k_min": 4}, "k_max=3: below k_min=4"),
        ({"selector": "x"}, "selector='x'"),
        ({"epochs": 0}, "epochs=0"),
        ({"noise_masks": 0}, "noise_masks=0"),
        ({"finetune_epochs": 0}, "finetune_epochs=0"),
        ({"distillation": 1.5}, "distillation=1.5: give a number from 0 to 1"),
        ({"anneal_share": 0.0}, "anneal_share=0.0: give a number above 0, at most 1"),
        ({"anneal_share": 2.0}, "anneal_share=2.0: give a number above 0, at most 1"),
        ({"temperature_end": 0.0}, "temperature_end=0.0: must not rise; give a number above 0"),
        ({"temperature_end": 10.5}, "temperature_end=10.5: must not rise; .* at most temperature_start=10.0"),
        ({"temperature_start": 0.05}, "temperature_end=0.1: must not rise; .* at most temperature_start=0.05"),
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
    with pytest.raises(ValueError, match="k_min=17: only 16 features are usable"):
        learn(binary_task, settings={"k_max": 17, "k_min": 17})
    with pytest.raises(ValueError, match="groups: 1 ids for 16"):
        learn(binary_task, groups=[0])
    with pytest.raises(ValueError, match="prior: shape"):
        learn(binary_task, prior=torch.zeros(3))
    with pytest.raises(ValueError, match="steps_per_epoch=0: give at least 1"):
        SelectionTask(binary_task.model, binary_task.train, binary_task.validation, binary_task.loss, 0)
    empty = SimpleNamespace(**vars(binary_task))
    empty.train = lambda epoch: []
    with pytest.raises(ValueError, match="train: contains no batch"):
        learn(empty)


def test_diverged_training_says_so(binary_task: SimpleNamespace) -> None:
    task = SimpleNamespace(**vars(binary_task))
    task.loss = lambda logits, target: logits * float("nan")
    with pytest.raises(ValueError, match="loss=nan: training diverged"):
        learn(task)


def test_the_task_and_the_settings_are_values(binary_task: SimpleNamespace) -> None:
    assert task_of(binary_task) == task_of(binary_task)
    assert settings_of() == settings_of()

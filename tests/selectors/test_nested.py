"""One network for every K: its input, and its quality for each K."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from concrete_selectors import PathSettings, Teacher, curve_sizes
from hypothesis import given
from hypothesis import strategies as st
from planted import nest

#: The planted signals, the copy, then noise.
RANKING = np.array([1, 2, 0, 3, *range(4, 16)])


def validation_loss(task: SimpleNamespace, logits: torch.Tensor) -> float:
    return float(task.loss(logits, task.y[task.cut :]).mean())


def test_is_good_at_every_k_and_better_than_the_masked_model(any_task: SimpleNamespace) -> None:
    """Compared with the trained model fed with means, without fine-tuning."""
    ks = (1, 2, 3, 8)
    model = nest(any_task, RANKING, ks)
    assert model.ks == ks
    losses = [validation_loss(any_task, model.predict(any_task.validation(0), k)) for k in ks]
    assert losses[0] > losses[1] > losses[2]
    assert losses[3] < losses[1]
    with torch.no_grad():
        embedded = any_task.model.embed(any_task.x)
        gated = embedded.mean(dim=0).expand_as(embedded).clone()
        gated[:, RANKING[:2]] = embedded[:, RANKING[:2]]
        masked = any_task.model.predict(gated)[any_task.cut :]
    assert losses[1] < validation_loss(any_task, masked)


def test_predicts_all_rows_in_order_from_the_subset_alone(binary_task: SimpleNamespace) -> None:
    model = nest(binary_task, RANKING, [3, 6])
    rows = binary_task.x[:300]
    whole = model.predict([(rows, None)], 3)  # type: ignore[list-item]
    parts = model.predict([(part, None) for part in rows.split(77)], 3)  # type: ignore[misc]
    torch.testing.assert_close(whole, parts)
    scrambled = rows.clone()
    dropped = np.setdiff1d(np.arange(binary_task.n_features), model.subset(3))
    scrambled[:, dropped] = (scrambled[:, dropped] + 1) % 5
    torch.testing.assert_close(model.predict([(scrambled, None)], 3), whole)  # type: ignore[list-item]


def test_several_sizes_at_once_are_the_same_and_draw_each_batch_once(binary_task: SimpleNamespace) -> None:
    model = nest(binary_task, RANKING, [2, 3, 6])
    drawn: list[int] = []

    def batches():
        for batch in binary_task.validation(0):
            drawn.append(len(batch[1]))
            yield batch

    each = model.predict_each(batches(), (6, 2))
    assert sum(drawn) == len(each[0])
    for k, logits in zip((6, 2), each, strict=True):
        assert torch.equal(logits, model.predict(binary_task.validation(0), k))


def test_subsets_are_prefixes(binary_task: SimpleNamespace) -> None:
    model = nest(binary_task, RANKING, [2, 4])
    for k in range(1, 17):
        assert model.subset(k).tolist() == sorted(RANKING[:k].tolist())


def test_a_group_stands_where_its_first_feature_does(binary_task: SimpleNamespace) -> None:
    groups = [number // 2 for number in range(16)]
    ranking = np.array([5, 1, 4, 0, *np.setdiff1d(np.arange(16), [0, 1, 4, 5])])
    model = nest(binary_task, ranking, [1, 2], groups=groups)
    assert model.subset(1).tolist() == [4, 5]
    assert model.subset(2).tolist() == [0, 1, 4, 5]


def test_constraints_hold_against_the_ranking(binary_task: SimpleNamespace) -> None:
    model = nest(binary_task, RANKING, [2, 15], protected=[9], excluded=[1])
    assert model.subset(2).tolist() == [2, 9]
    assert 1 not in model.subset(15)
    with pytest.raises(ValueError, match="k=16: give 1 to 15"):
        model.subset(16)


def test_the_model_is_left_as_it_is_and_the_seed_reproduces(binary_task: SimpleNamespace) -> None:
    before = {name: value.clone() for name, value in binary_task.model.state_dict().items()}
    first, second = (nest(binary_task, RANKING, [3]) for _ in range(2))
    logits = [each.predict(binary_task.validation(0), 3) for each in (first, second)]
    assert torch.equal(*logits)
    assert all(torch.equal(before[name], value) for name, value in binary_task.model.state_dict().items())


def test_costs_are_counted_the_teachers_too(binary_task: SimpleNamespace) -> None:
    steps = max(round(0.5 * binary_task.steps_per_epoch), PathSettings.fewest_steps // 2)
    alone = nest(binary_task, RANKING, [3], settings={"finetune_epochs": 0.5})
    taught = nest(
        binary_task, RANKING, [3], settings={"finetune_epochs": 0.5}, teacher=Teacher(binary_task.model, torch.sigmoid)
    )
    assert 100 * steps < alone.row_passes["forward_backward"] <= 128 * steps
    assert alone.row_passes["forward"] == 0
    assert taught.row_passes["forward"] == taught.row_passes["forward_backward"]


def test_bad_rankings_and_sizes_are_named(binary_task: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="ranking: give each of the features 0 to 15 once"):
        nest(binary_task, RANKING[:5], [3])
    with pytest.raises(ValueError, match="ranking: give each"):
        nest(binary_task, np.zeros(16, dtype=int), [3])
    with pytest.raises(ValueError, match="k=17: give 1 to 16"):
        nest(binary_task, RANKING, [3, 17])
    with pytest.raises(ValueError, match="ks: empty"):
        nest(binary_task, RANKING, [])


@given(st.integers(1, 500), st.integers(1, 500))
def test_sizes_of_a_curve(one: int, other: int) -> None:
    k_min, k_max = sorted((one, other))
    sizes = curve_sizes(k_max, k_min)
    assert list(sizes) == sorted(set(sizes))
    assert (sizes[0], sizes[-1]) == (k_min, k_max)
    if k_max < 64:
        assert set(range(k_min, min(8, k_max) + 1)) <= set(sizes)
    assert all(after <= before / 0.6 + 1 for before, after in pairwise(sizes))

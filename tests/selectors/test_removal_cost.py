"""Removal costs are exact; the trained model is trusted as far as its corrections justify."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from concrete_selectors.elimination.recalibration import fit_intercept
from concrete_selectors.elimination.removal_cost import RemovalCost
from concrete_selectors.elimination.surrogate import EmbeddingCache, Surrogate, fit_surrogate
from elimination_cases import bce, cache_of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

GROUPS = 24


def rare_clicks(rows: int, *, seed: int = 0) -> tuple[EmbeddingCache, Tensor]:
    """A rare target that depends on half of the groups, and the true probabilities."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(rows, GROUPS, 1))
    truth = 1 / (1 + np.exp(-0.5 * values[:, : GROUPS // 2, 0].sum(axis=1) + 3.0))
    return cache_of(values, random.random(rows) < truth), torch.as_tensor(truth.astype(np.float32))


def untrained(cache: EmbeddingCache, seed: int = 0) -> Surrogate:
    return Surrogate(cache, seed=seed)


def fitted(cache: EmbeddingCache, *, distillation: float = 0.0, steps: int = 200) -> Surrogate:
    surrogate = untrained(cache)
    fit_surrogate(
        surrogate, cache, loss=bce, steps=steps, fixed=np.zeros(GROUPS, dtype=bool), smallest=0.5,
        distillation=distillation, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    return surrogate


def behind_gates(surrogate: Surrogate, cache: EmbeddingCache, *closed: int) -> tuple[float, float]:
    """Summed losses against the model's predictions and against the labels, by the definition."""
    gates = torch.ones(len(cache.target), len(cache.segments))
    logits = surrogate(cache.segments.scale(cache.inputs, gates)).detach()
    intercept = fit_intercept(logits, cache.target, bce)
    gates[:, list(closed)] = 0
    logits = surrogate(cache.segments.scale(cache.inputs, gates)).detach()
    by_label = float(bce(logits + intercept, cache.target).double().sum())
    return by_label if cache.taught is None else float(bce(logits, cache.taught).double().sum()), by_label


@settings(max_examples=20)
@given(st.lists(st.integers(0, GROUPS - 1), min_size=1, max_size=3, unique=True))
def test_a_cost_is_the_rise_of_the_loss_behind_closed_gates(groups: list[int]) -> None:
    cache, truth = rare_clicks(300)
    cache = replace(cache, taught=truth)
    surrogate = untrained(cache, seed=1)
    cost = RemovalCost(surrogate, cache, loss=bce)
    at_once = cost.costs(range(GROUPS))
    shrinkage = cost.shrinkage
    np.testing.assert_allclose(at_once, [cost.cost(group) for group in range(GROUPS)])
    *gone, group = groups
    for other in gone:
        cost.drop(other)
    before, after = behind_gates(surrogate, cache, *gone), behind_gates(surrogate, cache, *gone, group)
    by_model, by_label = after[0] - before[0], after[1] - before[1]
    assert 0 <= shrinkage <= 1
    assert cost.cost(group) == pytest.approx((1 - shrinkage) * by_model + shrinkage * by_label, abs=2e-3)


def test_without_a_model_labels_are_all() -> None:
    cache, _ = rare_clicks(300)
    surrogate = untrained(cache)
    open_loss = behind_gates(surrogate, cache)[1]
    expected = [behind_gates(surrogate, cache, group)[1] - open_loss for group in range(GROUPS)]
    np.testing.assert_allclose(RemovalCost(surrogate, cache, loss=bce).costs(range(GROUPS)), expected, atol=2e-3)


def test_a_true_model_is_trusted_and_a_wrong_one_is_not() -> None:
    cache, truth = rare_clicks(4000)
    surrogate = fitted(replace(cache, taught=truth), distillation=1.0)
    fresh, truth = rare_clicks(4000, seed=1)
    wrong = fresh.inputs[:, GROUPS // 2 :].sum(dim=1).sigmoid()
    found = []
    for predictions in (truth, wrong):
        cost = RemovalCost(surrogate, replace(fresh, taught=predictions), loss=bce)
        cost.costs(range(GROUPS))
        found.append(cost.shrinkage)
    assert found[0] < 0.5
    assert found[1] > 0.9


@pytest.mark.parametrize("groups", [1, 2])
def test_for_one_group_or_two_labels_are_all(groups: int) -> None:
    cache, truth = rare_clicks(1000)
    cost = RemovalCost(untrained(cache), replace(cache, taught=truth), loss=bce)
    cost.costs(range(groups))
    assert cost.shrinkage == 1.0


def test_a_shifted_level_changes_no_cost() -> None:
    """On held-out rows with a much lower base rate, costs are those after recalibrating the intercept."""
    cache, _ = rare_clicks(4000)
    surrogate = fitted(cache)
    costs = RemovalCost(surrogate, cache, loss=bce).costs(range(GROUPS))
    with torch.no_grad():
        surrogate.out.bias += 2.0
    np.testing.assert_allclose(RemovalCost(surrogate, cache, loss=bce).costs(range(GROUPS)), costs, rtol=0.02, atol=0.5)

"""Elimination keeps the informative features, judged by held-out rows only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from concrete_selectors.elimination.backward import BackwardElimination, expected_compute, stages
from concrete_selectors.elimination.surrogate import EmbeddingCache
from concrete_selectors.gates.evaluation import collect
from elimination_cases import bce, cache_of, signals_and_noise
from hypothesis import given
from hypothesis import strategies as st


def rows(cache: EmbeddingCache, part: slice) -> EmbeddingCache:
    return replace(cache, inputs=cache.inputs[part], target=cache.target[part])


def elimination(
    cache: EmbeddingCache, fixed: tuple[int, ...] = (), *, train: int = 1000, prior: np.ndarray | None = None
) -> BackwardElimination:
    """An elimination that trains on the first rows and judges by the others."""
    mask = np.zeros(len(cache.segments), dtype=bool)
    mask[list(fixed)] = True
    return BackwardElimination(
        rows(cache, slice(train)), rows(cache, slice(train, None)), fixed=mask, loss=bce, seed=0, prior=prior
    )


@pytest.mark.parametrize(("rows_", "groups"), [(700, 8), (1500, 40), (6000, 25)])
def test_the_expected_cost_is_within_half_of_the_actual(rows_: int, groups: int) -> None:
    """The plan of an audit depends on it."""
    run = elimination(signals_and_noise(rows_, groups), train=rows_ // 2)
    for size in stages(groups, 1):
        run.shrink(size)
    expected = expected_compute(groups, 2, rows_ // 2, rows_ - rows_ // 2)
    assert expected == pytest.approx(run.compute, rel=0.5)


def test_keeps_one_of_two_copies_and_drops_noise_first() -> None:
    run = elimination(signals_and_noise())
    run.shrink(2)
    dropped = run.dropped
    assert set(dropped[:5]) == {3, 4, 5, 6, 7}
    assert 1 in run.left
    assert len({0, 2} & set(run.left.tolist())) == 1
    assert sorted([*dropped, *run.left.tolist()]) == list(range(8))


def pairs(n: int) -> EmbeddingCache:
    """Features with a slightly worse copy each, and as many noise features; one of each pair is sufficient."""
    random = np.random.default_rng(0)
    carriers = random.normal(size=(4000, n, 2))
    copies = carriers + random.normal(size=carriers.shape) / 4
    score = (carriers[..., 0] * np.linspace(0.4, 1.6, n)).sum(axis=1)
    values = np.concatenate([carriers, copies, random.normal(size=carriers.shape)], axis=1)
    return cache_of(values, random.random(4000) < 1 / (1 + np.exp(-score)))


def test_one_of_two_interchangeable_groups_is_kept() -> None:
    n = 24
    run = elimination(pairs(n), train=3000)
    for size in stages(3 * n, n):
        run.shrink(size)
    assert max(run.left) < 2 * n, "noise goes first"
    assert len(set(run.left % n)) >= 10 * n // 12


class Standing:
    """Costs with groups 2 n and 2 n + 1 as substitutes: either costs nothing while the other is kept."""

    shrinkage, compute = 1.0, 0.0

    def __init__(self, *_: object, **__: object) -> None:
        self.gone: set[int] = set()

    def cost(self, group: int) -> float:
        return 100.0 if group ^ 1 in self.gone else group / 1000

    def costs(self, groups: Sequence[int]) -> np.ndarray:
        return np.array([self.cost(group) for group in groups])

    def drop(self, group: int) -> None:
        self.gone.add(group)

    def mean_loss(self) -> float:
        return float(len(self.gone))


def test_large_sets_never_lose_both_of_a_pair_in_one_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only half of the 24 cheapest at the start of a stage may be removed."""
    monkeypatch.setattr("concrete_selectors.elimination.backward.RemovalCost", Standing)
    run = elimination(signals_and_noise(groups=80))
    run.shrink(56)
    assert run.dropped == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42, 44, 46]


def test_fixed_groups_stay() -> None:
    run = elimination(signals_and_noise(), (6, 7))
    run.shrink(2)
    assert run.left.tolist() == [6, 7]
    run.shrink(1)
    assert run.left.tolist() == [6, 7]


def test_the_more_expensive_of_two_copies_is_dropped() -> None:
    """Group 2 is a worse copy of group 0; if group 0 is expensive, it is dropped nevertheless."""
    cache = signals_and_noise()
    for expensive, kept in ((0, 2), (2, 0)):
        prior = np.zeros(8)
        prior[expensive] = -3.0
        run = elimination(cache, prior=prior)
        run.shrink(2)
        assert set(run.left.tolist()) == {1, kept}


@pytest.mark.parametrize("share", [0.35, 1.0])
def test_a_group_informative_on_train_rows_only_is_dropped(share: float) -> None:
    """Group 7 contains the labels of train rows, like the embedding of a rare id, and nothing on held-out rows."""
    cache = signals_and_noise(6000)
    random = np.random.default_rng(4)
    known = (random.random(6000) < share) & (np.arange(6000) < 4000)
    shown = np.where(known, 2 * cache.target.numpy() - 1, random.choice([-1.0, 1.0], 6000))
    cache.inputs[:, cache.segments.span(7).start] = torch.as_tensor(shown.astype(np.float32))
    run = elimination(cache, train=4000)
    run.shrink(2)
    assert 1 in run.left
    assert len({0, 2} & set(run.left.tolist())) == 1


def test_a_group_whose_effect_is_halved_on_held_out_rows_is_kept() -> None:
    """Without its copy, group 0 has half of its effect on held-out rows, which is still more than noise."""
    random = np.random.default_rng(1)
    values = random.normal(size=(6000, 8, 2))
    weight = np.where(np.arange(6000) < 4000, 2.0, 1.0)
    chance = 1 / (1 + np.exp(-weight * values[:, 0, 0] + 2 * values[:, 1, 1]))
    run = elimination(cache_of(values, random.random(6000) < chance), train=4000)
    run.shrink(2)
    assert run.left.tolist() == [0, 1]


def test_seed_reproduces() -> None:
    first, second = (elimination(signals_and_noise()) for _ in range(2))
    for run in (first, second):
        run.shrink(3)
    assert first.dropped == second.dropped
    assert first.heldout_loss == second.heldout_loss


def test_the_loss_is_known_at_the_start_and_after_every_stage() -> None:
    cache = signals_and_noise(4000)
    run = elimination(cache, train=2500)
    for size in (5, 2, 1):
        run.shrink(size)
    assert sorted(run.heldout_loss) == [1, 2, 5, 8]
    assert run.heldout_loss[2] < run.heldout_loss[1] < np.log(2)
    assert run.heldout_loss[2] == pytest.approx(run.heldout_loss[8], abs=0.02), "noise costs nothing"


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(1, 400))
def test_collected_rows_are_spread_over_ordered_data(sizes: list[int], rows: int) -> None:
    total = sum(sizes)
    data = [(None, part) for part in torch.arange(total).split(sizes)]
    found = torch.cat([part.target for part in collect(data, rows=rows, of=total)]).tolist()
    assert len(found) == len(set(found)) == min(rows, total)
    assert found == sorted(found)
    gaps = np.diff([-1, *found, total])
    assert gaps.max() <= -(-total // min(rows, total)) + 1
    first = torch.cat([part.target for part in collect(data, rows=rows)]).tolist()
    assert first == list(range(min(rows, total)))


@pytest.mark.parametrize(("k_max", "k_min"), [(256, 1), (48, 5), (3, 1), (2, 1), (7, 7)])
def test_stages_fall_to_the_end(k_max: int, k_min: int) -> None:
    sizes = list(stages(k_max, k_min))
    assert (sizes == []) == (k_max == k_min)
    assert [k_max, *sizes] == sorted({k_max, *sizes}, reverse=True)
    assert [k_max, *sizes][-1] == k_min

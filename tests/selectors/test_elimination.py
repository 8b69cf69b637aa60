"""Readers judge removals exactly, and elimination keeps what matters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from concrete_selectors.elimination import Eliminator, stages
from concrete_selectors.judge import collect
from concrete_selectors.jury import Jury
from concrete_selectors.reader import Cache, Lesson, Reader, batch_size
from torch import Tensor
from torch.nn import functional


def bce(logits: Tensor, target: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, target, reduction="none")


def make_cache(rows: int = 1500, units: int = 8, *, copies: bool = True, seed: int = 0) -> Cache:
    """Units 0 and 1 carry the target; unit 2 is a copy of unit 0; the rest is noise."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(rows, units, 2)).astype(np.float32)
    if copies:
        values[:, 2] = values[:, 0] + 0.05 * random.normal(size=(rows, 2))
    score = 2 * values[:, 0, 0] - 2 * values[:, 1, 1]
    target = (random.random(rows) < 1 / (1 + np.exp(-score))).astype(np.float32)
    return Cache(
        torch.as_tensor(values), torch.as_tensor(target), torch.tensor(1.0), torch.zeros(1), torch.ones(1), True
    )


def make_eliminator(
    cache: Cache,
    fixed: list[int] | None = None,
    *,
    rows: int = 1000,
    validation: bool = True,
    prior: np.ndarray | None = None,
) -> Eliminator:
    mask = np.zeros(cache.inputs.shape[1], dtype=bool)
    mask[fixed or []] = True
    index = torch.arange(len(cache.target))
    held_out = cache.rows(index[rows:]) if validation else None
    return Eliminator(
        cache.rows(index[:rows]), held_out, fixed=mask, loss=bce, judged_rows=4000, n_masks=8, seed=0, prior=prior
    )


@pytest.mark.parametrize(("rows", "size"), [(1, 1), (10, 10), (2_000, 32), (3_400, 32), (20_000, 256), (10**6, 512)])
def test_few_rows_take_small_batches(rows: int, size: int) -> None:
    assert batch_size(rows) == size


@pytest.mark.parametrize(("rows", "first", "second"), [(19_999, 32, 16), (20_000, 64, 32)])
def test_few_rows_take_small_readers(rows: int, first: int, second: int) -> None:
    reader = Reader(make_cache(rows), generator=torch.Generator().manual_seed(0))
    assert (len(reader.bias), len(reader.middle_bias)) == (first, second)


@pytest.mark.parametrize(
    ("rows", "seen"),
    [(1, 20), (100, 2_000), (1_000, 4_000), (3_000, 4_000), (10_000, 5_000), (100_000, 50_000)],
)
def test_a_lesson_is_neither_too_few_passes_nor_too_many(rows: int, seen: int) -> None:
    steps = Lesson(rows=4_000, fewest_passes=0.5, most_passes=20.0).steps(rows)
    assert steps * batch_size(rows) == pytest.approx(seen, rel=0.02)


def test_cutting_units_away_is_exact() -> None:
    cache = make_cache(100)
    reader = Reader(cache, generator=torch.Generator().manual_seed(0))
    keep = torch.tensor([1, 4, 5])
    gates = torch.zeros(100, 8)
    gates[:, keep] = 1
    before = reader(cache.inputs, gates)
    reader.cut(keep)
    after = reader(cache.units(keep).inputs, torch.ones(100, 3))
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)


def test_keeps_one_of_two_copies_and_drops_noise_first() -> None:
    eliminator = make_eliminator(make_cache())
    dropped = eliminator.shrink(2)
    assert set(dropped[:5]) == {3, 4, 5, 6, 7} or set(dropped[:6]) & {0, 2}
    assert 1 in eliminator.left
    assert len({0, 2} & set(eliminator.left.tolist())) == 1
    assert sorted([*dropped, *eliminator.left.tolist()]) == list(range(8))


class Eager(Eliminator):
    """Asks everyone again before each removal."""

    def _drop_cheapest(self, jury: Jury, gone: Sequence[int], most: int) -> list[int]:
        left = np.setdiff1d(np.arange(len(self.left)), gone)
        cheapest = int(left[jury.rises(left.tolist()).argmin()])
        jury.drop(cheapest)
        return [cheapest]


@pytest.mark.parametrize("n", [12, 24], ids=["all asked in every round", "the cheap ones asked in further rounds"])
def test_rounds_lose_nothing_to_asking_everyone_again(n: int) -> None:
    """Carriers with a slightly worse copy each, and as much noise; one of each pair is all that is needed."""
    random = np.random.default_rng(0)
    carriers = random.normal(size=(4000, n, 2)).astype(np.float32)
    copies = carriers + random.normal(size=carriers.shape).astype(np.float32) / 4
    noise = random.normal(size=carriers.shape).astype(np.float32)
    score = (carriers[..., 0] * np.linspace(0.4, 1.6, n)).sum(axis=1)
    cache = replace(
        make_cache(4000),
        inputs=torch.as_tensor(np.concatenate([carriers, copies, noise], axis=1)),
        target=torch.as_tensor((random.random(4000) < 1 / (1 + np.exp(-score))).astype(np.float32)),
    )
    rounds, eager = make_eliminator(cache, rows=3000), make_eliminator(cache, rows=3000)
    eager.__class__ = Eager
    for eliminator in (rounds, eager):
        for size in stages(3 * n, n):
            eliminator.shrink(size)
        assert max(eliminator.left) < 2 * n, "noise goes first"
    assert len(set(rounds.left % n)) >= len(set(eager.left % n)) >= 10 * n // 12
    assert rounds.work < eager.work


def test_large_sets_never_lose_both_copies_in_one_round() -> None:
    """The two that carry half of the signal stand in for each other."""
    eliminator = make_eliminator(make_cache(2400, 80), rows=1800)
    eliminator.shrink(50)
    left = set(eliminator.left.tolist())
    assert 1 in left
    assert {0, 2} & left
    assert len(left) == 50


def test_fixed_units_stay() -> None:
    eliminator = make_eliminator(make_cache(), fixed=[6, 7])
    eliminator.shrink(2)
    assert eliminator.left.tolist() == [6, 7]
    assert eliminator.shrink(1) == []


def test_of_two_copies_the_dear_one_goes() -> None:
    """Unit 2 is the worse copy of unit 0; made dear, unit 0 is dropped for it all the same."""
    cache = make_cache()
    for dear, kept in ((0, 2), (2, 0)):
        prior = np.zeros(8)
        prior[dear] = -3.0
        assert set(make_eliminator(cache, prior=prior).shrink(2)) == set(range(8)) - {1, kept}


def test_train_rows_known_by_heart_have_no_say() -> None:
    """Unit 7 holds the labels of train rows, as an embedding of a row's id would, and nothing on validation rows."""
    cache = make_cache(4000)
    inputs = cache.inputs.clone()
    inputs[:2000, 7, 0] = 2 * cache.target[:2000] - 1
    leaky = replace(cache, inputs=inputs)
    eliminator = make_eliminator(leaky, rows=2000)
    eliminator.shrink(2)
    assert 7 not in eliminator.left
    blind = make_eliminator(leaky, rows=2000, validation=False)
    blind.shrink(2)
    assert 7 in blind.left


def with_an_id(*, held_out: float) -> Cache:
    """Unit 6 is an id that tells 35 % of the labels of the first 4,000 rows, and a share of those of the others."""
    cache = make_cache(8000)
    random = np.random.default_rng(4)
    told = random.random(8000) < np.where(np.arange(8000) < 4000, 0.35, held_out)
    shown = np.where(told, 2 * cache.target.numpy() - 1, random.choice([-1.0, 1.0], 8000))
    inputs = cache.inputs.clone()
    inputs[:, 6, 0] = torch.as_tensor(shown)
    return replace(cache, inputs=inputs)


@pytest.mark.parametrize(("held_out", "goes"), [(0.0, True), (0.3, False), (0.35, False)])
def test_an_id_that_is_mostly_known_by_heart_goes_first(held_out: float, goes: bool) -> None:
    eliminator = make_eliminator(with_an_id(held_out=held_out), rows=4000)
    dropped = eliminator.shrink(4)
    assert (dropped[0] == 6) is goes
    assert (6 in eliminator.left) is not goes
    assert {0, 2} & set(eliminator.left.tolist()), "the target's carriers stay"
    assert 1 in eliminator.left
    protected = make_eliminator(with_an_id(held_out=held_out), [6], rows=4000)
    protected.shrink(4)
    assert 6 in protected.left, "what is always kept stays"


def test_no_more_goes_than_was_asked_for() -> None:
    eliminator = make_eliminator(with_an_id(held_out=0.0), rows=4000)
    assert eliminator.shrink(8) == []
    assert eliminator.shrink(7) != []


def test_seed_reproduces() -> None:
    first, second = (make_eliminator(make_cache()).shrink(3) for _ in range(2))
    assert first == second


def test_folds_are_disjoint_and_reach_the_end_of_ordered_data() -> None:
    data = [(None, torch.arange(start, start + 100)) for start in range(0, 1000, 100)]
    even, odd = (collect(data, rows=50, fold=fold, every=10) for fold in (0, 1))
    rows = [torch.cat([part.target for part in parts]).tolist() for parts in (even, odd)]
    assert not set(rows[0]) & set(rows[1])
    assert all(row % 2 == 0 for row in rows[0])
    assert max(rows[0]) >= 900
    assert sum(part.rows for part in collect(data, rows=130)) == 130
    assert collect(data, rows=0) == []


@pytest.mark.parametrize(("k_max", "k_min"), [(256, 1), (48, 5), (3, 1), (2, 1), (7, 7)])
def test_stages_fall_to_the_end(k_max: int, k_min: int) -> None:
    sizes = list(stages(k_max, k_min))
    assert (sizes == []) == (k_max == k_min)
    assert [k_max, *sizes] == sorted({k_max, *sizes}, reverse=True)
    assert [k_max, *sizes][-1] == k_min

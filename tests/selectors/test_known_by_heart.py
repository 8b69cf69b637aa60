"""What a network knows by heart is worth more on its train rows than on held-out rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from concrete_selectors.jury import Look
from concrete_selectors.memory import Worth, worth
from concrete_selectors.reader import Cache, Reader, train_reader
from torch import Tensor
from torch.nn import functional

UNITS = 12
ROWS = 3000
#: Values of each unit: as many as there are rows, so that each could be memorised.
MANY = np.full(UNITS, 2 * ROWS)


def bce(logits: Tensor, target: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, target, reduction="none")


def make_cache(told: float, seed: int, *, drift: float = 0.0) -> Cache:
    """Units 0 to 2 carry the target; unit 5 is an id that tells a share of the labels; unit 0 is off by a drift."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(ROWS, UNITS, 1)).astype(np.float32)
    target = (random.random(ROWS) < 1 / (1 + np.exp(-values[:, :3, 0].sum(axis=1)))).astype(np.float32)
    values[:, 5, 0] = np.where(random.random(ROWS) < told, 2 * target - 1, random.choice([-1.0, 1.0], ROWS))
    values[:, 0] += drift
    zero, one = torch.zeros(1), torch.ones(1)
    return Cache(torch.as_tensor(values), torch.as_tensor(target), one[0], zero, one, one_logit=True)


def looks(told: float, held_out: float, *, drift: float = 0.0) -> tuple[list[Look], list[Look]]:
    """Two readers, each taught on half of the train rows, at the other half and at the same held-out rows."""
    halves = [make_cache(told, seed) for seed in (1, 2)]
    readers = []
    for number, half in enumerate(halves):
        reader = Reader(half, generator=torch.Generator().manual_seed(number))
        train_reader(
            reader, half, loss=bce, steps=150, fixed=np.zeros(UNITS, dtype=bool), smallest=1, n_masks=8,
            random=np.random.default_rng(number), trust=0.0,
        )  # fmt: skip
        readers.append(reader)
    unseen = make_cache(held_out, 3, drift=drift)
    train = [Look(reader, half, loss=bce) for reader, half in zip(readers, halves[::-1], strict=True)]
    return train, [Look(reader, unseen, loss=bce, held_out=ROWS) for reader in readers]


@pytest.mark.parametrize(("held_out", "by_heart", "mostly"), [(0.0, True, True), (0.4, False, False)])
def test_an_id_is_told_from_a_true_feature(held_out: float, by_heart: bool, mostly: bool) -> None:
    found = worth(*looks(0.4, held_out), MANY)
    assert found.by_heart[5] == by_heart
    assert found.mostly_by_heart[5] == mostly
    assert not np.delete(found.by_heart, 5).any()
    assert found.train[5] > 0.01


def test_a_feature_that_moves_on_with_time_is_not_known_by_heart() -> None:
    """Follow-up times of later patients are shorter: their order still tells, at another level."""
    train, later = looks(0.0, 0.0, drift=-2.5)
    found = worth(train, later, MANY)
    assert not found.by_heart[[1, 2]].any()
    assert found.held_out[0] > 0.5 * found.train[0]
    assert not found.mostly_by_heart[0]
    unlevelled = float(np.mean([(look.without(0) - look.losses())[1].mean() for look in off_level(later)]))
    assert unlevelled < 0.1 * found.train[0], "without the shift it would have looked worthless"


def off_level(looks: list[Look]) -> list[Look]:
    """The same looks at the level that the readers learned on train rows."""
    return [Look(look._reader, look._cache, loss=bce) for look in looks]


def test_worth_is_the_rise_of_the_mean_loss() -> None:
    train, held_out = looks(0.4, 0.1)
    found = worth(train, held_out, MANY)
    rises = [
        [(look.without(1) - look.losses())[1] for look in train],
        [(look.levelled_without(1) - look.losses())[1] for look in held_out],
    ]
    assert found.train[1] == pytest.approx(float(torch.cat(rises[0]).mean()))
    assert found.held_out[1] == pytest.approx(float(torch.stack(rises[1]).mean()))
    own, shared = torch.cat(rises[0]), torch.stack(rises[1]).mean(dim=0)
    assert found.train_error[1] == pytest.approx(float(own.std() / len(own) ** 0.5))
    assert found.held_out_error[1] == pytest.approx(float(shared.std() / len(shared) ** 0.5))


def test_held_out_rows_are_asked_only_for_what_train_rows_praise() -> None:
    train, held_out = looks(0.4, 0.1)
    before = [look.work for look in held_out]
    found = worth(train, held_out, MANY)
    asked = np.flatnonzero(np.isfinite(found.held_out))
    assert {0, 1, 2, 5} <= set(asked.tolist())
    assert len(asked) < UNITS
    each = [(look.work - start) / (1 + len(asked)) for look, start in zip(held_out, before, strict=True)]
    assert each == pytest.approx([ROWS * look._reader.n_head_weights / 3 for look in held_out])


@pytest.mark.parametrize(
    ("train", "held_out", "by_heart", "mostly"),
    [
        (1.0, 0.05, True, True),
        (1.0, 0.3, True, False),  # drift: worth less than it was, and still worth something
        (1.0, 0.7, True, False),
        (0.1, 0.1, False, False),
        (0.0, -1.0, False, False),  # harms held-out rows, and train rows do not praise it
    ],
)
def test_what_held_out_rows_confirm_is_not_mostly_by_heart(
    train: float, held_out: float, by_heart: bool, mostly: bool
) -> None:
    error = np.array([0.05])
    found = Worth(np.array([train]), np.array([held_out]), error, error, np.array([1.0]))
    assert found.by_heart[0] == by_heart
    assert found.mostly_by_heart[0] == mostly
    few_values = Worth(np.array([train]), np.array([held_out]), error, error, np.array([0.1]))
    assert not few_values.by_heart[0], "it is worth more on train rows than so few values could memorise"
    assert not few_values.mostly_by_heart[0]


def test_of_many_units_more_stand_out_by_chance() -> None:
    """Three standard errors are much for one unit and little for the largest of a thousand."""
    for units, expected in ((1, True), (1000, False)):
        found = Worth(
            np.full(units, 3.0), np.zeros(units), np.full(units, 0.8), np.full(units, 0.6), np.full(units, 9.0)
        )
        assert found.by_heart.all() == expected


def test_what_memory_can_hold_is_in_proportion_to_values_over_rows() -> None:
    train, held_out = looks(0.4, 0.1)
    memory = worth(train, held_out, np.arange(UNITS)).memory
    assert memory[4] == pytest.approx(np.mean([look.gain_per_value() for look in train]) * 4 / (2 * ROWS))
    np.testing.assert_allclose(memory, memory[1] * np.arange(UNITS))


@pytest.mark.parametrize(
    ("loss", "outputs", "gain"),
    [("log-loss", 1, 1.0), ("squared", 1, 2 * 4.0), ("cross-entropy", 3, 3.0), ("absolute", 1, np.inf)],
)
def test_what_a_free_number_gains(loss: str, outputs: int, gain: float) -> None:
    """On targets that the reader's outputs are right about; errors of the squared and absolute loss have variance 4."""
    random = torch.Generator().manual_seed(0)
    one = torch.ones(outputs)
    cache = Cache(torch.randn(20_000, 3, 2, generator=random), one, one[0], 0 * one, one, outputs == 1)
    reader = Reader(cache, generator=random)
    with torch.no_grad():
        logits = reader(cache.inputs, torch.ones(20_000, 3))
    if loss == "log-loss":
        target = torch.bernoulli(torch.sigmoid(logits), generator=random)
    elif loss == "cross-entropy":
        target = torch.multinomial(torch.softmax(logits, dim=1), 1, generator=random).squeeze(1)
    else:
        target = logits + 2 * torch.randn(20_000, generator=random)
    losses: dict[str, Any] = {
        "log-loss": bce,
        "squared": lambda out, y: (out - y).square(),
        "absolute": lambda out, y: (out - y).abs(),
        "cross-entropy": lambda out, y: functional.cross_entropy(out, y, reduction="none"),
    }
    look = Look(reader, replace(cache, target=target), loss=losses[loss])
    assert look.gain_per_value() == pytest.approx(gain, rel=0.05)

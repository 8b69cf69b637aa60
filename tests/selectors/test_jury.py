"""Looks judge removals exactly; the jury trusts the model as far as its corrections allow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from concrete_selectors.jury import Jury, Look
from concrete_selectors.reader import Cache, Reader, train_reader
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

UNITS = 24


def bce(logits: Tensor, target: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, target, reduction="none")


def make_cache(rows: int, *, seed: int = 0) -> tuple[Cache, Tensor]:
    """Half of the units carry a rare target; beside it, the true probabilities."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(rows, UNITS, 1)).astype(np.float32)
    score = 0.5 * values[:, : UNITS // 2, 0].sum(axis=1) - 3.0
    truth = 1 / (1 + np.exp(-score))
    target = (random.random(rows) < truth).astype(np.float32)
    zero, one = torch.zeros(1), torch.ones(1)
    cache = Cache(torch.as_tensor(values), torch.as_tensor(target), torch.tensor(1.0), zero, one, one_logit=True)
    return cache, torch.as_tensor(truth, dtype=torch.float32)


def trained_reader(cache: Cache, *, trust: float = 0.0, steps: int = 200) -> Reader:
    reader = Reader(cache, generator=torch.Generator().manual_seed(0))
    train_reader(
        reader, cache, loss=bce, steps=steps, fixed=np.zeros(UNITS, dtype=bool), smallest=1, n_masks=8,
        random=np.random.default_rng(0), trust=trust,
    )  # fmt: skip
    return reader


def one_jury(reader: Reader, cache: Cache, **arguments: float) -> Jury:
    return Jury([Look(reader, cache, loss=bce)], [torch.arange(len(cache.target))], **arguments)


def test_a_look_equals_closed_gates() -> None:
    cache, truth = make_cache(200)
    cache = replace(cache, expected=truth)
    reader = Reader(cache, generator=torch.Generator().manual_seed(0))

    def behind_gates(*closed: int) -> Tensor:
        gates = torch.ones(200, UNITS)
        gates[:, list(closed)] = 0
        logits = reader(cache.inputs, gates).detach()
        return torch.stack([bce(logits, truth), bce(logits, cache.target)]).double()

    look = Look(reader, cache, loss=bce)
    torch.testing.assert_close(look.losses(), behind_gates(), atol=1e-5, rtol=1e-5)
    look.drop(6)
    torch.testing.assert_close(look.losses(), behind_gates(6), atol=1e-5, rtol=1e-5)
    for unit in (0, 3, 5):
        torch.testing.assert_close(look.without(unit), behind_gates(6, unit), atol=1e-5, rtol=1e-5)


@settings(max_examples=20)
@given(st.floats(0, 1), st.integers(0, UNITS - 2))
def test_a_rise_lies_between_the_model_and_the_labels(doubt: float, unit: int) -> None:
    cache, truth = make_cache(300)
    cache = replace(cache, expected=truth)
    reader = Reader(cache, generator=torch.Generator().manual_seed(1))
    look = Look(reader, cache, loss=bce)
    by_model, by_label = (look.without(unit) - look.losses()).sum(dim=1).tolist()
    found = one_jury(reader, cache, doubt=doubt).rises([unit])[0]
    assert found == pytest.approx((1 - doubt) * by_model + doubt * by_label, abs=1e-6)


def test_without_expectations_labels_are_all() -> None:
    cache, _ = make_cache(300)
    reader = Reader(cache, generator=torch.Generator().manual_seed(0))
    look, jury = Look(reader, cache, loss=bce), one_jury(reader, cache)
    rises = jury.rises(list(range(UNITS)))
    expected = [float((look.without(unit) - look.losses())[1].sum()) for unit in range(UNITS)]
    np.testing.assert_allclose(rises, expected, atol=1e-6)


def test_a_rise_is_what_a_unit_costs_once_others_are_gone() -> None:
    cache, truth = make_cache(300)
    reader = Reader(cache, generator=torch.Generator().manual_seed(0))
    jury = one_jury(reader, replace(cache, expected=truth))
    alone = jury.rises(list(range(UNITS)))[5]
    jury.drop(3)
    now = jury.rise(5)
    assert now == pytest.approx(jury.rises([5])[0], abs=1e-9)
    assert now != pytest.approx(alone, abs=1e-5), "dropping another unit changes what this one is worth"


def test_a_true_model_is_trusted_and_a_wrong_one_is_not() -> None:
    cache, truth = make_cache(4000)
    reader = trained_reader(replace(cache, expected=truth), trust=1.0)
    fresh, truth = make_cache(4000, seed=1)
    flipped = fresh.inputs[:, :, 0][:, UNITS // 2 :].sum(dim=1).sigmoid()
    doubts = []
    for expected in (truth, flipped):
        jury = one_jury(reader, replace(fresh, expected=expected))
        jury.rises(list(range(UNITS)))
        doubts.append(jury.doubt)
    assert doubts[0] is not None
    assert doubts[1] is not None
    assert doubts[0] < 0.5
    assert doubts[1] > 0.9


def test_rows_seen_twice_count_once() -> None:
    """Two readers on the same rows are no more evidence than one, so the doubt is the same."""
    cache, truth = make_cache(1000)
    cache = replace(cache, expected=(truth * 1.5).clamp(max=0.99))
    reader = trained_reader(cache, steps=100)
    rows = torch.arange(1000)
    once = one_jury(reader, cache)
    twice = Jury([Look(reader, cache, loss=bce) for _ in range(2)], [rows, rows])
    np.testing.assert_allclose(twice.rises(list(range(UNITS))), 2 * once.rises(list(range(UNITS))), atol=1e-6)
    assert once.doubt == pytest.approx(twice.doubt)


def test_units_known_by_heart_are_judged_on_held_out_rows_alone() -> None:
    cache, _ = make_cache(4000)
    readers = [Reader(cache, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    halves = [torch.arange(2000, 3000), torch.arange(3000, 4000)]
    held_out = torch.arange(2000)
    rows = [torch.cat([half, held_out]) for half in halves]
    looks = [Look(reader, cache.rows(own), loss=bce) for reader, own in zip(readers, rows, strict=True)]
    jury = Jury(looks, rows, n_held_out=2000, by_heart=[20])
    rises = jury.rises(list(range(UNITS)))
    rise = torch.stack([(look.without(20) - look.losses())[1, 1000:] for look in looks]).sum(dim=0).mean()
    assert rises[20] == pytest.approx(float(rise) * 6000 / 4000 * 2000, rel=1e-9), "weighted like any other unit"
    both = sum(float((look.without(3) - look.losses())[1].sum()) for look in looks)
    assert rises[3] == pytest.approx(both, rel=1e-9)


def test_expectations_teach_more_than_rare_labels() -> None:
    """Against the truth, a reader taught by what a good model expects is closer than one taught by labels."""
    cache, truth = make_cache(600)
    fresh, fresh_truth = make_cache(4000, seed=1)
    gaps = []
    for trust in (0.0, 1.0):
        reader = trained_reader(replace(cache, expected=truth), trust=trust)
        with torch.no_grad():
            gaps.append(float(bce(reader(fresh.inputs, torch.ones(4000, UNITS)), fresh_truth).mean()))
    assert gaps[1] < gaps[0]

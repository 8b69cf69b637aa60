"""The selector layer: distributions, distinctness, gradients, gates."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from concrete_selectors.gates import concrete
from concrete_selectors.gates.concrete import (
    ConcreteSelector,
    assign_distinct,
    gates_from_masks,
    generalized_jensen_shannon,
)
from concrete_selectors.sklearn.autoencoder import decoder, select
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy
from torch import Tensor, nn


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", ["cae", "ip_cae"])
@pytest.mark.parametrize("temperature", [10.0, 0.01])
def test_masks_are_distributions(kind: str, temperature: float) -> None:
    masks = ConcreteSelector(40, 6, kind=kind, generator=seeded()).masks(temperature, 5, generator=seeded())  # type: ignore[arg-type]
    assert masks.shape == (5, 6, 40)
    assert torch.isfinite(masks).all()
    torch.testing.assert_close(masks.sum(dim=-1), torch.ones(5, 6))


def test_noise_is_gumbel() -> None:
    """The arg max of noisy logits falls on a unit with its softmax probability (Gumbel-max)."""
    selector = ConcreteSelector(4, 1, kind="cae")
    with torch.no_grad():
        selector.direct.copy_(torch.tensor([[0.0, 1.0, 2.0, -1.0]]))
    picks = selector.masks(0.5, 40_000, generator=seeded()).argmax(dim=-1).flatten()
    shares = torch.bincount(picks, minlength=4) / len(picks)
    torch.testing.assert_close(shares, selector.probabilities()[0], atol=0.01, rtol=0)


@pytest.mark.parametrize("rank", [8, 64, 300])
def test_initial_indirect_logits_have_the_published_spread(rank: int) -> None:
    logits = ConcreteSelector(500, 200, rank=rank, generator=seeded()).logits().detach()
    expected = 1 / math.sqrt(3)
    assert float(logits.std()) == pytest.approx(math.hypot(expected, expected / math.sqrt(rank)), rel=0.1)


def test_default_rank() -> None:
    assert ConcreteSelector(200, 10).rank == 64
    assert ConcreteSelector(200, 100).rank == 100


@pytest.mark.parametrize("kind", ["cae", "ip_cae"])
def test_gradient_reaches_every_parameter(kind: str) -> None:
    selector = ConcreteSelector(12, 3, kind=kind, generator=seeded())  # type: ignore[arg-type]
    weight = torch.randn(12, generator=seeded(1))
    (selector.gates(1.0, 4, generator=seeded()) @ weight).sum().backward()
    for name, parameter in selector.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_reading_the_layer_twice_changes_nothing() -> None:
    selector = ConcreteSelector(12, 3, generator=seeded())
    first = (selector.logits(), selector.assignment(), selector.mean_max_probability())
    second = (selector.logits(), selector.assignment(), selector.mean_max_probability())
    assert torch.equal(first[0], second[0])
    assert (first[1] == second[1]).all()
    assert first[2] == second[2]


@given(seed=st.integers(0, 10_000), slots=st.integers(1, 8), extra=st.integers(0, 8), same=st.booleans())
@settings(max_examples=50)
def test_assignment_is_always_distinct(seed: int, slots: int, extra: int, same: bool) -> None:
    logits = torch.randn(slots, slots + extra, generator=seeded(seed))
    if same:
        logits = logits[:1].repeat(slots, 1)  # every slot wants the same unit
    chosen = assign_distinct(logits)
    assert len(set(chosen.tolist())) == slots
    assert chosen.min() >= 0
    assert chosen.max() < slots + extra


def test_assignment_has_the_largest_weight() -> None:
    logits = torch.randn(3, 5, generator=seeded(3))
    weights = torch.log_softmax(logits, dim=-1)
    best = max(itertools.permutations(range(5), 3), key=lambda units: float(weights[range(3), list(units)].sum()))
    assert assign_distinct(logits).tolist() == list(best)


def test_blocked_units_are_never_chosen() -> None:
    blocked = torch.tensor([True, False] * 5)
    selector = ConcreteSelector(10, 5, blocked=blocked, generator=seeded())
    assert set(selector.assignment().tolist()) == {1, 3, 5, 7, 9}
    assert selector.gates(1.0, 3, generator=seeded())[:, blocked].max() < 1e-6
    assert selector.probabilities()[:, blocked].max() == 0


def test_prior_lifts_a_unit() -> None:
    prior = torch.zeros(30)
    prior[17] = 8.0
    chosen = ConcreteSelector(30, 1, prior=prior, generator=seeded()).assignment()
    assert chosen.tolist() == [17]


@given(seed=st.integers(0, 1000), units=st.integers(2, 9), slots=st.integers(1, 4))
@settings(max_examples=30)
def test_gates_are_the_chance_that_any_slot_is_open(seed: int, units: int, slots: int) -> None:
    masks = torch.softmax(torch.randn(2, slots, units, generator=seeded(seed)), dim=-1)
    torch.testing.assert_close(gates_from_masks(masks), 1 - (1 - masks).prod(dim=1), atol=1e-5, rtol=1e-4)
    first_only = torch.zeros(2, slots)
    first_only[:, 0] = 1
    torch.testing.assert_close(gates_from_masks(masks, first_only), masks[:, 0], atol=1e-5, rtol=1e-4)


def test_gates_of_hard_masks_are_hard() -> None:
    gates = gates_from_masks(torch.eye(4)[:2].unsqueeze(0))
    torch.testing.assert_close(gates, torch.tensor([[1.0, 1.0, 0.0, 0.0]]), atol=1e-5, rtol=0)


def test_masks_drawn_one_at_a_time_learn_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the memory limit masks are drawn again for the backward pass: their gradient fits their value."""
    monkeypatch.setattr(concrete, "_KEPT_NUMBERS", 0)
    selector = ConcreteSelector(7, 2, kind="cae", generator=seeded()).double()
    slots = torch.tensor([[1.0, 1.0], [1.0, 0.0]], dtype=torch.float64)

    def value(direct: Tensor) -> Tensor:
        with torch.no_grad():
            selector.direct.copy_(direct)
        return (selector.gates(0.7, 2, slots=slots, generator=seeded(5)) ** 2).sum()

    start = selector.direct.detach().clone()
    value(start).backward()
    assert selector.direct.grad is not None
    step = torch.zeros_like(start)
    step[1, 3] = 1e-3
    slope = (value(start + step) - value(start - step)) / 2e-3
    assert float(selector.direct.grad[1, 3]) == pytest.approx(float(slope.detach()), rel=1e-2, abs=1e-6)


@given(seed=st.integers(0, 1000), slots=st.integers(1, 5), units=st.integers(1, 9))
@settings(max_examples=30)
def test_diversity_against_scipy(seed: int, slots: int, units: int) -> None:
    p = torch.softmax(3 * torch.randn(slots, units, generator=seeded(seed), dtype=torch.float64), dim=-1)
    expected = entropy(p.mean(dim=0).numpy()) - np.mean([entropy(row) for row in p.numpy()])
    value = float(generalized_jensen_shannon(p))
    assert value == pytest.approx(expected, abs=1e-9)
    assert -1e-9 <= value <= math.log(slots) + 1e-9


def test_duplicates_are_counted() -> None:
    selector = ConcreteSelector(5, 3, kind="cae")
    with torch.no_grad():
        selector.direct.copy_(torch.eye(5)[[0, 0, 2]])
    assert selector.n_duplicate_argmax() == 1
    assert len(set(selector.assignment().tolist())) == 3


def test_seeds_reproduce() -> None:
    one, two = (ConcreteSelector(20, 4, generator=seeded(9)) for _ in range(2))
    assert torch.equal(one.masks(2.0, 3, generator=seeded(1)), two.masks(2.0, 3, generator=seeded(1)))
    assert not torch.equal(one.masks(2.0, 3, generator=seeded(1)), two.masks(2.0, 3, generator=seeded(2)))


@pytest.mark.parametrize("slots", [0, -1, 6])
def test_refuses_impossible_numbers_of_slots(slots: int) -> None:
    with pytest.raises(ValueError, match=f"n_slots={slots}: 5 features"):
        ConcreteSelector(5, slots)


def test_refuses_an_unknown_kind_and_rank() -> None:
    with pytest.raises(ValueError, match="kind='x'"):
        ConcreteSelector(5, 2, kind="x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rank=0"):
        ConcreteSelector(5, 2, rank=0)


@st.composite
def selectors(draw: st.DrawFn) -> ConcreteSelector:
    """Small selectors of both kinds and any rank, with blocked units that leave enough free, and a prior or none."""
    units = draw(st.integers(1, 10))
    slots = draw(st.integers(1, units))
    blocked = draw(st.sets(st.integers(0, units - 1), max_size=units - slots))
    prior = draw(st.none() | st.lists(st.floats(-30, 30, width=32), min_size=units, max_size=units))
    return ConcreteSelector(
        units,
        slots,
        kind=draw(st.sampled_from(["cae", "ip_cae"])),
        rank=draw(st.none() | st.integers(1, 5)),
        prior=None if prior is None else torch.tensor(prior),
        blocked=torch.tensor([unit in blocked for unit in range(units)]),
        generator=seeded(draw(st.integers(0, 10_000))),
    )


temperatures = st.floats(0.01, 20.0)


@given(selector=selectors(), temperature=temperatures, n_masks=st.integers(1, 4), seed=st.integers(0, 1000))
@settings(max_examples=80)
def test_any_mask_is_a_distribution_over_free_units(
    selector: ConcreteSelector, temperature: float, n_masks: int, seed: int
) -> None:
    masks = selector.masks(temperature, n_masks, generator=seeded(seed))
    assert masks.shape == (n_masks, selector.n_slots, selector.n_units)
    assert (masks >= 0).all()
    torch.testing.assert_close(masks.sum(dim=-1), torch.ones(n_masks, selector.n_slots))
    blocked = selector.get_buffer("offset") <= concrete.BLOCKED
    assert (masks[..., blocked] < 1e-6).all()


def gradients(value: Tensor, selector: ConcreteSelector) -> dict[str, Tensor]:
    selector.zero_grad(set_to_none=True)
    value.backward()
    found = {name: parameter.grad for name, parameter in selector.named_parameters()}
    return {name: grad.clone() for name, grad in found.items() if grad is not None}


@given(selector=selectors(), temperature=temperatures, n_masks=st.integers(1, 4), seed=st.integers(0, 1000))
@settings(max_examples=50)
def test_masks_drawn_twice_have_the_gates_and_gradients_of_masks_kept(
    selector: ConcreteSelector, temperature: float, n_masks: int, seed: int
) -> None:
    """The kept form draws one noise for all masks, the other a seed per mask: the same seeds by hand must agree."""
    part = torch.randint(0, 2, (n_masks, selector.n_slots), generator=seeded(seed + 1)).float()
    weight = torch.randn(selector.n_units, generator=seeded(seed + 2))
    for slots in (None, part):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(concrete, "_KEPT_NUMBERS", 0)
            gates = selector.gates(temperature, n_masks, slots=slots, generator=seeded(seed))
            drawn_twice = gradients((gates @ weight).sum(), selector)
        seeds = torch.randint(2**62, (n_masks,), generator=seeded(seed)).tolist()
        masks = torch.cat([selector.masks(temperature, generator=seeded(one)) for one in seeds])
        kept = gates_from_masks(masks, slots)
        assert gates.shape == (n_masks, selector.n_units)
        assert (gates >= 0).all()
        assert (gates <= 1).all()
        torch.testing.assert_close(gates, kept)
        expected = gradients((kept @ weight).sum(), selector)
        assert set(drawn_twice) == set(expected) == {name for name, _ in selector.named_parameters()}
        for name, grad in drawn_twice.items():
            assert torch.isfinite(grad).all(), name
            scale = float(expected[name].abs().max())
            torch.testing.assert_close(grad, expected[name], rtol=1e-4, atol=1e-6 + 1e-5 * scale)


@pytest.mark.parametrize("kind", ["cae", "ip_cae"])
def test_gradient_of_masks_drawn_twice_reaches_every_parameter(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concrete, "_KEPT_NUMBERS", 0)
    selector = ConcreteSelector(12, 3, kind=kind, generator=seeded())  # type: ignore[arg-type]
    weight = torch.randn(12, generator=seeded(1))
    found = gradients((selector.gates(1.0, 4, generator=seeded()) @ weight).sum(), selector)
    assert set(found) == {name for name, _ in selector.named_parameters()}
    assert all(grad.abs().sum() > 0 for grad in found.values())


@given(
    kind=st.sampled_from(["cae", "ip_cae"]),
    units=st.integers(2, 9),
    slots=st.integers(1, 4),
    n_masks=st.integers(1, 6),
    rows=st.integers(6, 13),
    hidden=st.sampled_from([(), (8,), (8, 6)]),
    temperature=st.floats(0.5, 10.0),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40)
def test_a_step_in_slot_form_teaches_every_parameter(
    kind: str,
    units: int,
    slots: int,
    n_masks: int,
    rows: int,
    hidden: tuple[int, ...],
    temperature: float,
    seed: int,
) -> None:
    slots = min(slots, units)
    selector = ConcreteSelector(units, slots, kind=kind, generator=seeded(seed))  # type: ignore[arg-type]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = decoder(slots, hidden, 3)
    x = torch.randn(rows, units, generator=seeded(seed + 1))
    target = torch.randn(rows, 3, generator=seeded(seed + 2))
    chosen = select(x, selector.masks(temperature, n_masks, generator=seeded(seed)))
    assert chosen.shape == (rows, slots)
    (head(chosen) - target).square().mean().backward()
    for name, parameter in nn.ModuleList([selector, head]).named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name

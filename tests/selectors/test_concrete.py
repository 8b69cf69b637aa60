"""The selector layer: distributions, distinctness, gradients, gates."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from concrete_selectors.gates import concrete, noisy_gates
from concrete_selectors.gates.concrete import (
    ConcreteSelector,
    assign_distinct,
    gate_compute,
    generalized_jensen_shannon,
)
from concrete_selectors.gates.training import nested_counts
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
    """The argmax of noisy logits is a unit with its softmax probability (Gumbel-max)."""
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
    """Small selectors of both kinds and any rank, with blocked units (enough are free), with or without a prior."""
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


@st.composite
def draws(draw: st.DrawFn) -> dict[str, Any]:
    """A selector, and how its gates are drawn: block size, from one row to all, and number of kept blocks."""
    selector = draw(selectors())
    counts = draw(st.lists(st.integers(1, selector.n_slots), min_size=1, max_size=4))
    return {
        "selector": selector,
        "counts": draw(st.sampled_from([None, counts])),
        "n_masks": len(counts),
        "temperature": draw(temperatures),
        "seed": draw(st.integers(0, 1000)),
        "_BLOCK_NUMBERS": draw(st.integers(1, 60)),
        "_KEPT_NUMBERS": draw(st.integers(0, 60)),
    }


@given(case=draws())
@settings(max_examples=80)
def test_gates_and_gradients_are_those_of_autograd_on_the_masks(case: dict[str, Any]) -> None:
    """They depend on the generator's numbers only, not on how many are drawn at once or drawn again."""
    selector, temperature, counts = case["selector"], case["temperature"], case["counts"]
    weight = torch.randn(selector.n_units, generator=seeded(1))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_BLOCK_NUMBERS", "_KEPT_NUMBERS"):
            patch.setattr(noisy_gates, name, case[name])
        gates = selector.gates(temperature, case["n_masks"], counts=counts, generator=seeded(case["seed"]))
        found = gradients((gates @ weight).sum(), selector)
    noise = seeded(case["seed"])
    rows = []
    for count in counts or [selector.n_slots] * case["n_masks"]:
        minus = noisy_gates.minus_gumbel(count, selector.n_units, weight, noise)
        mask = torch.softmax((selector.logits()[:count] - minus) / temperature, dim=-1)
        rows.append(-torch.expm1(torch.log1p(-mask.clamp_max(1 - 1e-6)).sum(dim=0)))
    expected = gradients((torch.stack(rows) @ weight).sum(), selector)
    assert gates.shape == (case["n_masks"], selector.n_units)
    assert (gates >= 0).all()
    assert (gates <= 1).all()
    torch.testing.assert_close(gates, torch.stack(rows), atol=1e-5, rtol=1e-4)
    assert set(found) == set(expected) == {name for name, _ in selector.named_parameters()}
    for name, grad in found.items():
        scale = float(expected[name].abs().max())
        torch.testing.assert_close(grad, expected[name], rtol=1e-3, atol=1e-5 + 1e-4 * scale)


def test_gates_have_the_slope_that_differences_show() -> None:
    direct = torch.randn(3, 5, generator=seeded(), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda logits: noisy_gates.noisy_gates(logits, 0.7, [3, 1, 2], seeded(5)), direct)


def test_gates_are_the_chance_that_any_slot_is_open() -> None:
    """Almost without noise: two slots with probabilities on several units."""
    selector = ConcreteSelector(3, 2, kind="cae").double()
    shares = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.2, 0.6]], dtype=torch.float64)
    with torch.no_grad():
        selector.direct.copy_(1e6 * shares.log())
        gates = selector.gates(1e6, 2, counts=[2, 1], generator=seeded())
    expected = torch.stack([1 - (1 - shares).prod(dim=0), shares[0]])
    torch.testing.assert_close(gates, expected, atol=1e-4, rtol=0)


def test_narrow_numbers_are_gated_in_single_precision() -> None:
    logits = torch.randn(2, 5, generator=seeded()).bfloat16().requires_grad_()
    gates = noisy_gates.noisy_gates(logits, 0.5, [2, 1], seeded())
    assert gates.dtype == torch.float32
    gates.sum().backward()
    assert logits.grad is not None
    assert logits.grad.dtype == torch.bfloat16


def test_slots_are_nested() -> None:
    counts = np.array([nested_counts(16, 100, seeded(seed)) for seed in range(400)])
    assert (counts[:, ::2] == 100).all()
    odd = counts[:, 1::2]
    assert odd.min() == 1
    assert odd.max() == 100
    assert np.median(odd) == pytest.approx(math.sqrt(101), abs=1.5)
    assert odd.mean() == pytest.approx(100 / math.log(101), rel=0.06)


def test_work_of_the_gates_follows_the_numbers_that_are_drawn() -> None:
    counts = [sum(nested_counts(16, 200, seeded(seed))) for seed in range(200)]
    each = gate_compute(500, 200, kind="cae", n_masks=16)
    assert each == pytest.approx(concrete._NUMBER_WORK * 500 * np.mean(counts), rel=0.03)
    indirect = gate_compute(500, 200, kind="ip_cae", n_masks=16)
    assert indirect - each == pytest.approx(concrete._PRODUCT_WORK * 500 * 200 * 200)


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

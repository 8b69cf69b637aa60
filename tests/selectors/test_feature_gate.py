"""The gate as a layer in a plain training loop: it finds the signals, resumes exactly, and reports misuse."""

from __future__ import annotations

import copy
import doctest
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from concrete_selectors import FeatureGate, PathSettings, SelectionTask, Teacher, feature_gate, fit_path
from keyed import Keyed
from tiny_model import LOSSES, make_batches
from torch import Tensor, nn

N, SIGNALS, ROWS = 30, 6, 2000
WIDTHS = [1, 256, 4, 16, 2, 8] * 5


def planted(seed: int = 0) -> tuple[Tensor, Tensor]:
    """The first features determine the label, the others are noise."""
    random = np.random.default_rng(seed)
    x = random.integers(0, 5, (ROWS, N))
    score = ((x[:, :SIGNALS] - 2) * random.choice([-0.8, 0.8], SIGNALS)).sum(axis=1)
    return torch.as_tensor(x), torch.as_tensor(random.random(ROWS) < 1 / (1 + np.exp(-score)), dtype=torch.float32)


class Model(nn.Module):
    """A team's own model, with the two lines that make it selectable."""

    def __init__(self, widths: list[int], gate: FeatureGate | None) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(5, width) for width in widths)
        for table in self.tables:
            nn.init.normal_(table.weight, std=0.1)
        self.layers = nn.Sequential(nn.Linear(sum(widths), 32), nn.ReLU(), nn.Linear(32, 1))
        self.gate = gate

    def embed(self, x: Tensor) -> list[Tensor]:
        return [table(x[:, place]) for place, table in enumerate(self.tables)]

    def predict(self, embedded: list[Tensor]) -> Tensor:
        return self.layers(torch.cat(embedded, dim=1))[:, 0]

    def forward(self, x: Tensor) -> Tensor:
        embedded = self.embed(x)
        return self.predict(embedded if self.gate is None else self.gate(embedded))


def trained(
    model: Model, x: Tensor, y: Tensor, steps: range, *, optimizer: torch.optim.Optimizer | None = None
) -> torch.optim.Optimizer:
    """Some steps of a plain loop on batches that depend only on the step."""
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3) if optimizer is None else optimizer
    model.train()
    for step in steps:
        rows = torch.randint(len(x), (100,), generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        LOSSES["binary"](model(x[rows]), y[rows]).mean().backward()
        if model.gate is not None:
            model.gate.step()
        optimizer.step()
    return optimizer


def gate_of(steps: int = 240, n: int = N, k: int = SIGNALS, **changes: Any) -> FeatureGate:
    return FeatureGate(n, k, **{"steps": steps, "generator": torch.Generator().manual_seed(0), **changes})


@pytest.mark.parametrize(
    "widths", [[4] * N, pytest.param(WIDTHS, marks=pytest.mark.slow)], ids=["one width", "1 to 256"]
)
def test_a_plain_loop_finds_the_planted_truth_as_well_as_fit_path(widths: list[int]) -> None:
    x, y = planted()
    torch.manual_seed(0)
    gated = Model(widths, gate_of())
    trained(gated, x, y, range(240))
    assert gated.gate is not None
    found = set(gated.gate.keep().tolist()) & set(range(SIGNALS))
    full = Model(widths, None)
    trained(full, x, y, range(120))
    cut = ROWS * 3 // 4
    task = SelectionTask(
        full, make_batches(x[:cut], y[:cut], 100, shuffle=True), make_batches(x[cut:], y[cut:], 100, shuffle=False),
        LOSSES["binary"], cut // 100, teacher=Teacher(full, torch.sigmoid),
    )  # fmt: skip
    by_path = set(fit_path(task, PathSettings(k_max=2 * SIGNALS)).subset(SIGNALS).tolist()) & set(range(SIGNALS))
    assert len(found) >= max(len(by_path), SIGNALS) - 1  # by chance: 1.2 of 6
    gated.eval()
    hidden = x.clone()
    dropped = np.setdiff1d(np.arange(N), gated.gate.keep())
    hidden[:, dropped] = 0
    assert torch.equal(gated(x), gated(hidden))


def test_a_training_that_goes_on_from_a_checkpoint_ends_at_the_same_bits() -> None:
    x, y = planted()
    torch.manual_seed(0)
    whole = Model(WIDTHS, gate_of(40))
    part = copy.deepcopy(whole)
    trained(whole, x, y, range(40))
    optimizer = trained(part, x, y, range(25))
    file = io.BytesIO()
    torch.save({"model": part.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    torch.manual_seed(99)
    again = Model(WIDTHS, FeatureGate(N, SIGNALS, steps=40))
    again.load_state_dict(saved["model"])
    fresh = torch.optim.Adam(again.parameters(), lr=3e-3)
    fresh.load_state_dict(saved["optimizer"])
    trained(again, x, y, range(25, 40), optimizer=fresh)
    expected, found = whole.state_dict(), again.state_dict()
    for name, value in expected.items():
        assert name.endswith("_extra_state") or torch.equal(value, found[name]), name
    assert torch.equal(expected["gate._extra_state"]["means"], found["gate._extra_state"]["means"])
    assert whole.gate is not None
    assert again.gate is not None
    assert whole.gate.temperature == again.gate.temperature
    torch.testing.assert_close(whole.eval()(x), again.eval()(x), rtol=0, atol=0)


def test_the_generator_sets_the_noise_and_copies_are_independent() -> None:
    x, y = planted()

    def logits(seed: int) -> Tensor:
        torch.manual_seed(5)
        model = Model([2] * N, FeatureGate(N, 4, steps=20, generator=torch.Generator().manual_seed(seed)))
        twin = copy.deepcopy(model)
        trained(model, x, y, range(10))
        assert model.gate is not None
        assert twin.gate is not None
        assert not torch.equal(model.gate.selector.logits(), twin.gate.selector.logits())
        trained(twin, x, y, range(10))
        assert torch.equal(model.gate.selector.logits(), twin.gate.selector.logits())
        return model.gate.selector.logits()

    assert torch.equal(logits(0), logits(0))
    assert not torch.equal(logits(0), logits(1))


def keyed(vectors: list[Tensor]) -> Keyed:
    return Keyed(list("abc"), [vector.shape[1] for vector in vectors], torch.cat(vectors, dim=1))


@pytest.mark.parametrize(
    ("write", "read"),
    [
        (list, list),
        (tuple, list),
        (lambda vectors: dict(zip("cab", vectors, strict=True)), lambda named: list(named.values())),
        (keyed, lambda named: list(named.to_dict().values())),
        (lambda vectors: torch.cat(vectors, dim=1), lambda flat: list(flat.split([3, 1, 2], dim=1))),
    ],
    ids=["list", "tuple", "dict", "keyed", "flat"],
)
def test_every_form_comes_back_as_it_came_and_the_best_are_open(
    write: Callable[[list[Tensor]], Any], read: Callable[[Any], list[Tensor]]
) -> None:
    vectors = [torch.randn(8, width) for width in (3, 1, 2)]
    given = write(vectors)
    gate = gate_of(1, n=3, k=2, warmup=0, widths=[3, 1, 2], protected=[1], excluded=[2])
    gated = gate(given)
    assert type(gated) is type(given)
    soft = read(gated)
    torch.testing.assert_close(soft[1], vectors[1])
    torch.testing.assert_close(soft[2], vectors[2].mean(dim=0).expand(8, -1))
    sum((part**2).sum() for part in soft).backward()
    gate.step()
    assert gate.keep().tolist() == [0, 1]
    assert gate.keep(1).tolist() == [1]
    open_ones = read(gate.eval()(given))
    torch.testing.assert_close(open_ones[0], vectors[0])
    torch.testing.assert_close(open_ones[2], vectors[2].mean(dim=0).expand(8, -1))


def test_a_block_of_one_width_and_groups() -> None:
    embedded = torch.randn(8, 4, 3)
    gate = gate_of(1, n=4, k=1, warmup=0, groups=[0, 1, 0, 1])
    gate(embedded).pow(2).sum().backward()
    gate.step()
    kept = gate.keep()
    assert kept.tolist() in ([0, 2], [1, 3])
    gated = gate.eval()(embedded)
    assert gated.shape == embedded.shape
    torch.testing.assert_close(gated[:, kept], embedded[:, kept])
    assert gated[:, np.setdiff1d(range(4), kept)].std(dim=0).max() < 1e-6


def test_hard_ends_the_selection_for_a_fine_tuning() -> None:
    x, y = planted()
    model = Model(WIDTHS, gate_of(20))
    optimizer = trained(model, x, y, range(20))
    assert model.gate is not None
    before = model.gate.selector.logits().clone()
    assert model.gate.hard(3) is model.gate
    trained(model, x, y, range(20, 25), optimizer=optimizer)
    assert torch.equal(before, model.gate.selector.logits())
    assert torch.equal(model.train()(x), model.eval()(x))


def test_all_but_excluded_features_are_open_until_gates_are_trained() -> None:
    embedded = torch.randn(50, N, 2)
    gate = gate_of(6, warmup=0.5, excluded=[3])
    assert torch.equal(gate.eval()(embedded), embedded)
    gate.train()
    for _ in range(3):
        warm = gate(embedded)
        torch.testing.assert_close(warm[:, 4:], embedded[:, 4:])
        torch.testing.assert_close(warm[:, 3], embedded[:, 3].mean(dim=0).expand(50, -1))
        assert gate.temperature == 10.0
        warm.sum().backward()
        gate.step()
    torch.testing.assert_close(gate.eval()(embedded), warm.detach())
    assert not torch.allclose(gate.train()(embedded)[:, 4:], embedded[:, 4:])


def test_a_share_of_the_training_sets_the_temperature() -> None:
    embedded = torch.randn(16, N, 2)
    gate = gate_of(1000, warmup=0)
    found = []
    for share in (0.25, 0.5, 1.0):
        gate(embedded).pow(2).sum().backward()
        gate.step(share)
        found.append(gate.temperature)
    assert found == pytest.approx([10 * 0.01**0.25, 1.0, 0.1], rel=0.01)


def test_a_gradient_that_is_not_finite_moves_nothing() -> None:
    """As in the first steps of mixed precision."""
    gate = gate_of(10, warmup=0)
    before = gate.selector.logits().clone()
    (gate(torch.randn(16, N, 2)) * torch.inf).sum().backward()
    gate.step()
    assert torch.equal(before, gate.selector.logits())
    with pytest.raises(RuntimeError, match="never trained"):
        gate.keep()


def test_the_example_of_its_documentation_runs() -> None:
    [example] = [one for one in doctest.DocTestFinder().find(FeatureGate, globs=vars(feature_gate)) if one.examples]
    assert doctest.DocTestRunner().run(example).failed == 0


def test_mistakes_are_one_line() -> None:
    embedded = torch.randn(16, N, 2)
    gate = gate_of(10, warmup=0)
    with pytest.raises(RuntimeError, match=r"no gradient; call it after loss.backward\(\)"):
        gate.step()
    for warmup in (0, 0.5):
        gate = gate_of(10, warmup=warmup)
        own = torch.optim.Adam(gate.parameters(), lr=0.1)
        gate(embedded).pow(2).sum().backward()
        own.step()
        with pytest.raises(RuntimeError, match=r"call it before optimizer.step\(\)"):
            gate.step()
    with pytest.raises(ValueError, match="FeatureGate received 3 embeddings for 30 features"):
        gate(embedded[:, :3])
    with pytest.raises(ValueError, match="width 3 for feature 0, but 2 for an earlier batch"):
        gate(torch.randn(16, N, 3))
    with pytest.raises(ValueError, match=r"share=1\.5: give a number from 0 to 1"):
        gate.step(1.5)
    for arguments, says in [
        ({"k": 31}, "k=31: give 1 to 30"),
        ({"steps": 0}, "steps=0"),
        ({"warmup": 1.0}, "warmup=1.0: give a share"),
        ({"slots": 2}, "slots=2: give 6 to 30"),
        ({"noise_masks": 0}, "noise_masks=0"),
        ({"protected": range(6)}, "slots=6: give 7 to 30"),
    ]:
        with pytest.raises(ValueError, match=says):
            gate_of(**{"steps": 10, **arguments})


def test_ranks_of_a_distributed_training_agree() -> None:
    """The gate is an ordinary module: DistributedDataParallel averages its gradients before ``step`` takes them."""
    dist = torch.distributed
    if not dist.is_available():
        pytest.skip("torch was built without distributed")
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        x, y = planted()
        torch.manual_seed(0)
        model = Model([2] * N, gate_of(7))
        twin = copy.deepcopy(model)
        wrapped = nn.parallel.DistributedDataParallel(model)
        optimizer = torch.optim.Adam(wrapped.parameters(), lr=3e-3)
        for step in range(9):  # warm-up, selection, fine-tuning
            rows = torch.randint(len(x), (100,), generator=torch.Generator().manual_seed(step))
            optimizer.zero_grad()
            LOSSES["binary"](wrapped(x[rows]), y[rows]).mean().backward()
            assert model.gate is not None
            model.gate.step()
            optimizer.step()
            if step == 6:
                model.gate.hard()
        trained(twin, x, y, range(7))
        assert twin.gate is not None
        torch.testing.assert_close(model.gate.selector.logits(), twin.gate.selector.logits())
    finally:
        dist.destroy_process_group()

"""Every selector on a GPU, the default of a team that has one."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from concrete_selectors import SELECTORS, FeatureGate, Teacher
from concrete_selectors.baselines import tables
from planted import learn, nest, rank
from torch import Tensor, nn

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]


@pytest.fixture(autouse=True)
def few_rows_for_lassonet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_LASSONET_ROWS", 400)


@pytest.fixture
def cuda_task(binary_task: SimpleNamespace) -> SimpleNamespace:
    """The planted task with model and batches on the GPU."""
    task = SimpleNamespace(**vars(binary_task))
    task.model = copy.deepcopy(task.model).cuda()
    for name in ("train", "validation"):
        setattr(task, name, moved(getattr(binary_task, name)))
    return task


def moved(source: Any) -> Any:
    def epoch(number: int) -> Iterator[tuple[Tensor, Tensor]]:
        return ((x.cuda(), y.cuda()) for x, y in source(number))

    return epoch


@pytest.mark.parametrize("taught", [False, True], ids=["labels only", "taught by the model"])
def test_the_signals_are_found(cuda_task: SimpleNamespace, taught: bool) -> None:
    teacher = Teacher(cuda_task.model, torch.sigmoid) if taught else None
    path = learn(cuda_task, protected=[7], excluded=[9], teacher=teacher, should_stop=lambda step, loss: False)
    assert {1, 2, 7} <= set(path.subset(4).tolist())
    assert path.ranking[-1] == 9


def test_scores_of_the_nested_network_come_back_to_the_cpu(cuda_task: SimpleNamespace) -> None:
    predicted = nest(cuda_task, np.arange(16), [3, 5], excluded=[9]).predict(cuda_task.validation(0), 3)
    assert predicted.device.type == "cpu"
    assert bool(torch.isfinite(predicted).all())


@pytest.mark.parametrize("groups", [None, [number // 2 for number in range(16)]], ids=["features", "groups"])
def test_the_same_seed_gives_the_same_path(cuda_task: SimpleNamespace, groups: list[int] | None) -> None:
    first, second = learn(cuda_task, groups=groups), learn(cuda_task, groups=groups)
    np.testing.assert_array_equal(first.ranking, second.ranking)
    assert first.heldout_loss == second.heldout_loss


def test_whole_groups(cuda_task: SimpleNamespace) -> None:
    path = learn(cuda_task, groups=[number // 2 for number in range(16)])
    kept = set(path.subset(2).tolist())
    assert all(feature ^ 1 in kept for feature in kept)
    assert {0, 1, 2, 3} == kept


@pytest.mark.parametrize("name", SELECTORS)
def test_contract(cuda_task: SimpleNamespace, name: str) -> None:
    if name == "lightgbm_gain":
        pytest.importorskip("lightgbm")
    if name == "lassonet":
        pytest.importorskip("lassonet")
    path = rank(name, cuda_task, protected=[7])
    assert sorted(path.ranking.tolist()) == list(range(16))
    assert 7 in path.subset(1)


class Wide(nn.Module):
    """One table per feature, 1 to 64 numbers wide."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        widths = [2 ** (number % 7) for number in range(n_features)]
        self.tables = nn.ModuleList(nn.Embedding(5, width) for width in widths)
        self.layers = nn.Sequential(nn.Linear(sum(widths), 16), nn.ReLU(), nn.Linear(16, 1))

    def embed(self, batch: Tensor) -> list[Tensor]:
        return [table(batch[:, number]) for number, table in enumerate(self.tables)]

    def predict(self, embedded: list[Tensor]) -> Tensor:
        return self.layers(torch.cat(embedded, dim=1))[:, 0]


@pytest.mark.parametrize("groups", [None, [number // 2 for number in range(16)]], ids=["features", "groups"])
def test_widths_that_differ_give_the_same_path_as_well(cuda_task: SimpleNamespace, groups: list[int] | None) -> None:
    torch.manual_seed(0)
    cuda_task.model = Wide(16).cuda()
    first, second = learn(cuda_task, groups=groups), learn(cuda_task, groups=groups)
    np.testing.assert_array_equal(first.ranking, second.ranking)
    assert first.heldout_loss == second.heldout_loss


def test_a_gate_moves_with_its_model_and_repeats_itself() -> None:
    embedded = [torch.randn(64, width, device="cuda") for width in (1, 16, 4)]

    def logits() -> Tensor:
        gate = FeatureGate(3, 1, steps=8, warmup=0, generator=torch.Generator().manual_seed(0))
        for step in range(8):
            if step == 3:
                gate.cuda()
            sum(
                part.square().mean() for part in gate([part.to(gate.selector.psi.device) for part in embedded])
            ).backward()
            gate.step()
        assert len(gate.keep()) == 1
        return gate.selector.logits()

    assert torch.equal(logits(), logits())

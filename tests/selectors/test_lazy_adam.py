"""Sparse gradients: the rows of a batch are updated like by torch's AdamW, and no others."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from concrete_selectors.lazy_adam import LazyAdamW
from concrete_selectors.weight_average import WeightAverage
from planted import learn
from torch import Tensor, nn

ROWS, STEPS = 12, 60


def _tables(sparse: bool) -> nn.Embedding:
    torch.manual_seed(0)
    return nn.Embedding(ROWS, 3, sparse=sparse)


def _looked_up(step: int) -> Tensor:
    """Codes of a batch: 0 to 9 now and then, some repeatedly, row 10 in the last step, row 11 never."""
    drawn = torch.randint(0, 10, (4,), generator=torch.Generator().manual_seed(step))
    return torch.cat([drawn, drawn[:2]]) if step < STEPS - 1 else torch.arange(11)


def _backward(table: nn.Embedding, step: int) -> None:
    table.zero_grad()
    wanted = torch.arange(float(ROWS)).sin()[_looked_up(step)].unsqueeze(1)
    (table(_looked_up(step)) * (wanted - step / STEPS)).sum().backward()


def test_touched_rows_end_where_adamw_without_momentum_has_them_and_others_stay() -> None:
    lazy, whole = _tables(True), _tables(False)
    start = lazy.weight.detach().clone()
    moved = LazyAdamW(lazy.parameters(), lr=0.05, weight_decay=0.1)
    expected = torch.optim.AdamW(whole.parameters(), lr=0.05, weight_decay=0.1, betas=(0.0, 0.999))
    for step in range(STEPS):
        _backward(lazy, step)
        _backward(whole, step)
        moved.step()
        expected.step()
    torch.testing.assert_close(lazy.weight[:11], whole.weight[:11], rtol=1e-4, atol=1e-5)
    assert torch.equal(lazy.weight[11], start[11])
    assert not torch.equal(whole.weight[11], start[11]), "AdamW decays what no batch has"


def test_a_dense_gradient_gives_the_bits_of_adamw() -> None:
    lazy, whole = _tables(False), _tables(False)
    ours = LazyAdamW(lazy.parameters(), lr=0.05, weight_decay=0.1)
    theirs = torch.optim.AdamW(whole.parameters(), lr=0.05, weight_decay=0.1)
    for step in range(5):
        _backward(lazy, step)
        _backward(whole, step)
        ours.step()
        theirs.step()
    assert torch.equal(lazy.weight, whole.weight)


def test_the_gradient_is_still_there_afterwards() -> None:
    table = _tables(True)
    _backward(table, 0)
    LazyAdamW(table.parameters(), lr=0.1).step()
    assert table.weight.grad is not None
    assert sorted(set(_looked_up(0).tolist())) == table.weight.grad.coalesce().indices()[0].tolist()


def test_a_sparse_gradient_of_single_numbers_is_taken_as_a_dense_one() -> None:
    def trained(sparse: bool) -> Tensor:
        weight = nn.Parameter(torch.ones(4, 3))
        weight.gather(1, torch.tensor([[0], [2], [2], [1]]), sparse_grad=sparse).square().sum().backward()
        LazyAdamW([weight], lr=0.1).step()
        return weight.detach()

    assert torch.equal(trained(True), trained(False))


def test_a_closure_is_for_dense_gradients() -> None:
    table = _tables(True)
    _backward(table, 0)
    with pytest.raises(ValueError, match=r"closure: not supported with sparse gradients; call backward"):
        LazyAdamW(table.parameters(), lr=0.1).step(lambda: None)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.998])
def test_the_average_of_lazy_rows_is_the_average_of_all_steps(decay: float) -> None:
    table = _tables(True)
    optimizer, average = LazyAdamW(table.parameters(), lr=0.05), WeightAverage(table.parameters(), decay=decay)
    expected = table.weight.detach().clone()
    for step in range(STEPS - 1):
        _backward(table, step)
        average.step(optimizer)
        share = min(decay, (2 + step) / (5 + step))
        expected = share * expected + (1 - share) * table.weight.detach()
        if step % 20 in (0, 1, 9):
            now = table.weight.detach().clone()
            with average.applied():
                torch.testing.assert_close(table.weight.detach(), expected, rtol=1e-4, atol=1e-5)
            assert torch.equal(table.weight, now)


def test_a_selection_goes_through_a_model_with_sparse_embeddings(make_task: Callable[..., Any]) -> None:
    task: SimpleNamespace = make_task("binary")
    dense = learn(task)
    task.model.table.sparse = True
    assert set(learn(task).subset(3).tolist()) == set(dense.subset(3).tolist())

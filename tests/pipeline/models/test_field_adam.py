"""FieldAdam against its definition, and against Adam where the two must agree."""

from __future__ import annotations

import numpy as np
import torch
from feature_audit.models.field_adam import FieldAdam


def test_two_steps_by_hand() -> None:
    table = torch.nn.Parameter(torch.zeros(4, 1))  # two fields of two rows
    optimiser = FieldAdam([(table, 2)], lr=0.1, eps=0.0)
    expected, first, second = np.zeros((2, 2)), np.zeros((2, 2)), np.zeros((2, 2))
    for step, gradient in enumerate(([[1.0, 0.1], [0.0, -2.0]], [[0.5, 0.0], [3.0, 1.0]]), start=1):
        table.grad = torch.tensor(gradient).reshape(4, 1)
        optimiser.step()
        first = 0.9 * first + 0.1 * np.array(gradient)
        second = 0.999 * second + 0.001 * np.array(gradient) ** 2
        scale = np.sqrt(second.max(axis=1, keepdims=True) / (1 - 0.999**step))
        expected -= 0.1 * first / (1 - 0.9**step) / scale
    np.testing.assert_allclose(table.detach().numpy().reshape(2, 2), expected, rtol=1e-5)


def test_is_adam_where_every_field_is_one_weight() -> None:
    draw = torch.Generator().manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.ones(5, 1)) for _ in range(2))
    adam = torch.optim.Adam([theirs], lr=0.01)
    mine = FieldAdam([(ours, 1)], lr=0.01)
    for _ in range(20):
        ours.grad = torch.randn(5, 1, generator=draw)
        theirs.grad = ours.grad.clone()
        mine.step()
        adam.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_rare_rows_move_in_proportion_and_unused_rows_not_at_all() -> None:
    table = torch.nn.Parameter(torch.zeros(3, 2))
    optimiser = FieldAdam([(table, 3)], lr=0.1)
    table.grad = torch.tensor([[1.0, 1.0], [0.01, 0.01], [0.0, 0.0]])
    optimiser.step()
    moved = -table.detach()[:, 0]
    torch.testing.assert_close(moved[0], torch.tensor(0.1))
    torch.testing.assert_close(moved[1], torch.tensor(0.001))
    assert moved[2] == 0


def test_a_table_without_a_gradient_stays() -> None:
    table = torch.nn.Parameter(torch.ones(2, 2))
    FieldAdam([(table, 2)], lr=0.1).step()
    assert torch.equal(table.detach(), torch.ones(2, 2))

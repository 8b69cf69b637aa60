"""The average of weights equals its recursion."""

from __future__ import annotations

import pytest
import torch
from concrete_selectors.weight_average import WeightAverage


def test_weight_average_is_its_recursion_and_is_only_held_inside() -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer, values = torch.optim.SGD([weight], lr=1.0), (2.0, 6.0, 3.0)
    average, expected = WeightAverage([weight], decay=0.5), 1.0
    for step, value in enumerate(values, start=1):
        weight.grad = weight.detach() - value  # a step of SGD ends at the value
        average.step(optimizer)
        share = min(0.5, (1 + step) / (4 + step))
        expected = share * expected + (1 - share) * value
    with average.applied():
        assert weight.item() == pytest.approx(expected)
    assert weight.item() == 3.0

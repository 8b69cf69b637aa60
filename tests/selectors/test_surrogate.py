"""The surrogate: exact cuts, batches that fit the table, and what it learns from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from concrete_selectors.elimination.surrogate import batch_size, random_gates
from elimination_cases import bce, signals_and_noise
from test_removal_cost import fitted, rare_clicks, untrained


@pytest.mark.parametrize(("rows", "size"), [(1, 1), (10, 1), (2_000, 125), (4_096, 256), (10**6, 256)])
def test_few_rows_take_small_batches(rows: int, size: int) -> None:
    assert batch_size(rows) == size


def test_cutting_groups_away_is_exact() -> None:
    cache = signals_and_noise(100)
    surrogate = untrained(cache)
    keep = np.array([1, 4, 5])
    gates = torch.zeros(100, 8)
    gates[:, keep] = 1
    before = surrogate(cache.segments.scale(cache.inputs, gates))
    surrogate.cut(torch.as_tensor(cache.segments.columns(keep)))
    after = surrogate(cache.groups(keep).inputs)
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)


def test_a_good_model_teaches_more_than_rare_labels() -> None:
    """Predictions of a good model lead closer to the truth than labels."""
    cache, truth = rare_clicks(600)
    fresh, fresh_truth = rare_clicks(4000, seed=1)
    gaps = []
    for distillation in (0.0, 1.0):
        surrogate = fitted(replace(cache, taught=truth), distillation=distillation)
        with torch.no_grad():
            gaps.append(float(bce(surrogate(fresh.inputs), fresh_truth).mean()))
    assert gaps[1] < gaps[0]
    assert np.isfinite(gaps).all()


def test_every_other_row_sees_all_groups_and_the_others_a_share_of_them() -> None:
    always = torch.zeros(50, dtype=torch.bool)
    always[[3, 7]] = True
    gates = random_gates(2000, always, smallest=0.4, generator=torch.Generator().manual_seed(0))
    assert gates[:, always].all()
    assert gates[::2].all()
    shares = gates[1::2, ~always].float().mean(dim=1)
    assert float(shares.mean()) == pytest.approx(0.7, abs=0.02)
    assert float(shares.quantile(0.05)) == pytest.approx(0.43, abs=0.08)

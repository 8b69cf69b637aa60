"""The best shift of each loss, compared with its known properties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from concrete_selectors.elimination.recalibration import fit_intercept
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, softmax
from tiny_model import LOSSES
from torch import Tensor


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.as_tensor(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


@given(level=st.floats(-6, 6), share=st.floats(0.02, 0.98))
def test_a_log_loss_is_calibrated_in_the_large(level: float, share: float) -> None:
    logits = normal(4000) + level
    target = torch.as_tensor(np.random.default_rng(1).random(4000) < share).float()
    shifted = logits + fit_intercept(logits, target, LOSSES["binary"])
    assert expit(shifted.double().numpy()).mean() == pytest.approx(float(target.mean()), abs=2e-3)


def test_a_squared_error_has_no_bias() -> None:
    predicted, target = 50 * normal(1000), 1000 + 80 * normal(1000, seed=1)
    shift = fit_intercept(predicted, target, LOSSES["regression"])
    assert float(shift) == pytest.approx(float((target - predicted).mean()), rel=1e-4)


def test_every_class_is_as_frequent_as_it_is() -> None:
    logits, target = normal(3000, 3), torch.as_tensor(np.random.default_rng(1).choice(3, 3000, p=[0.7, 0.2, 0.1]))
    shift = fit_intercept(logits, target, LOSSES["multiclass"])
    assert shift.shape == (3,)
    expected = softmax((logits + shift).double().numpy(), axis=1).mean(axis=0)
    np.testing.assert_allclose(expected, np.bincount(target.numpy()) / 3000, atol=2e-3)


def test_a_loss_that_cannot_be_searched_leaves_the_level_as_it_is() -> None:
    def broken(logits: Tensor, target: Tensor) -> Tensor:
        return torch.where(logits.abs() < 1e9, logits.cos() + float("nan") * (logits - target), logits)

    logits = normal(100)
    assert float(fit_intercept(logits, logits, broken)) == 0

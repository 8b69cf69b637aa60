"""The surgeon's closed forms against refitting by brute force, and what it says of trained networks."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from concrete_selectors import PathSettings
from concrete_selectors.context import Run
from concrete_selectors.gates.gating import apply_gates
from concrete_selectors.saliency.brain_surgeon import Contributions, contributions, fit, removal_order
from concrete_selectors.saliency.screen import logit_prior, surgeon_order
from torch import Tensor
from torch.nn import functional


def squared(logits: Tensor, target: Tensor) -> Tensor:
    return (logits - target).square()


def bce(logits: Tensor, target: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, target, reduction="none")


def columns(*, rows: int = 400, units: int = 6, seed: int = 0, binary: bool = False) -> Contributions:
    """FeatureGroups 0 and 1 matter, 2 is a near copy of 0, the others are noise; one logit."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, units))
    x[:, 2] = x[:, 0] + 0.1 * random.normal(size=rows)
    x -= x.mean(axis=0)
    score = 1.1 * x[:, 0] - 0.9 * x[:, 1]
    y = random.random(rows) < 1 / (1 + np.exp(-score)) if binary else score + random.normal(size=rows)
    return Contributions(torch.as_tensor(x).unsqueeze(1), torch.as_tensor(y, dtype=torch.float64),
                         torch.as_tensor(score - score.mean()).unsqueeze(1), one_logit=True)  # fmt: skip


def ridge(x: np.ndarray, y: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
    """Least squares with weights pulled towards one, and the penalised loss at its minimum; closed form."""
    shift = y - y.mean() - x.sum(axis=1)
    change = np.linalg.solve(2 * x.T @ x + penalty * np.eye(x.shape[1]), 2 * x.T @ shift)
    return 1 + change, float(((shift - x @ change) ** 2).sum() + penalty / 2 * (change**2).sum())


@pytest.mark.parametrize("seed", range(5))
def test_squared_error_removals_equal_refitting(seed: int) -> None:
    parts = columns(seed=seed)
    x, y = parts.values.squeeze(1).numpy(), parts.target.numpy()
    surgery = fit(parts, squared)
    penalty = float(2 * ((y - parts.logits.squeeze(1).numpy()) ** 2).mean())  # dispersion: twice the noise variance
    weights, _ = ridge(x, y, penalty)
    np.testing.assert_allclose(surgery.weights, weights, atol=1e-2)

    expected, left = [], list(range(x.shape[1]))
    while len(left) > 1:  # a unit that is gone has weight zero, whose own penalty is the same for all
        costs = [ridge(x[:, [u for u in left if u != unit]], y, penalty)[1] for unit in left]
        expected.append(left.pop(int(np.argmin(costs))))
    assert removal_order(surgery, fixed=np.zeros(6, dtype=bool), down_to=1).tolist() == expected


def test_log_loss_weights_are_stationary() -> None:
    parts = columns(binary=True, rows=800)
    weights = torch.as_tensor(fit(parts, bce).weights).requires_grad_(True)
    x = parts.values.squeeze(1)
    level = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    for _ in range(20):  # the intercept alone, by Newton
        p = torch.sigmoid(x @ weights.detach() + level)
        level = (level + (parts.target - p).sum() / (p * (1 - p)).sum()).detach()
    chance = torch.sigmoid(parts.logits.squeeze(1))
    dispersion = float((chance - parts.target).square().sum() / (chance * (1 - chance)).sum())
    value = bce(x @ weights + level, parts.target).sum() + dispersion / 2 * (weights - 1).square().sum()
    (slope,) = torch.autograd.grad(value, weights)
    assert 0.8 < dispersion < 1.25
    assert float(slope.abs().max()) < 0.1


def test_of_copies_one_goes_first_and_one_stays() -> None:
    order = removal_order(fit(columns(binary=True, rows=3000), bce), fixed=np.zeros(6, dtype=bool), down_to=2)
    assert len({0, 2} & set(order.tolist())) == 1
    assert 1 not in order


def test_fixed_units_stay_and_compaction_changes_nothing() -> None:
    parts = columns(units=30, rows=600)
    surgery = fit(parts, squared)
    fixed = np.zeros(30, dtype=bool)
    fixed[[4, 7]] = True
    gone = removal_order(surgery, fixed=fixed, down_to=1)
    assert sorted([*gone.tolist(), 4, 7]) == list(range(30))
    free = np.zeros(30, dtype=bool)
    whole = removal_order(surgery, fixed=free, down_to=1)
    np.testing.assert_array_equal(removal_order(surgery, fixed=free, down_to=20), whole[:10])


def test_a_loss_without_curvature_is_solved_too() -> None:
    surgery = fit(columns(), lambda logits, target: (logits - target).abs())
    assert np.isfinite(surgery.weights).all()
    assert np.isfinite(surgery.covariance).all()


def make_run(task: SimpleNamespace, **settings: object) -> Run:
    return Run(task.model, task.train, task.validation, loss=task.loss, steps_per_epoch=task.steps_per_epoch,
               settings=PathSettings(**{"k_max": 4, **settings}))  # type: ignore[arg-type]  # fmt: skip


def test_contributions_are_slopes_in_the_gates(any_task: SimpleNamespace) -> None:
    run = make_run(any_task)
    units, step = np.array([0, 3, 5]), 1e-3
    opened = torch.ones(any_task.n_features)
    with run.held_out_judge(40) as judge:
        parts = contributions(judge, opened, units)
        for place, unit in enumerate(units):
            moved = []
            scale = max(1.0, float(parts.values.std()))
            for sign in (1.0, -1.0):
                gates = opened.clone()
                gates[unit] += sign * step
                logits = [
                    run.network.module.predict(apply_gates(e, gates, run.network.field_means()))
                    for _, e in judge.embedded()
                ]
                moved.append(torch.cat(logits).reshape(40, -1).double())
            slope = (moved[0] - moved[1]) / (2 * step)
            torch.testing.assert_close(
                parts.values[:, :, place], slope - slope.mean(dim=0), atol=0.02 * scale, rtol=0.05
            )


def test_signals_come_first_and_copies_do_not(any_task: SimpleNamespace) -> None:
    order = surgeon_order(make_run(any_task))
    assert sorted(order.tolist()) == list(range(any_task.n_features))
    assert len({0, 1, 2, 3} & set(order[:3].tolist())) == 3


def test_prior_is_flat_over_the_candidates_and_falls_behind_them(binary_task: SimpleNamespace) -> None:
    run = make_run(binary_task)
    order = surgeon_order(run)
    prior = logit_prior(run, order).numpy()
    assert (prior[order[:4]] == 0).all()
    assert (np.diff(prior[order[3:]]) < 0).all()
    assert run.solver_work > 0
    assert run.backward_rows > 0


def test_of_many_units_the_steepest_are_looked_at(
    binary_task: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("concrete_selectors.saliency.screen._MOST_UNITS", 6)
    run = make_run(binary_task, k_max=3)
    order = surgeon_order(run, at_least=2)
    assert len(order) == 6
    assert {0, 1, 2} <= set(order.tolist())
    assert len(np.unique(logit_prior(run, order).numpy().round(6))) <= 5

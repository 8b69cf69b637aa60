"""Row weights in a selection: every loss equals that of repeated rows, and features of heavy rows are kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from concrete_selectors import SelectionTask, Teacher, fit_path, rank_with
from concrete_selectors.context import SelectionContext
from concrete_selectors.elimination.recalibration import fit_intercept
from concrete_selectors.elimination.removal_cost import RemovalCost
from concrete_selectors.elimination.surrogate import EmbeddingCache, Surrogate, fit_surrogate
from elimination_cases import bce, signals_and_noise
from planted import settings_of
from tiny_model import LOSSES, TinyModel
from torch import Tensor


def counts_of(rows: int) -> Tensor:
    return torch.randint(1, 5, (rows,), generator=torch.Generator().manual_seed(0))


def repeated(cache: EmbeddingCache, counts: Tensor) -> EmbeddingCache:
    rows = torch.arange(len(counts)).repeat_interleave(counts)
    taught = None if cache.taught is None else cache.taught[rows]
    return replace(cache, inputs=cache.inputs[rows], target=cache.target[rows], taught=taught)


def test_the_intercept_is_that_of_repeated_rows() -> None:
    logits, target, counts = torch.randn(400), torch.bernoulli(torch.full((400,), 0.2)), counts_of(400)
    found = fit_intercept(logits, target, bce, counts.float())
    torch.testing.assert_close(
        found, fit_intercept(logits.repeat_interleave(counts), target.repeat_interleave(counts), bce), rtol=0, atol=1e-3
    )
    assert abs(float(found - fit_intercept(logits, target, bce))) > 1e-3


@pytest.mark.parametrize("taught", [True, False])
def test_removals_cost_what_they_cost_on_repeated_rows(taught: bool) -> None:
    cache = signals_and_noise(600)
    if taught:
        inputs = cache.inputs.reshape(600, 8, 2)
        cache = replace(cache, taught=torch.sigmoid(2 * inputs[:, 0, 0] - 2 * inputs[:, 1, 1]))
    counts = counts_of(600)
    surrogate = Surrogate(cache, seed=0)
    weighted = RemovalCost(surrogate, replace(cache, weight=counts.float()), loss=bce)
    copies = RemovalCost(surrogate, repeated(cache, counts), loss=bce)
    assert weighted.mean_loss() == pytest.approx(copies.mean_loss(), rel=1e-5)
    for group in range(3):
        assert weighted.cost(group) == pytest.approx(copies.cost(group), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_surrogate_learns_the_weighted_rate(share: float) -> None:
    """With noise only, outputs converge to the weighted mean of the labels, or of the teacher's expectations."""
    cache = signals_and_noise(2_000)
    target = (torch.arange(2_000) % 2).float()
    cache = replace(cache, target=target, taught=target, weight=torch.where(target == 1, 0.25, 1.75))
    surrogate = Surrogate(cache, seed=0)
    fit_surrogate(
        surrogate, cache, loss=bce, steps=300, fixed=np.zeros(8, dtype=bool), smallest=0.5, distillation=share,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    rate = float(torch.sigmoid(surrogate(cache.inputs).detach()).mean())
    assert rate == pytest.approx(0.125, abs=0.04)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_loss_behind_gates_is_weighted_against_labels_and_teacher(share: float) -> None:
    task = two_populations(0)
    task = replace(task, teacher=Teacher(task.model, torch.sigmoid), weight=lambda batch: batch[1])
    network = SelectionContext(task, settings_of()).network
    network.module.eval()
    batch, target = next(iter(task.train(0)))
    found = network.gated_loss(batch, target, torch.ones(1, 8), distillation=share)
    logits = task.model.predict(task.model.embed(batch)).detach()
    by_row = (1 - share) * bce(logits, target) + share * bce(logits, torch.sigmoid(logits))
    torch.testing.assert_close(found.detach(), (batch[1] * by_row).mean())
    assert abs(float(found.detach() - by_row.mean())) > 1e-3


def two_populations(heavy: int) -> SelectionTask:
    """The label depends on feature 0 in one population and on feature 1 in the other; ``heavy`` has the weight.

    The trained model counts all rows alike and knows both features.
    """
    rng = np.random.default_rng(3)
    rows, cut = 3_000, 2_000
    codes = torch.as_tensor(rng.integers(0, 5, (rows, 8)))
    population = torch.as_tensor(rng.integers(0, 2, rows))
    signal = codes[torch.arange(rows), population].float() - 2
    y = torch.bernoulli(torch.sigmoid(2 * signal), generator=torch.Generator().manual_seed(0))
    weight = torch.where(population == heavy, 1.98, 0.02)

    def batches(part: slice, size: int = 128):
        def epoch(_: int):
            for start in range(part.start, part.stop, size):
                rows = slice(start, min(start + size, part.stop))
                yield (codes[rows], weight[rows]), y[rows]

        return epoch

    class Weighing(TinyModel):
        """A model whose batches contain weights."""

        def embed(self, batch: tuple[Tensor, Tensor]) -> Tensor:
            return super().embed(batch[0])

    torch.manual_seed(0)
    model, loss = Weighing(8, 5), LOSSES["binary"]
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(8):
        for batch, target in batches(slice(0, cut))(epoch):
            optimizer.zero_grad()
            loss(model.predict(model.embed(batch)), target).mean().backward()
            optimizer.step()
    return SelectionTask(
        model, batches(slice(0, cut)), batches(slice(cut, rows)), loss, steps_per_epoch=16, weight=lambda one: one[1]
    )


@pytest.mark.parametrize("heavy", [0, 1])
def test_the_rows_that_count_decide_what_is_kept(heavy: int) -> None:
    task = two_populations(heavy)
    path = fit_path(task, settings_of(k_max=4, k_min=1))
    assert path.ranking[0] == heavy
    assert rank_with("permutation", task, settings_of(k_max=4)).ranking[0] == heavy


def test_held_out_losses_and_slopes_are_those_of_repeated_rows() -> None:
    task = replace(two_populations(0), weight=lambda batch: torch.arange(len(batch[1])) % 3 + 1.0)
    found = SelectionContext(task, settings_of()).held_out(10_000)

    def repeated_rows(number: int):
        for batch, target in task.validation(number):
            rows = torch.arange(len(target)).repeat_interleave(task.weight(batch).long())
            yield tuple(part[rows] for part in batch), target[rows]

    copies = SelectionContext(replace(task, validation=repeated_rows, weight=None), settings_of()).held_out(10_000)
    assert copies.rows > 1.9 * found.rows
    assert found.mean_loss(np.arange(4)) == pytest.approx(copies.mean_loss(np.arange(4)), rel=1e-6)
    np.testing.assert_allclose(found.slopes(), copies.slopes(), rtol=1e-5)

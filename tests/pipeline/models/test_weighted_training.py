"""Trainings with row weights: equal to repeated rows, invariant to the unit, and calibrated on a sampled log."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from feature_audit.config.sections import TrainingConfig
from feature_audit.models import boosting_scores, build_model, mean_loss, predict, train
from feature_audit.models.output_scaling import OutputScaling
from feature_audit.schema import ModelSchema
from memory_store import MemoryStore, planted, table_store

BRIEF = TrainingConfig(max_epochs=1)


def fit(store: MemoryStore, config: TrainingConfig = BRIEF):
    model = build_model("mlp", store.schema, embedding_dim=4, params={"hidden": [32]}, seed=0)
    return train(model, store, store.schema, config=config, task=store.schema.task, seed=0, device="cpu")


def scores(model: torch.nn.Module, store: MemoryStore) -> np.ndarray:
    return predict(model, store, "test", store.schema, task=store.schema.task, device="cpu")


def repeated(store: MemoryStore, counts: np.ndarray) -> MemoryStore:
    """The rows repeated as often as their weights say, without weights."""
    splits = {name: np.repeat(rows, counts[rows]) for name, rows in store.splits.items()}
    return MemoryStore(store.schema, store.columns, store.labels, splits)


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass"])
def test_losses_and_constants_are_those_of_repeated_rows(task: str) -> None:
    store = planted(task, rows=600)
    counts = np.where(store.labels > np.median(store.labels), 4, 1) + np.random.default_rng(0).integers(0, 2, 600)
    copies = repeated(store, counts)
    store.weights = counts.astype(float)
    model = fit(planted(task, rows=600)).model
    found, expected = (
        mean_loss(model, one, "validation", store.schema, task=task, device="cpu", batch_size=50)
        for one in (store, copies)
    )
    assert found == pytest.approx(expected, rel=1e-6)
    schema = ModelSchema(store.schema.fields, task, store.schema.n_classes)
    weighted, plain = OutputScaling(schema), OutputScaling(schema)
    weighted.fit(torch.as_tensor(store.target("train")), torch.as_tensor(store.weight("train") / counts.mean()))
    plain.fit(torch.as_tensor(copies.target("train")))
    # Classes have a row of prior each, which weighs more among fewer rows.
    torch.testing.assert_close(weighted.shift, plain.shift, rtol=1e-4, atol=0.05)
    torch.testing.assert_close(weighted.scale, plain.scale, rtol=1e-5, atol=0)


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass"])
def test_equal_weights_train_the_very_same_model(task: str) -> None:
    plain, weighted = planted(task, rows=600), planted(task, rows=600)
    weighted.weights = np.full(600, 4.0)
    np.testing.assert_array_equal(scores(fit(plain).model, plain), scores(fit(weighted).model, weighted))


def test_the_best_epoch_is_that_of_the_weighted_validation_rows() -> None:
    """Train rows count alike; only one validation row has weight, so its loss is the validation loss."""
    store = planted(rows=600)
    store.weights = np.full(600, 1.0)
    store.weights[store.splits["validation"][1:]] = 1e-9
    result = fit(store)
    alone = MemoryStore(
        store.schema, store.columns, store.labels, {**store.splits, "validation": store.splits["validation"][:1]}
    )
    own = mean_loss(result.model, alone, "validation", store.schema, task="binary", device="cpu")
    assert result.validation_loss == pytest.approx(own, rel=1e-4)


def sampled(weighted: bool) -> MemoryStore:
    """A tenth of the negatives in train and validation rows; all test rows."""
    store = planted(rows=12_000, seed=2)
    kept = (store.labels == 1) | (np.random.default_rng(0).random(12_000) < 0.1)
    splits = {name: rows if name == "test" else rows[kept[rows]] for name, rows in store.splits.items()}
    store = MemoryStore(store.schema, store.columns, store.labels, splits)
    store.weights = np.where(store.labels == 1, 1.0, 10.0) if weighted else None
    return store


def test_sampled_negatives_weighted_back_give_the_base_rate_of_the_whole_log() -> None:
    rates = {}
    for weighted in (True, False):
        store = sampled(weighted)
        rates[weighted] = scores(fit(store, TrainingConfig(max_epochs=4)).model, store).mean()
    truth = store.target("test").mean()
    assert rates[True] == pytest.approx(truth, rel=0.05)
    assert rates[False] > 1.2 * truth


def test_boosting_is_weighted_and_does_not_see_the_unit() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4_000, 3)).astype(np.float32)
    y = (rng.random(4_000) < 1 / (1 + np.exp(-x[:, 0]))).astype(np.float32)
    weight = np.where(y == 1, 1.0, 9.0)
    store = table_store(x, y, {"train": np.arange(4_000), "validation": np.arange(4_000)})
    unweighted = boosting_scores(store, store.schema)
    store.weights = weight
    found = boosting_scores(store, store.schema)
    assert np.average(found, weights=weight) == pytest.approx(np.average(y, weights=weight), rel=0.05)
    assert found.mean() < 0.5 * unweighted.mean()
    store.weights = weight * 64
    np.testing.assert_array_equal(found, boosting_scores(store, store.schema))

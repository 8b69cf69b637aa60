"""The training loop: learns, stops early, is reproducible, and reports errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from feature_audit.config.sections import TrainingConfig
from feature_audit.errors import AuditError
from feature_audit.models import MODELS, build_model, mean_loss, predict, row_loss, scores, train
from feature_audit.models.training import Pace
from feature_audit.schema import Field, ModelSchema
from hypothesis import given
from hypothesis import strategies as st
from memory_store import MemoryStore, planted
from sklearn.metrics import log_loss, r2_score, roc_auc_score

QUICK = TrainingConfig(max_epochs=5)
BRIEF = TrainingConfig(max_epochs=1)
SCHEMA = planted(rows=50).schema


def _fit(store: MemoryStore, name: str = "mlp", *, seed: int = 0, config: TrainingConfig = QUICK, **options):
    model = build_model(name, store.schema, embedding_dim=4, params={"hidden": [32]}, seed=seed)
    task = store.schema.task
    return train(model, store, store.schema, config=config, task=task, seed=seed, device="cpu", **options)


def _scores(model: torch.nn.Module, store: MemoryStore, split: str = "test") -> np.ndarray:
    return predict(model, store, split, store.schema, task=store.schema.task, device="cpu", batch_size=100)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "deepfm" else name for name in MODELS]
)
def test_learns_a_planted_binary_signal(name: str) -> None:
    store = planted("binary")
    result = _fit(store, name)
    assert roc_auc_score(store.target("test"), _scores(result.model, store)) > 0.88


def test_learns_regression_in_target_units() -> None:
    store = planted("regression")
    predicted = _scores(_fit(store, "dcn_v2").model, store)
    assert abs(predicted.mean() - 1000) < 30
    assert r2_score(store.target("test"), predicted) > 0.85


def test_learns_multiclass() -> None:
    store = planted("multiclass")
    predicted = _scores(_fit(store).model, store)
    assert predicted.shape == (600, 3)
    np.testing.assert_allclose(predicted.sum(axis=1), 1, rtol=1e-5)
    assert np.mean(predicted.argmax(axis=1) == store.target("test")) > 0.75


def test_the_same_seed_gives_the_same_model_whatever_the_global_generator_did() -> None:
    store = planted(rows=600)
    first = _scores(_fit(store, seed=3, config=BRIEF).model, store)
    torch.manual_seed(99)
    torch.rand(5)
    before = torch.get_rng_state()
    again = _scores(_fit(store, seed=3, config=BRIEF).model, store)
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - _scores(_fit(store, seed=4, config=BRIEF).model, store)).max() > 1e-4


def test_the_test_split_is_never_read() -> None:
    store = planted(rows=600)
    _fit(store, config=BRIEF)
    assert store.read == {"train", "validation"}


def test_stops_early_on_pure_noise_and_keeps_the_best_epoch() -> None:
    store = planted(rows=1500)
    noise = MemoryStore(store.schema, store.columns, np.random.default_rng(1).permutation(store.labels), store.splits)
    result = _fit(noise, config=TrainingConfig(batch_size=64, learning_rate=0.01, max_epochs=200, patience=2))
    losses = [row["validation_loss"] for row in result.history]
    assert result.epochs < 200
    best = losses.index(min(losses))
    assert best + 1 == len(result.history) - 3, "a small table takes one look more than patience says"
    assert result.best_epoch == result.history[best]["epoch"]
    assert result.validation_loss == min(losses)
    kept = mean_loss(result.model, noise, "validation", noise.schema, task="binary", device="cpu")
    assert kept == pytest.approx(result.validation_loss, rel=1e-6)


def test_the_averaged_weights_are_validated_and_kept() -> None:
    """The moving average of a training, computed here from the weights after each step."""
    store = planted(rows=500)
    model = build_model("mlp", store.schema, embedding_dim=4, params={"hidden": [32]}, seed=0)
    average: list[torch.Tensor] = []
    at_end_of: dict[int, list[torch.Tensor]] = {}
    steps = 0

    def step(row: dict) -> None:
        nonlocal average, steps
        steps += 1
        weights = [weight.detach().clone() for weight in model.parameters()]
        decay = min(0.9, (1 + steps) / (4 + steps))
        average = [decay * old + (1 - decay) * new for old, new in zip(average or weights, weights, strict=True)]
        at_end_of[row["epoch"]] = average

    config = TrainingConfig(batch_size=128, learning_rate=0.05, average_decay=0.9, max_epochs=1)
    result = train(model, store, store.schema, config=config, task="binary", seed=0, device="cpu", progress=step)
    for kept, averaged in zip(result.model.parameters(), at_end_of[result.best_epoch], strict=True):
        torch.testing.assert_close(kept.detach(), averaged, rtol=1e-3, atol=1e-3)
    loss = mean_loss(result.model, store, "validation", store.schema, task="binary", device="cpu")
    assert loss == pytest.approx(min(row["validation_loss"] for row in result.history), rel=1e-5)


def test_counts_every_row_also_of_the_last_partial_batch() -> None:
    store = planted(rows=1000)
    result = _fit(store, config=TrainingConfig(max_epochs=1))
    assert result.examples == 600 * result.epochs
    assert math.ceil(600 / 32) > 600 // 32


@given(rows=st.integers(1, 10_000_000), batch_size=st.integers(2, 8192), max_epochs=st.integers(1, 30))
def test_pace_gives_small_tables_steps_and_large_ones_what_was_asked(
    rows: int, batch_size: int, max_epochs: int
) -> None:
    pace = Pace.of(rows, TrainingConfig(batch_size=batch_size, max_epochs=max_epochs), SCHEMA)
    assert pace.batch_size <= batch_size
    assert pace.batches == math.ceil(rows / pace.batch_size)
    assert pace.epochs >= max_epochs
    assert pace.epochs * pace.batches >= 200 * max_epochs or pace.epochs == max_epochs
    assert pace.epochs_per_look * pace.batches >= 40
    assert pace.patience == (3 if rows < 20_000 else 2)
    if rows >= max(200 * batch_size, 20_000):
        assert pace == Pace(batch_size, math.ceil(rows / batch_size), max_epochs, 1, 2)


def test_batches_of_a_wide_table_hold_fewer_rows() -> None:
    wide = ModelSchema(tuple(Field(f"f{n}", "numeric", 9) for n in range(20_000)), "binary")
    assert Pace.of(1_000_000, TrainingConfig(), wide).batch_size == 100


def test_progress_is_reported_batch_by_batch() -> None:
    store, seen = planted(rows=1000), []
    _fit(store, config=TrainingConfig(batch_size=256, max_epochs=1), progress=seen.append)
    first = [row for row in seen if row["epoch"] == 1]
    assert [row["batch"] for row in first] == list(range(1, first[0]["batches"] + 1))
    assert all(np.isfinite(row["loss"]) for row in seen)


def test_a_loss_that_is_not_finite_is_one_clear_line() -> None:
    store = planted("regression", rows=500)
    store.labels[store.splits["train"][3]] = np.inf
    with pytest.raises(AuditError, match=r"loss is (nan|inf).*epoch 1.*learning_rate") as caught:
        _fit(store)
    assert "\n" not in str(caught.value)


def test_an_empty_split_is_named() -> None:
    store = planted(rows=500)
    store.splits["validation"] = np.array([], dtype=np.int64)
    with pytest.raises(AuditError, match="split validation has no rows"):
        _fit(store)


def test_training_can_start_warm() -> None:
    store = planted(rows=2000)
    first = _fit(store)
    again = train(first.model, store, store.schema, config=QUICK, task="binary", seed=9, device="cpu")
    assert again.history[0]["validation_loss"] < first.history[0]["validation_loss"]


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass"])
def test_row_loss_and_scores_agree_with_scikit_learn(task: str) -> None:
    store = planted(task, rows=300)
    model = build_model("mlp", store.schema, embedding_dim=4, params={}, seed=0).eval()
    batch = store.batch(np.arange(300))
    with torch.no_grad():
        losses = row_loss(task)(model(batch), batch.target)
    assert losses.shape == (300,)
    made, target = scores(model, batch, task=task).astype(np.float64), batch.target.numpy()
    if task == "multiclass":
        made /= made.sum(axis=1, keepdims=True)
    expected = np.mean((made - target) ** 2) if task == "regression" else log_loss(target, made)
    assert losses.mean().item() == pytest.approx(expected, rel=1e-4)

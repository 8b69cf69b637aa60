"""Features of very many codes: embedded like others, trained at a cost per row of the batch."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from concrete_selectors import PathSettings, SelectionTask, fit_path
from feature_audit.config.sections import TrainingConfig
from feature_audit.models import build_model, predict, row_loss, train
from feature_audit.models.zoo.embedding import FieldEmbedding
from feature_audit.schema import Field, ModelSchema
from memory_store import MemoryStore
from sklearn.metrics import roc_auc_score

MANY = 40_000


def _logged(codes: int = MANY, *, used: int = 300, rows: int = 6000) -> MemoryStore:
    """Users, items and tags with very many codes, of which some occur, between numbers and columns of few codes."""
    draw = np.random.default_rng(0)
    fields = (
        Field("age", "numeric", 12),
        Field("user", "code", codes),
        Field("device", "code", 5),
        Field("tags", "bag", 3 * codes, width=3),
        Field("item", "code", codes),
        Field("few_tags", "bag", 9, width=2),
    )
    columns: dict[str, np.ndarray] = {"age": draw.uniform(0, 11, rows).astype(np.float32)}
    for name, size in (("user", used), ("device", 5), ("item", used)):
        columns[name] = draw.integers(0, size, rows) * ((codes - 1) // used if size == used else 1)
    columns["tags"] = draw.integers(0, 3 * codes, (rows, 3)) * (draw.random((rows, 3)) < 0.7)
    columns["few_tags"] = draw.integers(0, 9, (rows, 2))
    signal = np.sin(columns["user"]) - 2 * np.cos(columns["item"]) + 0.2 * (columns["device"] - 2)
    target = (draw.random(rows) < 1 / (1 + np.exp(-1.5 * signal))).astype(np.float32)
    cut = np.split(draw.permutation(rows), [int(0.6 * rows), int(0.8 * rows)])
    splits = dict(zip(("train", "validation", "test"), cut, strict=True))
    return MemoryStore(ModelSchema(fields, "binary"), columns, target, splits)


def test_vectors_are_those_of_the_codes_in_schema_order_and_a_batch_touches_its_own_rows() -> None:
    store = _logged(rows=50)
    embedding = FieldEmbedding(store.schema, 2)
    large = embedding.large.weight
    made = embedding(store.batch(np.arange(50)))
    torch.testing.assert_close(made[:, 1], large[store.columns["user"]])
    torch.testing.assert_close(made[:, 4], large[MANY + store.columns["item"]])
    tags = store.columns["tags"]
    for row in range(50):
        used = tags[row][tags[row] > 0] if tags[row].any() else tags[row][:1]
        wanted = large[2 * MANY + used].mean(dim=0)
        torch.testing.assert_close(made[row, 3], wanted)
    device = embedding.table.weight[store.columns["device"]] * 16 / 5
    torch.testing.assert_close(made[:, 2], device)
    made.square().sum().backward()
    touched = {*store.columns["user"], *(MANY + store.columns["item"]), *(2 * MANY + tags.flatten())}
    assert set(large.grad.coalesce().indices()[0].tolist()) <= touched
    assert not embedding.table.weight.grad.is_sparse


@pytest.mark.parametrize("codes", [pytest.param(16_384, marks=pytest.mark.slow), 16_385])
def test_both_ways_of_training_a_table_learn_the_same_signal(codes: int) -> None:
    store = _logged(codes)
    model = _trained(store)
    assert (model.embedding.large is None) == (codes == 16_384)
    assert 0.80 < _auc(store, model) < 0.90


def test_the_same_seed_gives_the_same_weights_with_several_threads() -> None:
    store, threads = _logged(), torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        first, again = _trained(store, epochs=1), _trained(store, epochs=1)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, two) for one, two in zip(first.parameters(), again.parameters(), strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_card_gives_the_same_scores_twice_and_those_of_the_cpu() -> None:
    store = _logged()
    first, again = (_trained(store, epochs=3, device="cuda") for _ in range(2))
    assert all(torch.equal(one, two) for one, two in zip(first.parameters(), again.parameters(), strict=True))
    assert _auc(store, first.cpu()) == pytest.approx(_auc(store, _trained(store, epochs=3)), abs=0.01)


def test_a_step_of_training_or_selection_does_not_depend_on_the_number_of_codes() -> None:
    """Passes over all tables, with two million codes in total, would take ten times as long as the rest of a step."""
    few, many = _milliseconds(MANY), _milliseconds(10 * MANY)
    assert many[0] < 3 * few[0]
    assert many[1] < 3 * few[1]


def _milliseconds(codes: int) -> tuple[float, float]:
    """CPU time of a training step and of a selection step, of those that other programs disturb least."""
    store, times = _logged(codes), list[float]()

    def undisturbed() -> float:
        gaps = [later - earlier for earlier, later in pairwise(times[5:])]
        times.clear()
        return 1000 * float(np.quantile(gaps, 0.1))

    model = _trained(store, epochs=1, watch=lambda _: times.append(time.process_time()))
    training = undisturbed()
    task = SelectionTask(model, _pairs(store, "train"), _pairs(store, "validation"), row_loss("binary"), 30)
    settings = PathSettings(k_max=5, k_min=5, fewest_steps=30)
    fit_path(task, settings, progress=lambda _: times.append(time.process_time()))
    return training, undisturbed()


def _pairs(store: MemoryStore, split: str) -> Callable:
    return lambda epoch: ((batch, batch.target) for batch in store.batches(split, 128))


def _trained(
    store: MemoryStore, *, epochs: int = 8, watch: Callable | None = None, device: str = "cpu"
) -> torch.nn.Module:
    model = build_model("mlp", store.schema, embedding_dim=4, params={"hidden": [16]}, seed=0)
    config = TrainingConfig(max_epochs=epochs, batch_size=128)
    train(model, store, store.schema, config=config, task="binary", seed=0, device=device, progress=watch)
    return model


def _auc(store: MemoryStore, model: torch.nn.Module) -> float:
    scores = predict(model, store, "test", store.schema, task="binary", device="cpu")
    return float(roc_auc_score(store.target("test"), scores))

"""Training and prediction on a GPU: the same quality as on the CPU, and reproducible."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from feature_audit.config.sections import TrainingConfig
from feature_audit.models import MODELS, build_model, predict, train
from feature_audit.models.zoo.embedding import FieldEmbedding
from memory_store import MemoryStore, planted
from sklearn.metrics import roc_auc_score

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]


def trained_scores(store: MemoryStore, name: str, device: str) -> np.ndarray:
    model = build_model(name, store.schema, embedding_dim=4, params={"hidden": [32]}, seed=0)
    config, task = TrainingConfig(max_epochs=5), store.schema.task
    train(model, store, store.schema, config=config, task=task, seed=0, device=device)
    return predict(model, store, "test", store.schema, task=task, device=device)


@pytest.mark.parametrize("name", MODELS)
def test_as_good_as_on_the_cpu_and_repeatable(name: str) -> None:
    store = planted("binary")
    first, second = (trained_scores(store, name, "cuda") for _ in range(2))
    np.testing.assert_array_equal(first, second)
    target = store.target("test")
    assert roc_auc_score(target, first) == pytest.approx(
        roc_auc_score(target, trained_scores(store, name, "cpu")), abs=0.01
    )


@pytest.mark.parametrize("task", ["regression", "multiclass"])
def test_other_tasks(task: str) -> None:
    store = planted(task)
    on_card, on_cpu = trained_scores(store, "mlp", "cuda"), trained_scores(store, "mlp", "cpu")
    assert on_card.shape == on_cpu.shape
    assert np.corrcoef(on_card.ravel(), on_cpu.ravel())[0, 1] > 0.95


def test_embeddings_and_their_gradients_are_the_cpus() -> None:
    store = planted(rows=200)
    embedding = FieldEmbedding(store.schema, 4)
    values, gradients = [], []
    for device in ("cpu", "cuda"):
        embedding.to(device).zero_grad()
        made = embedding(store.batch(np.arange(200)).to(device))
        made.square().sum().backward()
        values.append(made.detach().cpu())
        gradients.append([weight.grad.cpu().clone() for weight in embedding.parameters()])
    torch.testing.assert_close(values[0], values[1])
    for expected, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)

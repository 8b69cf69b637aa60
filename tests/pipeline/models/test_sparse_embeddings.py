"""A team's own model whose embeddings have sparse gradients."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from command_line import feature_audit, newest_audit, tracking_in
from feature_audit.config.sections import TrainingConfig
from feature_audit.models import build_model, predict, train
from feature_audit.schema import Field, ModelSchema
from memory_store import MemoryStore
from sklearn.metrics import roc_auc_score

SPARSE = """
import torch
from feature_audit.models import by_name
from torch import nn


class Sparse(nn.Module):
    def __init__(self, schema):
        super().__init__()
        self.schema = schema
        self.columns = nn.ModuleDict(
            {field.name: nn.Embedding(field.cardinality, 4, sparse=True) for field in schema.fields}
        )
        self.out = nn.Linear(4 * len(self.columns), 1)

    def embed(self, batch):
        cells = by_name(batch, self.schema)
        return [column(cells[name].long()) for name, column in self.columns.items()]

    def predict(self, embedded):
        return self.out(torch.cat(embedded, dim=1))[:, 0]

    def forward(self, batch):
        return self.predict(self.embed(batch))
"""


@pytest.fixture
def words(tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """Options that name a log and the model."""
    draw = np.random.default_rng(0)
    columns = {f"c{n}": [f"v{value}" for value in draw.integers(0, 6, 1500)] for n in range(6)}
    signal = [(a in ("v0", "v1")) + (b in ("v2", "v5")) for a, b in zip(columns["c1"], columns["c4"], strict=True)]
    target = draw.random(1500) < 0.1 + 0.4 * np.array(signal)
    with tracking_in(tmp_path):
        pl.DataFrame({**columns, "clicked": target.astype(int)}).write_csv("log.csv")
        Path("sparse_model.py").write_text(SPARSE, encoding="utf-8")
        yield ("--data", "log.csv", "--target", "clicked", "--model", "sparse_model:Sparse", "--threads", "1")
    sys.modules.pop("sparse_model", None)


def test_it_fits_the_contract_and_learns(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """``AdamW`` refuses sparse gradients."""
    assert feature_audit("check-model", *words) == 0
    assert "every trainable weight that affects the output gets a gradient" in capsys.readouterr().out
    draw = np.random.default_rng(0)
    fields = tuple(Field(f"c{n}", "code", 8) for n in range(4))
    columns = {field.name: draw.integers(0, 8, 2000) for field in fields}
    target = ((columns["c1"] > 4) ^ (draw.random(2000) < 0.1)).astype(np.float32)
    splits = {"train": np.arange(1500), "validation": np.arange(1500, 1750), "test": np.arange(1750, 2000)}
    store = MemoryStore(ModelSchema(fields, "binary"), columns, target, splits)
    model = build_model("sparse_model:Sparse", store.schema, embedding_dim=4, params={}, seed=0)
    config = TrainingConfig(max_epochs=3)
    trained = train(model, store, store.schema, config=config, task="binary", seed=0, device="cpu").model
    assert roc_auc_score(store.target("test"), predict(trained, store, "test", store.schema, task="binary")) > 0.85


@pytest.mark.slow
def test_it_is_audited(words: tuple[str, ...]) -> None:
    run = ("run", *words, "--k", "2", "--profile", "quick", "--seeds", "2", "--trials", "1")
    assert feature_audit(*run) == 0
    audit = newest_audit()
    assert audit.data.metrics["baseline/test/auc"] > 0.65
    assert audit.data.metrics["pruned/test/auc"] > 0.65

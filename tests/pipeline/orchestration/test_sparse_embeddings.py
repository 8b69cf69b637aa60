"""A team's own model whose embeddings have sparse gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from command_line import feature_audit, newest_audit, tracking_in

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


def test_an_own_model_with_sparse_embeddings_is_audited(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``AdamW`` refuses sparse gradients, so that such a model could not be trained at all."""
    draw = np.random.default_rng(0)
    columns = {f"c{n}": [f"v{value}" for value in draw.integers(0, 6, 1500)] for n in range(6)}
    signal = [(a in ("v0", "v1")) + (b in ("v2", "v5")) for a, b in zip(columns["c1"], columns["c4"], strict=True)]
    target = draw.random(1500) < 0.1 + 0.4 * np.array(signal)
    with tracking_in(tmp_path):
        pl.DataFrame({**columns, "clicked": target.astype(int)}).write_csv("log.csv")
        Path("sparse_model.py").write_text(SPARSE, encoding="utf-8")
        words = ("--data", "log.csv", "--target", "clicked", "--model", "sparse_model:Sparse", "--threads", "1")
        assert feature_audit("check-model", *words) == 0
        assert "FAIL" not in capsys.readouterr().out
        run = ("run", *words, "--k", "2", "--profile", "quick", "--seeds", "2", "--trials", "1")
        assert feature_audit(*run) not in (1, 2)
        audit = newest_audit()
    assert audit.data.metrics["baseline/test/auc"] > 0.65
    assert audit.data.metrics["pruned/test/auc"] > 0.65

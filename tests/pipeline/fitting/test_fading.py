"""The full model while features fade, compared with rows encoded without them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from data_helpers import every_kind, prepared_of
from feature_audit.batch import Batch
from feature_audit.config import AuditConfig
from feature_audit.data import Encoders, Prepared, Store
from feature_audit.fitting import fading
from feature_audit.fitting.fading import MOST_PASSES, fading_curve
from feature_audit.models import build_model, embedding_sizes, scores
from feature_audit.noninferiority import metric
from torch import nn

CONFIG = AuditConfig(metric="auc", task="binary", device="cpu")
Made = tuple[pl.DataFrame, Prepared, Store, nn.Module, Encoders]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("fading")
    frame = every_kind()
    prepared, store = prepared_of(frame, folder, time="at", kinds={"vector": "vector"})
    model = build_model("mlp", prepared.schema, embedding_dim=4, params={}, seed=0)
    generator = torch.Generator().manual_seed(0)
    for value in model.parameters():
        nn.init.normal_(value, std=0.5, generator=generator)
    return frame, prepared, store, model.eval(), Encoders.load(prepared.directory / "encoders.json")


def auc_without(made: Made, names: list[str]) -> float:
    """AUC on validation rows as they would be served with these cells missing."""
    frame, prepared, store, model, encoders = made
    rows = frame[store.row_id("validation").tolist()].with_columns(pl.lit(None).alias(name) for name in names)
    found = scores(model, encoders.encode(rows, prepared.schema), task="binary")
    return metric("auc", "binary").value(store.target("validation"), found)


def test_a_fully_faded_wave_scores_like_rows_without_its_columns(made: Made) -> None:
    _, prepared, store, model, encoders = made
    assert {field.form for field in prepared.schema.fields} == {"numeric", "code", "bag", "vector"}
    waves = [["tags", "amount"], ["not a feature"], ["vector", "colour", "seen"]]
    lost = encoders.missing(prepared.schema)
    points, rows = fading_curve(CONFIG, store, prepared.schema, model, waves, lost)
    assert rows == store.rows("validation")
    assert [(one.wave, one.coverage) for one in points] == [
        (0, 1.0),
        *((wave, level) for wave in (1, 3) for level in (0.75, 0.5, 0.25, 0.0)),
    ]
    assert points[0].metric == pytest.approx(auc_without(made, []))
    assert points[0].delta == 0
    assert points[4].metric == pytest.approx(auc_without(made, waves[0]))
    assert points[8].metric == pytest.approx(auc_without(made, waves[0] + waves[2]))
    assert points[8].delta == pytest.approx(points[8].metric - points[0].metric)
    assert len({one.metric for one in points}) == len(points), "each step changes something"


class Seen(nn.Module):
    """Records the batches that it scores."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[Batch] = []

    def forward(self, batch: Batch) -> torch.Tensor:
        self.batches.append(batch)
        return batch.numeric.sum(dim=1)


def test_removed_cells_stay_removed_in_later_waves(made: Made) -> None:
    _, prepared, store, _, encoders = made
    model = Seen()
    fading_curve(CONFIG, store, prepared.schema, model, [["count"], ["amount"]], encoders.missing(prepared.schema))
    numeric = [field.name for field in prepared.schema.fields if field.form == "numeric"]
    assert len(model.batches) == 9
    for name, first in (("count", 1), ("amount", 5)):
        cells = np.stack([batch.numeric[:, numeric.index(name)].numpy() for batch in model.batches])
        full = cells[0] != 0
        there = (cells[first : first + 4] != 0)[:, full]
        assert (there[1:] <= there[:-1]).all()
        np.testing.assert_allclose(there.mean(axis=1), [0.75, 0.5, 0.25, 0.0], atol=0.12)
        assert (cells[:first] == cells[0]).all(), "a wave waits for the one before it"


def test_many_waves_take_no_more_passes(made: Made) -> None:
    _, prepared, store, model, encoders = made
    names = [[name] for name in prepared.schema.names]
    points, _ = fading_curve(CONFIG, store, prepared.schema, model, names, encoders.missing(prepared.schema))
    assert len(names) * 4 > MOST_PASSES
    assert len(points) <= 1 + MOST_PASSES
    assert {one.coverage for one in points} == {1.0, 0.5, 0.0}


def test_a_long_split_is_thinned_out(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every third row is used and scored as before."""
    frame, prepared, store, model, encoders = made
    monkeypatch.setattr(fading, "MOST_ROWS", store.rows("validation") // 3 + 1)
    points, rows = fading.fading_curve(
        CONFIG, store, prepared.schema, model, [["amount"]], encoders.missing(prepared.schema)
    )
    third = np.arange(0, store.rows("validation"), 3)
    assert rows == len(third)
    raw = frame[store.row_id("validation")[third].tolist()].with_columns(pl.lit(None).alias("amount"))
    found = scores(model, encoders.encode(raw, prepared.schema), task="binary")
    assert points[-1].metric == pytest.approx(metric("auc", "binary").value(store.target("validation")[third], found))


@pytest.mark.parametrize("name", ["mlp", "dcn_v2", "deepfm"])
def test_embedding_sizes_add_up_to_the_embedding(made: Made, name: str) -> None:
    schema = made[1].schema
    model = build_model(name, schema, embedding_dim=6, params={}, seed=0)
    assert sum(embedding_sizes(schema, 6)) == sum(value.numel() for value in model.embedding.parameters())
    less = schema.keep([field.name for field in schema.fields if field.form != "numeric"])
    without = build_model(name, less, embedding_dim=6, params={}, seed=0)
    assert sum(embedding_sizes(less, 6)) == sum(value.numel() for value in without.embedding.parameters())

"""The models in examples/ pass the contract test, also with few features, and learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from feature_audit.config.files import load_config
from feature_audit.config.sections import TrainingConfig
from feature_audit.models import build_model, by_name, check_model, predict, train
from feature_audit.schema import ModelSchema
from memory_store import MemoryStore, planted
from sklearn.metrics import roc_auc_score

ROOT = Path(__file__).parents[3]


def _store() -> MemoryStore:
    """The planted table with names of a recommender; every other feature belongs to the item."""
    store = planted(rows=2500)
    names = {f.name: ("item_" if place % 2 else "user_") + f.name for place, f in enumerate(store.schema.fields)}
    schema = ModelSchema(tuple(replace(f, name=names[f.name]) for f in store.schema.fields), "binary")
    columns = {names[name]: values for name, values in store.columns.items()}
    return MemoryStore(schema, columns, store.labels, store.splits)


@pytest.mark.parametrize("example", ["two_tower", pytest.param("fuxictr", marks=pytest.mark.slow)])
def test_an_example_is_auditable_and_learns(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if example == "fuxictr":
        pytest.importorskip("fuxictr", reason="optional: pip install fuxictr")
    monkeypatch.syspath_prepend(str(ROOT))
    config = load_config(str(ROOT / "examples" / example / "audit.yaml"), {})
    store = _store()
    for kept in (store.schema.names, store.schema.names[:3], store.schema.names[:1]):
        schema = store.schema.keep(kept)
        model = build_model(
            config.model, schema, embedding_dim=0, params=config.model_params, attach=config.attach, seed=0
        )
        findings = check_model(model, schema, store.batch(np.arange(64), schema))
        assert [finding for finding in findings if not finding.passed] == []
    model = build_model(
        config.model, store.schema, embedding_dim=0, params=config.model_params, attach=config.attach, seed=0
    )
    train(model, store, store.schema, config=TrainingConfig(max_epochs=6), task="binary", seed=0, device="cpu")
    made = predict(model, store, "test", store.schema, task="binary", device="cpu")
    assert roc_auc_score(store.target("test"), made) > 0.85


def test_by_name_finds_every_cell() -> None:
    store = _store()
    rows = np.arange(20)
    columns = by_name(store.batch(rows), store.schema)
    assert tuple(columns) == store.schema.names
    for name, cells in columns.items():
        np.testing.assert_array_equal(cells.numpy(), store.columns[name][rows])

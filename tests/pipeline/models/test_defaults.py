"""The defaults suit tables like those of users: close to boosting or better, without settings per table."""

from __future__ import annotations

import numpy as np
import pytest
from feature_audit.config.sections import TrainingConfig
from feature_audit.models import boosting_scores, build_model, predict, train
from feature_audit.schema import Field, ModelSchema
from memory_store import MemoryStore
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score

LOADERS = {"binary": load_breast_cancer, "regression": load_diabetes, "multiclass": load_digits}


def _quality(task: str, target: np.ndarray, made: np.ndarray) -> float:
    if task == "binary":
        return roc_auc_score(target, made)
    return r2_score(target, made) if task == "regression" else accuracy_score(target, made.argmax(axis=1))


@pytest.mark.parametrize(
    "task", [pytest.param(task, marks=pytest.mark.slow) if task == "multiclass" else task for task in LOADERS]
)
def test_small_real_tables_come_close_to_boosting(task: str) -> None:
    content = LOADERS[task]()
    order = np.random.default_rng(0).permutation(len(content.target))
    cut = np.split(order, [int(0.6 * len(order)), int(0.8 * len(order))])
    splits = dict(zip(("train", "validation", "test"), cut, strict=True))
    columns, fields = {}, []
    for number, values in enumerate(content.data.T):
        knots = np.unique(np.quantile(values[splits["train"]], np.linspace(0, 1, 32), method="nearest"))
        columns[f"x{number}"] = np.interp(values, knots, np.arange(1, len(knots) + 1)).astype(np.float32)
        fields.append(Field(f"x{number}", "numeric", 1 + len(knots)))
    schema = ModelSchema(tuple(fields), task, n_classes=int(content.target.max()) + 1 if task == "multiclass" else 2)
    store = MemoryStore(schema, columns, content.target, splits)
    config = TrainingConfig()
    model = build_model("dcn_v2", schema, embedding_dim=config.embedding_dim, params={}, seed=0)
    train(model, store, schema, config=config, task=task, seed=0, device="cpu")
    test = splits["test"]
    ours = _quality(task, content.target[test], predict(model, store, "test", schema, task=task, device="cpu"))
    boosted = _quality(task, content.target[test], boosting_scores(store, schema, split="test"))
    assert ours > boosted - 0.02

"""One model of several targets: its loss, initial bias, scores, and the contract for a team's own model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from data_helpers import prepared_of
from feature_audit.config import TrainingConfig
from feature_audit.data import Prepared, Store
from feature_audit.models import MODELS, build_model, check_model, mean_loss, predict, row_loss, train
from feature_audit.models.custom.user_model import UserModel
from feature_audit.models.zoo.embedding import FieldEmbedding
from feature_audit.schema import ModelSchema, Output
from sklearn.metrics import log_loss, roc_auc_score
from torch import Tensor, nn
from two_labels import two_labels

OUTPUTS = (Output("a", "binary", 0.4), Output("b", "regression", 9.0))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Prepared, Store]:
    folder = tmp_path_factory.mktemp("log")
    return prepared_of(two_labels(), folder, target=None, targets=["click", "convert"], row_id="row", exclude=["all"])


def test_a_row_costs_the_mean_of_its_targets_each_in_its_unit() -> None:
    output = torch.tensor([[0.3, 5.0], [-1.0, 2.0]], requires_grad=True)
    label = torch.tensor([[1.0, 2.0], [0.0, float("nan")]])
    losses = row_loss("binary", OUTPUTS)(output, label)
    wanted = [np.log1p(np.exp(-0.3)) / 0.4 / 2 + 9.0 / 9.0 / 2, np.log1p(np.exp(-1.0)) / 0.4 / 2]
    np.testing.assert_allclose(losses.detach(), wanted, rtol=1e-6)
    losses.sum().backward()
    assert output.grad is not None
    assert output.grad[1, 1] == 0
    assert torch.isfinite(output.grad).all()


@pytest.mark.parametrize("name", MODELS)
def test_training_starts_at_the_best_constants_and_learns_both(made: tuple[Prepared, Store], name: str) -> None:
    prepared, store = made
    schema = prepared.schema
    model = build_model(name, schema, embedding_dim=4, params={}, seed=0)
    model.scaling.fit(torch.from_numpy(store.targets("train")))
    with torch.no_grad():
        start = torch.sigmoid(model.scaling(torch.zeros(1, 2)))[0].numpy()
    np.testing.assert_allclose(start, np.nanmean(store.targets("train"), axis=0), atol=2e-3)
    config = TrainingConfig(max_epochs=3)
    found = train(model, store, schema, config=config, task="binary", seed=0, device="cpu").validation_loss
    scores, label = (
        predict(model, store, "validation", schema, task="binary", device="cpu"),
        store.targets("validation"),
    )
    held = ~np.isnan(label)
    assert scores.shape == label.shape
    parts = [
        log_loss(label[held[:, place], place], scores[held[:, place], place].astype(float))
        * held[:, place].mean()
        / one.unit
        for place, one in enumerate(schema.outputs)
    ]
    assert found == pytest.approx(np.mean(parts), rel=1e-4)
    assert found == pytest.approx(mean_loss(model, store, "validation", schema, task="binary", device="cpu"))
    aucs = [roc_auc_score(label[held[:, place], place], scores[held[:, place], place]) for place in (0, 1)]
    assert min(aucs) > 0.8


class Own(nn.Module):
    """A team's model with a tower per target, or, by mistake, one for all."""

    def __init__(self, schema: ModelSchema, columns: int) -> None:
        super().__init__()
        self.embedding = FieldEmbedding(schema, 4)
        self.towers = nn.ModuleList(nn.Linear(4 * len(schema.fields), 1) for _ in range(columns))

    def embed(self, batch) -> Tensor:
        return self.embedding(batch)

    def predict(self, embedded: Tensor) -> Tensor:
        return torch.cat([tower(embedded.flatten(1)) for tower in self.towers], dim=1)


def test_an_own_model_gives_a_column_for_each_target(made: tuple[Prepared, Store]) -> None:
    prepared, store = made
    batch = next(iter(store.batches("train", 256)))
    findings = check_model(UserModel(Own(prepared.schema, 2), prepared.schema), prepared.schema, batch)
    assert all(one.passed for one in findings), findings
    for columns in (1, 3):
        refused = check_model(UserModel(Own(prepared.schema, columns), prepared.schema), prepared.schema, batch)
        assert [one.passed for one in refused] == [False]
        assert "one column for each of schema.outputs: click, convert" in refused[0].detail


def test_a_schema_without_further_targets_is_written_as_before() -> None:
    schema = ModelSchema((), "binary")
    assert schema.to_dict() == {"fields": [], "task": "binary", "n_classes": 2}
    several = replace(schema, outputs=OUTPUTS)
    assert ModelSchema.from_dict(several.to_dict()) == several

"""The contract test checks that a module can be trained: logits, and gradients for every weight that matters."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from feature_audit.batch import Batch
from feature_audit.models import MODELS, ModelFinding, build_model, check_model
from feature_audit.models.custom.attach import AttachedModel
from feature_audit.models.custom.user_model import UserModel
from feature_audit.schema import Field, ModelSchema, Task
from memory_store import MemoryStore, planted
from torch import Tensor, nn


class Net(nn.Module):
    """Code columns to one output per class, with two functions of the user."""

    def __init__(
        self,
        schema: ModelSchema,
        last: Callable[[Tensor], Tensor] = lambda raw: raw,
        cut: Callable[[nn.Embedding, Tensor], Tensor] = lambda table, codes: table(codes),
    ) -> None:
        super().__init__()
        self.last, self.cut = last, cut
        self.classes = schema.n_classes if schema.task == "multiclass" else 1
        self.tables = nn.ModuleList(nn.Embedding(field.cardinality, 3) for field in schema.fields)
        self.out = nn.Linear(3 * len(schema.fields), self.classes)
        self.unused = nn.Linear(2, 2)

    def embed(self, batch: Batch) -> Tensor:
        vectors = [self.tables[0](batch.codes[:, 0])]
        vectors += [
            self.cut(table, batch.codes[:, place])
            for place, table in enumerate(self.tables)
            if place  # type: ignore[arg-type]
        ]
        return torch.stack(vectors, dim=1)

    def predict(self, embedded: Tensor) -> Tensor:
        output = self.last(self.out(torch.tanh(embedded).flatten(1)))
        return output if self.classes > 1 else output[:, 0]


def _codes(task: Task = "binary") -> tuple[ModelSchema, Batch]:
    """A schema of four code columns, and rows of it."""
    schema = ModelSchema(tuple(Field(name, "code", 5) for name in "abcd"), task, n_classes=3)
    draw = np.random.default_rng(0)
    columns = {field.name: draw.integers(0, 5, 128) for field in schema.fields}
    store = MemoryStore(schema, columns, draw.integers(0, 2, 128), {"train": np.arange(128)})
    return schema, store.batch(np.arange(128))


def _asked(make: Callable[[ModelSchema], nn.Module], task: Task = "binary") -> dict[str, ModelFinding]:
    schema, batch = _codes(task)
    torch.manual_seed(0)
    return {one.check: one for one in check_model(UserModel(make(schema), schema), schema, batch)}


PROBABILITIES: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "clipped sigmoid": lambda raw: torch.sigmoid(raw).clamp(1e-7, 1 - 1e-7),
    "clamp": lambda raw: raw.clamp(0, 1),
    "hard sigmoid": nn.functional.hardsigmoid,
    "shifted tanh": lambda raw: (torch.tanh(raw) + 1) / 2,
    "temperature": lambda raw: torch.sigmoid(raw / 20),
}
LOGITS: dict[str, Callable[[Tensor], Tensor]] = {
    "plain": lambda raw: raw,
    "tiny": lambda raw: 0.5 + raw / 1000,  # lies within [0, 1] while it is untrained
    "scaled tanh": lambda raw: 4 * torch.tanh(raw),
    "log odds": lambda raw: torch.logit(torch.sigmoid(raw).clamp(1e-6, 1 - 1e-6)),
    "log probability": nn.functional.logsigmoid,
    "cosine": torch.tanh,
    "twice a sigmoid": lambda raw: 2 * torch.sigmoid(raw),
}


@pytest.mark.parametrize("last", PROBABILITIES)
def test_probabilities_are_refused(last: str) -> None:
    found = _asked(lambda schema: Net(schema, PROBABILITIES[last]))["logits"]
    assert not found.passed
    assert "return logits: remove the last sigmoid" in found.detail


@pytest.mark.parametrize("last", [lambda raw: torch.softmax(raw, 1), torch.sigmoid])
def test_probabilities_of_classes_are_refused(last: Callable[[Tensor], Tensor]) -> None:
    found = _asked(lambda schema: Net(schema, last), "multiclass")["logits"]
    assert not found.passed
    assert "remove the last softmax" in found.detail


@pytest.mark.parametrize("last", LOGITS)
def test_logits_are_accepted_wherever_they_lie_before_training(last: str) -> None:
    found = _asked(lambda schema: Net(schema, LOGITS[last]))
    assert [finding for finding in found.values() if not finding.passed] == []
    assert "logits" in found


def test_a_head_that_starts_at_zero_is_accepted() -> None:
    def zeros(schema: ModelSchema) -> nn.Module:
        net = Net(schema)
        net.out.weight.data.zero_()
        net.out.bias.data.fill_(0.5)
        return net

    found = _asked(zeros)
    assert found["logits"].passed
    assert found["training"].passed


def test_a_module_that_refuses_other_weights_is_not_blamed() -> None:
    def strict(raw: Tensor) -> Tensor:
        if raw.abs().max() > 3:
            raise ValueError("these weights are none of mine")
        return 0.5 + raw / 1000

    assert _asked(lambda schema: Net(schema, strict))["logits"].passed


def test_values_of_a_regression_may_lie_within_0_and_1() -> None:
    assert "logits" not in _asked(lambda schema: Net(schema, torch.sigmoid), "regression")


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("name", MODELS)
def test_the_shipped_models_pass(name: str, task: Task) -> None:
    store = planted(task)
    model = build_model(name, store.schema, embedding_dim=4, params={}, seed=0)
    found = check_model(model, store.schema, store.batch(np.arange(64)))
    assert [finding for finding in found if not finding.passed] == []
    assert "training" in {finding.check for finding in found}


CUTS: dict[str, Callable[[nn.Embedding, Tensor], Tensor]] = {
    "detach": lambda table, codes: table(codes).detach(),
    "weight.detach": lambda table, codes: nn.functional.embedding(codes, table.weight.detach()),
    "data": lambda table, codes: table.weight.data[codes],
    "no_grad": lambda table, codes: torch.no_grad()(table)(codes),
    "numpy": lambda table, codes: torch.from_numpy(table.weight.detach().numpy()[codes.numpy()]),
}


@pytest.mark.parametrize("cut", CUTS)
def test_embeddings_that_are_never_trained_are_refused(cut: str) -> None:
    """The first table is trained, so a gradient for the embeddings as a whole proves nothing."""
    found = _asked(lambda schema: Net(schema, cut=CUTS[cut]))
    assert {name for name, finding in found.items() if not finding.passed} == {"training"}
    assert re.match(r"tables\.1\.weight affects the output but gets no gradient", found["training"].detail)


def test_embeddings_frozen_on_purpose_are_accepted_and_named() -> None:
    def frozen(schema: ModelSchema) -> nn.Module:
        net = Net(schema)
        net.tables.requires_grad_(False)
        return net

    found = _asked(frozen)["training"]
    assert found.passed
    assert "the embeddings are frozen" in found.detail


def test_detached_embeddings_of_an_attached_module_are_refused() -> None:
    class Detached(nn.Module):
        def forward(self, embedded: Tensor) -> Tensor:
            return embedded.detach()

    class Whole(nn.Module):
        def __init__(self, schema: ModelSchema) -> None:
            super().__init__()
            self.net, self.pooled = Net(schema), Detached()

        def forward(self, batch: Batch) -> Tensor:
            return self.net.predict(self.pooled(self.net.embed(batch)))

    schema, batch = _codes()
    found = check_model(AttachedModel(Whole(schema), schema, "pooled"), schema, batch)
    assert [finding.check for finding in found if not finding.passed] == ["training"]


def test_an_output_without_any_gradient_is_one_finding_and_no_crash() -> None:
    def cut(schema: ModelSchema) -> nn.Module:
        return Net(schema, lambda raw: raw.detach())

    found = _asked(cut)
    assert not found["gradients"].passed
    assert "no gradient reaches the gates" in found["gradients"].detail

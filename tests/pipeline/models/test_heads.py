"""Each shipped model against its formula, written out by hand on tiny inputs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from feature_audit.errors import UsageError
from feature_audit.models import MODELS, build_model
from feature_audit.models.zoo.heads import LowRankCross, pairwise_products
from feature_audit.schema import Field, ModelSchema
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_store import planted

PAIR = ModelSchema((Field("a", "code", 3), Field("b", "code", 3)), "binary")


def _weights(module: torch.nn.Linear) -> tuple[np.ndarray, np.ndarray]:
    bias = np.zeros(module.out_features) if module.bias is None else module.bias.detach().numpy()
    return module.weight.detach().double().numpy(), bias.astype(np.float64)


def test_cross_layer_is_the_formula_by_hand() -> None:
    cross = LowRankCross(width=2, rank=1)
    with torch.no_grad():
        cross.down.weight.copy_(torch.tensor([[2.0, -1.0]]))
        cross.up.weight.copy_(torch.tensor([[3.0], [0.5]]))
        cross.up.bias.copy_(torch.tensor([1.0, -1.0]))
    x0, x = torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 3.0]])
    # V x = 2*4 - 3 = 5; U V x + b = (16, 1.5); x0 * that + x = (16 + 4, 3 + 3)
    assert cross(x0, x).tolist() == [[20.0, 6.0]]


@settings(max_examples=30)
@given(fields=st.integers(1, 6), dim=st.integers(1, 5), seed=st.integers(0, 10_000))
def test_factorisation_machine_identity(fields: int, dim: int, seed: int) -> None:
    embedded = torch.randn(3, fields, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    by_pairs = torch.zeros(3, dtype=torch.float64)
    for first, second in itertools.combinations(range(fields), 2):
        by_pairs += (embedded[:, first] * embedded[:, second]).sum(dim=1)
    torch.testing.assert_close(pairwise_products(embedded), by_pairs, rtol=1e-9, atol=1e-9)


def test_dcn_v2_is_a_cross_and_a_deep_network_in_parallel() -> None:
    model = build_model(
        "dcn_v2", PAIR, embedding_dim=2, params={"cross_layers": 2, "rank": 3, "hidden": [5]}, seed=1
    ).eval()
    embedded = torch.randn(4, 2, 2)
    x0 = embedded.flatten(1).double().numpy()
    crossed = x0
    for cross in model.crosses:
        (down, _), (up, bias) = _weights(cross.down), _weights(cross.up)
        crossed = x0 * (crossed @ down.T @ up.T + bias) + crossed
    deep_weight, deep_bias = _weights(model.deep[0])
    deep = np.maximum(x0 @ deep_weight.T + deep_bias, 0)
    weight, bias = _weights(model.out)
    expected = np.concatenate([crossed, deep], axis=1) @ weight[0] + bias[0]
    np.testing.assert_allclose(model.predict(embedded).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_deepfm_is_linear_plus_pairs_plus_deep() -> None:
    model = build_model("deepfm", PAIR, embedding_dim=2, params={"hidden": [5]}, seed=1).eval()
    embedded = torch.randn(4, 2, 2)
    flat = embedded.flatten(1).double().numpy()
    linear_weight, linear_bias = _weights(model.linear)
    deep_weight, deep_bias = _weights(model.deep[0])
    out_weight, out_bias = _weights(model.out)
    pairs = (embedded[:, 0] * embedded[:, 1]).sum(dim=1).numpy() * model.interaction.item()
    deep = np.maximum(flat @ deep_weight.T + deep_bias, 0) @ out_weight[0] + out_bias[0]
    expected = flat @ linear_weight[0] + linear_bias[0] + pairs + deep
    np.testing.assert_allclose(model.predict(embedded).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("task", "shape"), [("binary", (7,)), ("regression", (7,)), ("multiclass", (7, 3))])
def test_every_model_meets_the_contract(name: str, task: str, shape: tuple[int, ...]) -> None:
    store = planted(task, rows=50)
    batch = store.batch(np.arange(7))
    model = build_model(name, store.schema, embedding_dim=4, params={}, seed=0).eval()
    assert model.embed(batch).shape == (7, len(store.schema.fields), 4)
    assert model(batch).shape == shape
    torch.testing.assert_close(model(batch), model.predict(model.embed(batch)))


def test_initial_weights_follow_the_seed_and_leave_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (
        build_model("mlp", PAIR, embedding_dim=2, params={}, seed=seed).state_dict() for seed in (1, 1, 2)
    )
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["embedding.table.weight"], other["embedding.table.weight"])


@pytest.mark.parametrize(
    ("name", "params", "attach", "message"),
    [
        ("resnet", {}, None, "model=resnet: no such model; choose mlp, dcn_v2, deepfm"),
        ("mlp", {"hiden": [3]}, None, "model=mlp: model_params do not fit: .*hiden"),
        ("mlp", {"embedding_dim": 8}, None, "model_params.embedding_dim=8: give training.embedding_dim"),
        ("mlp", {}, "layer", "attach=layer: model=mlp does not need it"),
        ("no_such_package_here:make", {}, None, "cannot import no_such_package_here"),
        ("json:make", {}, None, "json has no function make"),
        ("builtins:str", {}, None, "factory returned str, not a torch.nn.Module"),
    ],
)
def test_a_mistake_in_the_model_is_one_line(name: str, params: dict, attach: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        build_model(name, PAIR, embedding_dim=2, params=params, attach=attach)
    assert "\n" not in str(caught.value)

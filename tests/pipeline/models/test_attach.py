"""A team's own models, with embed and predict, and with a hook on the submodule that embeds."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import re
import weakref

import numpy as np
import pytest
import torch
from concrete_selectors import PathSettings, SelectionTask, fit_path
from concrete_selectors.embeddings import FlatModel
from concrete_selectors.protocols import Batches
from feature_audit.batch import Batch
from feature_audit.config.sections import TrainingConfig
from feature_audit.errors import UsageError
from feature_audit.models import build_model, check_model, embedding_widths, predict, row_loss, train
from feature_audit.schema import Field, ModelSchema
from memory_store import MemoryStore
from sklearn.metrics import roc_auc_score

SCHEMA = ModelSchema(tuple(Field(name, "code", 5) for name in ("user", "age", "item", "genre")), "binary")
ATTACHED = [
    ("two_tower", "user.embed,item.embed"),
    ("named", "gather"),
    ("keyed", "collection"),
    ("shared", "lookup"),
    ("per_field", "tables.user, tables.age, tables.item, tables.genre"),
    ("twins", "user.embed,item.embed"),
]


def _store(rows: int = 3000) -> MemoryStore:
    draw = np.random.default_rng(0)
    columns = {field.name: draw.integers(0, 5, rows) for field in SCHEMA.fields}
    affinity = np.where(columns["user"] % 2 == columns["item"] % 2, 2.0, -2.0)
    target = (draw.random(rows) < 1 / (1 + np.exp(-affinity))).astype(np.float32)
    cut = np.split(draw.permutation(rows), [int(0.6 * rows), int(0.8 * rows)])
    return MemoryStore(SCHEMA, columns, target, dict(zip(("train", "validation", "test"), cut, strict=True)))


def _build(name: str, attach: str | None = None, schema: ModelSchema = SCHEMA, **params: object) -> torch.nn.Module:
    return build_model(f"home_grown:{name}", schema, embedding_dim=0, params=params, attach=attach, seed=0)


@pytest.mark.parametrize(("name", "attach"), ATTACHED)
def test_an_attached_model_predicts_what_the_bare_model_predicts(name: str, attach: str) -> None:
    batch = _store().batch(np.arange(32))
    model = _build(name, attach).eval()
    embedded = model.embed(batch)
    assert embedded.shape[0] == 32
    assert len(model.widths) == 4
    assert embedded[0].numel() == sum(model.widths)
    torch.testing.assert_close(model.predict(embedded), model(batch))
    bare = _build(name, attach).eval().module
    torch.testing.assert_close(model(batch), bare(batch).reshape(-1))


@pytest.mark.parametrize(("name", "attach"), ATTACHED)
@pytest.mark.parametrize("how", ["deepcopy", "pickle", "torch.save"])
def test_a_copy_is_independent_of_the_original(name: str, attach: str, how: str) -> None:
    batch, other = _store().batch(np.arange(32)), _store().batch(np.arange(32, 64))
    model = _build(name, attach).eval()
    expected = model.predict(_gated(model, batch))  # with gradients on
    if name == "twins":  # the team's own leftover of a graph stands in the way of copies, not ours
        model.module.attention = None
    twin = _copy(model, how)
    torch.testing.assert_close(twin.predict(_gated(model, batch)), expected)  # it remembers the batch, too
    assert torch.equal(twin.predict(_gated(twin, batch)), expected)
    with torch.no_grad():
        for weight in twin.parameters():
            weight.add_(1)
        assert not torch.allclose(twin.predict(_gated(twin, batch)), expected)
    twin.embed(other)
    assert torch.equal(model.predict(_gated(model, batch)), expected)


def _gated(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    flat = FlatModel(model)
    embedded = flat.embed(batch)
    return flat.segments.scale(embedded, torch.tensor([1.0, 0, 1, 0]))


def _copy(model: torch.nn.Module, how: str) -> torch.nn.Module:
    if how == "deepcopy":
        return copy.deepcopy(model)
    if how == "pickle":
        return pickle.loads(pickle.dumps(model))
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def test_the_batch_follows_a_model_that_moves_between_embed_and_predict() -> None:
    model, batch = _build("two_tower", "user.embed,item.embed"), _store().batch(np.arange(32))
    embedded = model.embed(batch)
    places: list[str] = []
    model.module.register_forward_pre_hook(lambda _module, inputs: places.append(inputs[0].codes.device.type))
    assert model.to("meta").predict(embedded.to("meta")[::2]).shape == (16,)  # a device that every machine has
    assert places == ["meta"]


def test_nothing_of_a_graph_outlives_its_embeddings() -> None:
    model, batch = _build("two_tower", "user.embed,item.embed"), _store().batch(np.arange(32))
    embedded = model.embed(batch)
    model.predict(embedded)
    held = weakref.ref(embedded)
    del embedded
    gc.collect()
    assert held() is None


@pytest.mark.parametrize(("name", "attach"), ATTACHED)
def test_an_attached_model_passes_its_contract_test(name: str, attach: str) -> None:
    findings = check_model(_build(name, attach), SCHEMA, _store().batch(np.arange(64)))
    assert [finding.check for finding in findings if not finding.passed] == []
    assert len(findings) == 10


def test_gates_reach_the_right_field_of_named_embeddings() -> None:
    store = _store()
    model, batch = _build("named", "gather").eval(), store.batch(np.arange(16))
    embedded = model.embed(batch)
    for place, name in enumerate(SCHEMA.names):
        torch.testing.assert_close(embedded[:, place], model.module.lookup[name](batch.codes[:, place]))


def test_an_attached_two_tower_learns() -> None:
    store = _store()
    model = _build("two_tower", "user.embed,item.embed")
    config = TrainingConfig(batch_size=128, learning_rate=0.01, max_epochs=20)
    train(model, store, SCHEMA, config=config, task="binary", seed=0, device="cpu")
    made = predict(model, store, "test", SCHEMA, task="binary", device="cpu")
    assert roc_auc_score(store.target("test"), made) > 0.85


@pytest.mark.parametrize(("name", "attach"), [ATTACHED[place] for place in (0, 4, 5)])
def test_a_selector_trains_a_copy_of_an_attached_model(name: str, attach: str) -> None:
    store = _store()
    model = _build(name, attach)
    if name == "two_tower":
        config = TrainingConfig(batch_size=128, learning_rate=0.01, max_epochs=20)
        train(model, store, SCHEMA, config=config, task="binary", seed=0, device="cpu")
    before = copy.deepcopy(model.state_dict())

    def batches(split: str) -> Batches:
        return lambda seed: ((batch, batch.target) for batch in store.batches(split, 256, seed=seed))

    settings = PathSettings(k_max=3, fewest_steps=20, epochs=1, finetune_epochs=1, network_learning_rate=1e-2)
    task = SelectionTask(model, batches("train"), batches("validation"), row_loss("binary"), steps_per_epoch=8)
    path = fit_path(task, settings)
    assert sorted(path.ranking) == [0, 1, 2, 3]
    if name == "two_tower":
        assert path.subset(2).tolist() == [0, 2]  # user and item
    assert all(torch.equal(weight, before[key]) for key, weight in model.state_dict().items())


@pytest.mark.parametrize(
    ("odd", "failed", "says"),
    [
        ("hook on self", "copies", "still uses the weights of the original"),
        ("lock", "copies", "a deep copy does not work: TypeError"),
        ("unregistered tensor", "saved weights", "register what the output depends on"),
        ("running mean", "saved weights", "register what the output depends on"),
        ("layers in a list", "saved weights", "register what the output depends on"),
        ("dict", "shapes", "Odd.forward returns dict; it must return a tensor"),
        ("hook on its module", None, "cannot be pickled, which an audit does not need"),
        ("lambda", None, "cannot be pickled, which an audit does not need"),
    ],
)
def test_the_contract_test_finds_what_cannot_be_copied_or_saved(odd: str, failed: str | None, says: str) -> None:
    def rebuild() -> torch.nn.Module:
        return build_model(
            "home_grown:odd", SCHEMA, embedding_dim=0, params={"odd": odd}, attach="inner.gather", seed=1
        )

    model = _build("odd", "inner.gather", odd=odd)
    before = copy.deepcopy(model.state_dict())
    findings = check_model(model, SCHEMA, _store().batch(np.arange(64)), rebuild)
    assert [finding.check for finding in findings if not finding.passed] == ([failed] if failed else [])
    assert any(says in finding.detail for finding in findings if finding.check in (failed, "copies"))
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_a_submodule_whose_features_stand_elsewhere_is_found() -> None:
    model = _build("two_tower", "item.embed,user.embed")  # user columns come first
    findings = {finding.check: finding for finding in check_model(model, SCHEMA, _store().batch(np.arange(64)))}
    assert not findings["gates of zero"].passed
    assert "in the position of another feature" in findings["gates of zero"].detail


def test_a_regression_user_model_learns_in_target_units() -> None:
    schema = ModelSchema(SCHEMA.fields, "regression")
    store = _store()
    target = 5000 + 100 * store.columns["user"] + 10 * np.random.default_rng(1).normal(size=3000)
    regression = MemoryStore(schema, store.columns, target.astype(np.float32), store.splits)
    model = _build("plain", schema=schema)
    config = TrainingConfig(batch_size=128, learning_rate=0.01, max_epochs=30)
    train(model, regression, schema, config=config, task="regression", seed=0, device="cpu")
    made = predict(model, regression, "test", schema, task="regression", device="cpu")
    assert np.sqrt(np.mean((made - regression.target("test")) ** 2)) < 30


def test_the_contract_test_finds_a_way_past_the_gates() -> None:
    findings = {
        finding.check: finding
        for finding in check_model(_build("plain", leak=True), SCHEMA, _store().batch(np.arange(64)))
    }
    assert not findings["embeddings alone"].passed
    assert not findings["gates of zero"].passed
    assert "still affects the output although its gate is closed" in findings["gates of zero"].detail


def test_the_contract_test_finds_wrong_shapes_and_cut_gradients() -> None:
    batch = _store().batch(np.arange(64))
    assert [f.passed for f in check_model(_build("plain", wrong=True), SCHEMA, batch)] == [False]
    model = _build("plain")
    inner = model.module.predict
    model.module.predict = lambda embedded: inner(embedded.detach())
    findings = {finding.check: finding for finding in check_model(model, SCHEMA, batch)}
    assert not findings["gradients"].passed


@pytest.mark.parametrize(
    ("name", "attach", "message"),
    [
        ("two_tower", "user.lookup", "attach=user.lookup: TwoTower has no such submodule; it has user, user.embed"),
        ("half", None, r"Linear has no embed\(\); add it, or name the submodule"),
        ("named", "out", "attach=out: gives 1 embeddings for 4 features; give one per feature"),
        ("named", "lookup.user", "attach=lookup.user: gives 1 embeddings for 4 features"),
        ("named", "gather,out", "one submodule returns a tensor and another one names"),
        ("uncalled", "table", "attach=table: Uncalled.forward never calls it"),
        ("no_arguments", None, r"def build\(schema, \*\*model_params\); yours does not take arguments"),
        ("Tower", None, r"def build\(schema, \*\*model_params\); missing a required argument"),
    ],
)
def test_a_mistake_is_one_line(name: str, attach: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        _build(name, attach).embed(_store().batch(np.arange(8)))
    assert "\n" not in str(caught.value)


def test_a_wrong_embed_shape_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"Plain.embed gives \(8, 12\); give \(B, N, d\), a list"):
        _build("plain", wrong=True).embed(_store().batch(np.arange(8)))


@pytest.mark.parametrize(("name", "attach"), ATTACHED)
def test_some_of_the_embedded_rows_can_be_predicted(name: str, attach: str) -> None:
    batch = _store().batch(np.arange(32))
    model = _build(name, attach).eval()
    whole = model(batch)
    embedded = model.embed(batch)
    torch.testing.assert_close(model.predict(embedded[::3]), whole[::3])
    torch.testing.assert_close(model.predict(embedded.flatten(1).repeat(2, 1)), whole.repeat(2))


def test_a_submodule_called_for_users_and_again_for_items_gives_both() -> None:
    batch = _store().batch(np.arange(16))
    model = _build("shared", "lookup").eval()
    embedded = model.embed(batch)
    for place in range(4):
        torch.testing.assert_close(embedded[:, place], model.module.lookup.tables[place](batch.codes[:, place]))


FORMS = ("list", "dict", "keyed", "flat")


@pytest.mark.parametrize("attach", [None, "pooled"])
@pytest.mark.parametrize("form", FORMS)
def test_embeddings_of_any_width_pass_the_contract_test_in_every_form(form: str, attach: str | None) -> None:
    if form == "flat" and attach:
        pytest.skip("a hook does not see where the fields of a flat tensor stand")
    batch = _store().batch(np.arange(64))
    model = _build("mixed", attach, form=form)
    again = _build("mixed", attach, form=form)
    findings = check_model(model, SCHEMA, batch, lambda: again)
    assert [finding for finding in findings if not finding.passed] == []
    assert findings[0].detail == "embed 64 rows x 4 features of width 1 to 256, predict (64,)"
    assert model.eval().widths == (1, 16, 256, 4)
    torch.testing.assert_close(model(batch), model.module(batch))
    embedded = model.embed(batch)
    for place, span in enumerate(torch.arange(277).split([1, 16, 256, 4])):
        torch.testing.assert_close(embedded[:, span], model.module.tables[place](batch.codes[:, place]))
    torch.testing.assert_close(model.predict(embedded[::3]), model(batch)[::3])
    assert embedding_widths(model, SCHEMA) == (1, 16, 256, 4)


@pytest.mark.parametrize(
    ("wrong", "form", "says"),
    [
        ("missing", "dict", r"no embedding for genre \(1 of 4 features missing\)"),
        ("missing", "list", "3 embeddings for 4 features; give one per feature"),
        ("rows", "dict", r"\(63, 1\) for user: 63 rows for a batch of 64"),
        ("rows", "list", r"\(63, 1\) at place 0 of the list: 63 rows for a batch of 64"),
        ("all rows", "flat", r"\(128, 277\): 128 rows for a batch of 64"),
        ("block", "list", r"\(64, 1, 1\) at place 0 of the list; give \(B, width\) with a width of at least 1"),
        ("integers", "list", "int64 at place 0 of the list; embeddings must be floating-point numbers"),
        ("integers", "dict", "int64 for user; embeddings must be floating-point numbers"),
        ("widths", "dict", "width 2 for user, but 1 for an earlier batch; widths must not change"),
    ],
)
@pytest.mark.parametrize("attach", [None, "pooled"])
def test_embeddings_that_break_the_contract_are_one_line_each(
    wrong: str, form: str, says: str, attach: str | None
) -> None:
    if attach and (form == "flat" or wrong == "missing"):
        pytest.skip("a hook does not see where fields stand in a flat tensor, and such a module fails by itself")
    rows = 62 if wrong == "widths" else 64  # half of 62 is odd
    model = _build("mixed", attach, form=form, wrong=wrong)
    [finding] = check_model(model, SCHEMA, _store().batch(np.arange(rows)))
    assert (finding.check, finding.passed) == ("shapes", False)
    assert re.search(says, finding.detail)
    assert finding.detail.startswith("attach=pooled: gives" if attach else "Mixed.embed gives")
    assert "\n" not in finding.detail


def test_predict_before_embed_says_what_to_do() -> None:
    model = _build("keyed", "collection")
    with pytest.raises(RuntimeError, match=r"call it first"):
        model.predict(torch.zeros(3, 4, 3))

"""Embeddings of different widths: every form of the contract, every selector, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from concrete_selectors import PathSettings, SelectionPath, SelectionTask, Teacher, fit_nested, fit_path, rank_with
from concrete_selectors.embeddings import FieldLayout, FlatModel
from concrete_selectors.segments import Segments
from hypothesis import given, settings
from hypothesis import strategies as st
from keyed import Keyed
from tiny_model import LOSSES, make_batches, planted_task
from torch import Tensor, nn

#: Of the 16 features of the planted task; the signals 0, 1 and 2 have 1, 64 and 3 numbers, the widest is noise.
WIDTHS = [1, 64, 3, 8, 256, 1, 2, 128, 4, 4, 16, 1, 32, 5, 7, 2]
FORMS = ("list", "tuple", "dict", "keyed", "flat")


class Mixed(nn.Module):
    """One table per feature, of the given widths; returns embeddings in any form and accepts the same form."""

    def __init__(self, widths: list[int], form: str, cardinality: int = 5) -> None:
        super().__init__()
        self.form, self.widths = form, widths
        self.tables = nn.ModuleList(nn.Embedding(cardinality, width) for width in widths)
        for table in self.tables:
            nn.init.normal_(table.weight, std=0.3)
        self.layers = nn.Sequential(nn.Linear(sum(widths), 32), nn.ReLU(), nn.Linear(32, 1))

    def embed(self, batch: Tensor) -> Any:
        vectors = [table(batch[:, place]) for place, table in enumerate(self.tables)]
        names = [f"f{place}" for place in range(len(vectors))]
        if self.form == "dict":
            return dict(zip(names, vectors, strict=True))
        if self.form == "keyed":
            return Keyed(names, self.widths, torch.cat(vectors, dim=1))
        if self.form == "flat":
            return torch.cat(vectors, dim=1)
        return tuple(vectors) if self.form == "tuple" else vectors

    def predict(self, embedded: Any) -> Tensor:
        expected = {"dict": dict, "keyed": Keyed, "flat": Tensor, "tuple": tuple, "list": list}[self.form]
        assert isinstance(embedded, expected)
        if self.form == "keyed":
            embedded = embedded.values()
        elif self.form == "dict":
            embedded = torch.cat(list(embedded.values()), dim=1)
        elif self.form != "flat":
            embedded = torch.cat(list(embedded), dim=1)
        return self.layers(embedded)[:, 0]


@pytest.fixture(scope="module")
def mixed() -> SimpleNamespace:
    """The planted task with a trained model whose features are 1 to 256 wide."""
    task = planted_task("binary", epochs=0)
    torch.manual_seed(0)
    task.model = Mixed(WIDTHS, "list")
    optimizer = torch.optim.Adam(task.model.parameters(), lr=3e-3)
    for epoch in range(6):
        for batch, target in task.train(epoch):
            optimizer.zero_grad()
            LOSSES["binary"](task.model.predict(task.model.embed(batch)), target).mean().backward()
            optimizer.step()
    return task


def task_of(mixed: SimpleNamespace, form: str = "list", **constraints: Any) -> SelectionTask:
    model = Mixed(WIDTHS, form)
    model.load_state_dict(mixed.model.state_dict())
    return SelectionTask(
        model, mixed.train, mixed.validation, mixed.loss, mixed.steps_per_epoch,
        **{"teacher": Teacher(model, torch.sigmoid), **constraints},
    )  # fmt: skip


SETTINGS = PathSettings(k_max=6, epochs=3, finetune_epochs=1)


@pytest.fixture(scope="module")
def of_list(mixed: SimpleNamespace) -> SelectionPath:
    """The path of the model that gives its embeddings as a list."""
    return fit_path(task_of(mixed, "list"), SETTINGS)


def test_the_truth_is_found_whatever_the_widths(of_list: SelectionPath) -> None:
    kept = set(of_list.subset(4).tolist())
    assert {1, 2} <= kept
    assert kept & {0, 3}  # 3 is a worse copy of 0


@pytest.mark.parametrize(
    "form",
    [pytest.param("tuple", marks=pytest.mark.slow), pytest.param("dict", marks=pytest.mark.slow), "keyed", "flat"],
)
def test_every_form_says_the_same(mixed: SimpleNamespace, of_list: SelectionPath, form: str) -> None:
    path = fit_path(task_of(mixed, form), SETTINGS)
    assert path.ranking.tolist() == of_list.ranking.tolist()
    assert path.heldout_loss == of_list.heldout_loss


def test_groups_over_features_of_different_widths_go_as_one(mixed: SimpleNamespace) -> None:
    path = fit_path(task_of(mixed, groups=[number // 2 for number in range(16)]), SETTINGS)
    assert set(path.subset(2).tolist()) == {0, 1, 2, 3}


def test_protected_and_excluded_features_of_any_width(mixed: SimpleNamespace) -> None:
    path = fit_path(task_of(mixed, protected=[4], excluded=[1, 5]), SETTINGS)
    assert 4 in path.subset(1)
    assert set(path.ranking[-2:].tolist()) == {1, 5}
    assert {2} <= set(path.subset(4).tolist())


@pytest.mark.parametrize("name", ["permutation", "gradient", "l1_gates", "stg", "sequential_attention"])
def test_peers_rank_features_of_any_width(mixed: SimpleNamespace, name: str) -> None:
    path = rank_with(name, task_of(mixed), SETTINGS)
    assert 1 in path.subset(4)
    assert sorted(path.ranking.tolist()) == list(range(16))


def test_a_nested_network_sees_its_features_alone(mixed: SimpleNamespace) -> None:
    nested = fit_nested(task_of(mixed), np.arange(16), [2, 4], SETTINGS)
    hidden = mixed.x[mixed.cut :].clone()
    hidden[:, 4:] = 0
    rows = make_batches(hidden, mixed.y[mixed.cut :], 128, shuffle=False)
    assert torch.equal(nested.predict(rows(0), 4), nested.predict(mixed.validation(0), 4))
    assert not torch.equal(nested.predict(rows(0), 4), nested.predict(mixed.validation(0), 2))


def test_one_feature() -> None:
    x = torch.randint(0, 5, (300, 1))
    model = Mixed([17], "dict")
    rows = make_batches(x, (x[:, 0] > 2).float(), 100, shuffle=False)
    path = fit_path(SelectionTask(model, rows, rows, LOSSES["binary"], 3), PathSettings(k_max=1, fewest_steps=3))
    assert path.subset(1).tolist() == [0]


def test_one_of_two_copies_with_different_widths_is_kept() -> None:
    random = np.random.default_rng(0)
    x = torch.as_tensor(random.integers(0, 5, (2000, 6)))
    x[:, 1] = x[:, 0]
    y = torch.as_tensor(random.random(2000) < 1 / (1 + np.exp(-1.5 * (x[:, 0] + x[:, 2] - 4).numpy()))).float()
    train, held = (
        make_batches(x[:1400], y[:1400], 100, shuffle=True),
        make_batches(x[1400:], y[1400:], 100, shuffle=False),
    )
    torch.manual_seed(0)
    model = Mixed([1, 256, 4, 2, 128, 3], "list")
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(8):
        for batch, target in train(epoch):
            optimizer.zero_grad()
            LOSSES["binary"](model.predict(model.embed(batch)), target).mean().backward()
            optimizer.step()
    path = fit_path(SelectionTask(model, train, held, LOSSES["binary"], 14), PathSettings(k_max=4))
    kept = set(path.subset(2).tolist())
    assert 2 in kept
    assert len(kept & {0, 1}) == 1


@settings(max_examples=50)
@given(st.lists(st.integers(1, 256), min_size=1, max_size=12), st.integers(0, 2**31))
def test_scaling_is_that_of_each_vector_and_its_gradient_their_sum(widths: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    segments = Segments(widths)
    values = torch.randn(3, segments.total, generator=generator)
    factors = torch.randn(3, len(widths), generator=generator, requires_grad=True)
    scaled = segments.scale(values, factors)
    parts = zip(values.split(widths, dim=1), factors.unbind(dim=1), strict=True)
    assert torch.equal(scaled, torch.cat([part * factor[:, None] for part, factor in parts], dim=1))
    (slope,) = torch.autograd.grad(scaled.sum(), factors)
    expected = torch.stack([part.sum(dim=1) for part in values.split(widths, dim=1)], dim=1)
    torch.testing.assert_close(slope, expected, rtol=1e-4, atol=1e-4)
    assert segments.columns(range(len(widths))).tolist() == list(range(segments.total))


@pytest.mark.parametrize("form", FORMS)
def test_a_layout_gives_back_what_it_was_given(form: str) -> None:
    model = Mixed(WIDTHS, form)
    batch = torch.randint(0, 5, (4, 16))
    flat = FlatModel(model)
    torch.testing.assert_close(flat.predict(flat.embed(batch)), model.predict(model.embed(batch)), rtol=0, atol=0)


def test_named_embeddings_keep_the_order_in_which_they_were_written() -> None:
    written = {"b": torch.ones(2, 3), "a": torch.zeros(2, 1)}
    layout = FieldLayout.of(written, names=("a", "b"))
    assert layout.widths == (1, 3)
    assert layout.flatten(written).tolist() == [[0, 1, 1, 1]] * 2
    again = layout.restore(layout.flatten(written))
    assert list(again) == ["b", "a"]
    assert torch.equal(again["b"], written["b"])


BATCH = torch.ones(4, 2)
MISTAKES: list[tuple[Any, dict[str, Any], str]] = [
    ({"a": BATCH}, {"names": ("a", "b", "c")}, r"no embedding for b \(2 of 3 features missing\)"),
    ({"a": BATCH, "z": BATCH}, {"names": ("a",)}, "an embedding for z, which is not a feature; remove it"),
    ([BATCH, torch.ones(3, 2)], {}, r"\(3, 2\) at place 1 of the list: 3 rows for a batch of 4"),
    ([BATCH], {"rows": 5}, r"\(4, 2\) at place 0 of the list: 4 rows for a batch of 5"),
    (torch.ones(4, 3, 2), {"rows": 5}, r"\(4, 3, 2\): 4 rows for a batch of 5"),
    ([BATCH, torch.ones(4, 2, 2)], {}, r"\(4, 2, 2\) at place 1 of the list; give \(B, width\)"),
    ([BATCH, torch.ones(4, 0)], {}, r"\(4, 0\) at place 1 of the list; give \(B, width\)"),
    ([BATCH, None], {}, "NoneType at place 1 of the list"),
    ({"a": BATCH.long()}, {}, "int64 for a; embeddings must be floating-point numbers"),
    (torch.ones(4, 3, 2, dtype=torch.int32), {}, "int32; embeddings must be floating-point"),
    (torch.ones(4, 6), {}, r"\(4, 6\); give \(B, N, d\), a list of N tensors"),
    (torch.ones(4, 6), {"widths": [2, 3]}, r"\(4, 6\), but the declared widths add up to 5"),
    (torch.ones(4, 6), {"widths": [6, 0]}, "each must be at least 1"),
    ([], {}, "no embedding at all"),
    (3.0, {}, r"float; give \(B, N, d\)"),
    (torch.ones(4), {}, r"\(4,\); give \(B, N, d\)"),
    (torch.ones(4, 3, 0), {}, r"\(4, 3, 0\); give \(B, N, d\)"),
]


@pytest.mark.parametrize(("embedded", "arguments", "says"), MISTAKES)
def test_what_is_no_embedding_is_one_line(embedded: Any, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        FieldLayout.of(embedded, **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("later", "says"),
    [
        (lambda x: [x, x[:, :1]], r"Model.embed gives width 1 for feature 1, but 2 for an earlier batch"),
        (lambda x: [x], "Model.embed gives embeddings of 1 features, but of 2 for an earlier batch"),
        (lambda x: {"a": x, "b": x}, "Model.embed gives a dict of 2 features, but a list for an earlier batch"),
    ],
)
def test_embeddings_that_change_between_batches_are_refused(later: Callable[[Tensor], Any], says: str) -> None:
    class Model(nn.Module):
        calls = 0

        def embed(self, batch: Tensor) -> Any:
            self.calls += 1
            return [batch, batch] if self.calls == 1 else later(batch)

        def predict(self, embedded: Any) -> Tensor:
            return embedded[0]

    flat = FlatModel(Model())
    flat.embed(torch.randn(3, 2))
    with pytest.raises(ValueError, match=says):
        flat.embed(torch.randn(3, 2))


def test_nan_in_a_wide_embedding_ends_the_selection_in_one_line(mixed: SimpleNamespace) -> None:
    task = task_of(mixed)
    model: Any = task.model
    with torch.no_grad():
        model.tables[4].weight[0, 200] = torch.nan
    with pytest.raises(ValueError, match="loss=nan: training diverged"):
        fit_path(task, SETTINGS)

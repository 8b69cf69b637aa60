"""One contract for every selector by name."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from concrete_selectors import SELECTORS, rank_with
from concrete_selectors.baselines import tables
from concrete_selectors.baselines.ranking import NETWORK_RANKERS
from planted import rank, settings_of, task_of


@pytest.fixture(autouse=True)
def few_rows_for_lassonet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_LASSONET_ROWS", 400)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "lassonet" else name for name in SELECTORS]
)
def test_contract(binary_task: SimpleNamespace, name: str) -> None:
    before = {key: value.clone() for key, value in binary_task.model.state_dict().items()}
    random_state = torch.get_rng_state()
    path = rank(name, binary_task, protected=[7], excluded=[5, 1])
    assert sorted(path.ranking.tolist()) == list(range(16))
    for k in (1, 4, 14):
        subset = path.subset(k)
        assert len(set(subset.tolist())) == k
        assert 7 in subset
    assert set(path.ranking[-2:].tolist()) == {1, 5}
    assert np.isneginf(path.scores[[1, 5]]).all()
    assert np.isfinite(np.delete(path.scores, [1, 5])).all()
    assert all(torch.equal(before[key], value) for key, value in binary_task.model.state_dict().items())
    if name == "lassonet":
        assert torch.equal(random_state, torch.get_rng_state())


@pytest.mark.parametrize("name", [name for name in SELECTORS if name not in ("random", "lassonet")])
def test_signals_come_first(binary_task: SimpleNamespace, name: str) -> None:
    """Every selector finds the two plain signals among 12 noise fields; f_test cannot detect the third, |z|."""
    path = rank(name, binary_task)
    top = set(path.subset(5).tolist())
    assert 1 in top
    assert top & {0, 3}
    if name != "f_test":
        assert 2 in top


@pytest.mark.parametrize("name", ["mutual_information", "f_test", "lightgbm_gain", "gradient", "stg"])
def test_other_tasks(any_task: SimpleNamespace, name: str) -> None:
    assert 1 in rank(name, any_task).subset(3)


@pytest.mark.parametrize("name", ["gradient", "lightgbm_gain"])
def test_groups(binary_task: SimpleNamespace, name: str) -> None:
    path = rank(name, binary_task, groups=[number // 2 for number in range(16)])
    assert set(path.subset(2).tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize("name", NETWORK_RANKERS)
def test_values_of_excluded_features_change_nothing(binary_task: SimpleNamespace, name: str) -> None:
    """The strongest feature is excluded; scores do not change if its values are permuted over the rows."""

    def flipped(source: Any) -> Any:
        def epoch(number: int) -> Any:
            for batch, target in source(number):
                other = batch.clone()
                other[:, 0] = other[:, 0].flip(0)
                yield other, target

        return epoch

    task = SimpleNamespace(**vars(binary_task))
    task.train, task.validation = flipped(binary_task.train), flipped(binary_task.validation)
    first, second = (np.delete(rank(name, each, excluded=[0]).scores, 0) for each in (binary_task, task))
    np.testing.assert_allclose(first, second, rtol=0.05, atol=0.05 * np.abs(first).max())


def test_unknown_name(binary_task: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="selector=lasso: unknown selector; choose ip_cae, cae"):
        rank("lasso", binary_task)


def test_missing_library_names_the_extra(binary_task: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(
        ImportError, match=r"selector=lightgbm_gain: .*lightgbm is not installed; pip install .*\[peers\]"
    ):
        rank("lightgbm_gain", binary_task)


def test_matrix_is_checked(binary_task: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="X covers 2 features, but the model embeds 16; give the same"):
        rank("f_test", binary_task, matrix=lambda: (np.zeros((5, 2)), np.arange(5) % 2))
    with pytest.raises(ValueError, match="X contains inf"):
        tables.table_task(np.array([[np.inf]]), np.array([1]), seed=0)
    with pytest.raises(ValueError, match="selector=f_test: this selector ranks the columns of a table; give matrix"):
        rank_with("f_test", task_of(binary_task), settings_of())
    with pytest.raises(ValueError, match="matrix: X has shape"):
        tables.table_task(np.zeros((3, 1)), np.zeros(2), seed=0)


def test_missing_values_and_constants_in_the_matrix() -> None:
    x = np.array([[1.0, np.nan, np.nan], [2.0, np.nan, 5.0], [3.0, np.nan, 7.0], [4.0, np.nan, np.nan]])
    task = tables.table_task(x, np.array([0, 0, 1, 1]), seed=0)
    assert task.is_classification
    assert np.isfinite(tables.mutual_information(task)).all()
    assert tables.f_test(task)[1] == 0
    assert not tables.table_task(x, np.array([0.5, 1.0, 2.0, 3.0]), seed=0).is_classification


def test_mutual_information_of_independent_columns_is_about_zero() -> None:
    random = np.random.default_rng(0)
    x = np.column_stack([random.normal(size=4000), random.integers(0, 30, 4000), np.arange(4000) % 2])
    scores = tables.mutual_information(tables.table_task(x, np.arange(4000) % 2, seed=0))
    assert abs(scores[0]) < 0.003
    assert abs(scores[1]) < 0.003
    assert scores[2] == pytest.approx(np.log(2), abs=0.001)


def test_permutation_importance_uses_all_validation_rows(make_task: Any) -> None:
    task = make_task("binary", rows=8_000, epochs=1)
    path = rank("permutation", task)
    assert path.row_passes["forward"] == (len(task.y) - task.cut) * (1 + task.n_features)

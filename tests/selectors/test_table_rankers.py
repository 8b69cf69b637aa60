"""Rankers of the table get categories as categories, vectors as one feature, and validation rows for early stopping."""

from __future__ import annotations

import numpy as np
import pytest
from concrete_selectors.baselines import Matrix, tables

ROWS = 2_000
RANKERS = {
    "mutual_information": tables.mutual_information,
    "f_test": tables.f_test,
    "lightgbm_gain": tables.lightgbm_gain,
}


def shuffled_categories(task: str, *, values: int = 60) -> Matrix:
    """Column 0: a category whose codes mean nothing as numbers; 1: a weaker number; 2: noise; 3: an id, noise."""
    random = np.random.default_rng(3)
    category = random.integers(0, values, ROWS)
    number = random.normal(size=ROWS)
    effect = np.tile([-1.5, 1.5], values // 2)
    score = effect[category] + 0.8 * number
    if task == "regression":
        y = score + random.normal(size=ROWS)
    elif task == "binary":
        y = (random.random(ROWS) < 1 / (1 + np.exp(-score))).astype(np.float64)
    else:
        y = np.digitize(score + 0.3 * random.normal(size=ROWS), [-1.0, 1.0])
    x = np.column_stack([category, number, random.normal(size=ROWS), random.integers(0, 700, ROWS)])
    return Matrix(x, y, categorical=np.array([True, False, False, True]))


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass"])
@pytest.mark.parametrize("name", RANKERS)
def test_a_category_is_ranked_by_its_values_and_an_id_is_not(name: str, task: str) -> None:
    matrix = shuffled_categories(task)
    scores = RANKERS[name](tables.table_task(*matrix, seed=0))
    assert scores.argmax() == 0
    assert scores[1] > scores[2]
    if name != "lightgbm_gain":  # gain includes what was memorised of an id
        assert scores[1] > scores[3]


@pytest.mark.parametrize("name", RANKERS)
def test_names_of_categories_mean_nothing(name: str) -> None:
    matrix = shuffled_categories("binary")
    renamed = matrix.x.copy()
    renamed[:, 0] = np.random.default_rng(8).permutation(60)[matrix.x[:, 0].astype(int)]
    scores, again = (RANKERS[name](tables.table_task(*matrix._replace(x=x), seed=0)) for x in (matrix.x, renamed))
    np.testing.assert_allclose(again[:3], scores[:3], rtol=0.05, atol=1e-3)


@pytest.mark.slow  # LassoNet trains a network for every penalty
@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_lassonet_reads_a_category_by_its_target_means(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_LASSONET_ROWS", 400)
    x, y, *_ = shuffled_categories(task, values=6)
    matrix = Matrix(x[:, :3], y, categorical=np.array([True, False, False]))
    assert tables.lassonet(tables.table_task(*matrix, seed=0)).argmax() == 0


def test_codes_as_numbers_would_hide_the_category() -> None:
    matrix = shuffled_categories("binary")
    assert tables.f_test(tables.table_task(matrix.x, matrix.y, seed=0)).argmax() != 0


@pytest.mark.parametrize("name", RANKERS)
def test_a_vector_is_one_feature(name: str) -> None:
    """Feature 1 has two columns that together matter most; its score is at its own position."""
    random = np.random.default_rng(4)
    x = random.normal(size=(ROWS, 4))
    y = (x[:, 1] + x[:, 2] + 0.5 * x[:, 3] + 0.5 * random.normal(size=ROWS) > 0).astype(np.int64)
    task = tables.table_task(*Matrix(x, y, feature=np.array([0, 1, 1, 2])), seed=0)
    scores = tables.group_scores(RANKERS[name], task, np.arange(3))
    np.testing.assert_array_equal(np.argsort(-scores), [1, 2, 0])


def test_many_columns_are_no_better_draw_at_random() -> None:
    x = np.zeros((5, 51))
    feature = np.array([0] * 50 + [1])
    first = [
        tables.group_scores(
            tables.random_scores, tables.table_task(*Matrix(x, x[:, 0], feature=feature), seed=s), np.arange(2)
        ).argmax()
        for s in range(60)
    ]
    assert 15 < sum(first) < 45


def test_gains_of_a_group_add_up() -> None:
    matrix = shuffled_categories("binary")
    task = tables.table_task(*matrix, seed=0)
    alone = tables.group_scores(tables.lightgbm_gain, task, np.arange(4))
    together = tables.group_scores(tables.lightgbm_gain, task, np.array([0, 1, 1, 1]))
    np.testing.assert_allclose(together, [alone[0], alone[1:].sum()])


def test_boosting_stops_on_the_validation_rows() -> None:
    """Column 1 predicts train rows only; with early stopping on validation rows, its gain is negligible."""
    random = np.random.default_rng(5)
    y, y_validation = (random.integers(0, 2, ROWS) for _ in range(2))
    x, x_validation = random.normal(size=(ROWS, 2)), random.normal(size=(ROWS, 2))
    x[:, 0] += 0.5 * y
    x_validation[:, 0] += 0.5 * y_validation
    x[:, 1] += 0.5 * y
    x_validation[:, 1] -= 2.0 * y_validation
    alone = tables.lightgbm_gain(tables.table_task(x, y, seed=0))
    held_out = Matrix(x, y, x_validation=x_validation, y_validation=y_validation)
    stopped = tables.lightgbm_gain(tables.table_task(*held_out, seed=0))
    assert stopped.sum() < 0.5 * alone.sum()


def test_missing_values_are_a_value() -> None:
    """Only missingness is informative."""
    random = np.random.default_rng(6)
    y = random.integers(0, 2, ROWS)
    x = random.normal(size=(ROWS, 3))
    x[(y == 1) & (random.random(ROWS) < 0.6), 2] = np.nan
    task = tables.table_task(x, y, seed=0)
    assert tables.mutual_information(task).argmax() == 2
    assert tables.lightgbm_gain(task).argmax() == 2


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (Matrix(np.array([[-1.0]]), np.array([1]), categorical=np.array([True])), "give whole numbers from 0"),
        (Matrix(np.array([[0.5]]), np.array([1]), categorical=np.array([True])), "give whole numbers from 0"),
        (Matrix(np.zeros((2, 2)), np.arange(2), categorical=np.array([True])), r"categorical has shape \(1,\)"),
        (Matrix(np.zeros((2, 2)), np.arange(2), feature=np.array([0])), r"feature has shape \(1,\)"),
        (
            Matrix(np.zeros((2, 2)), np.arange(2), x_validation=np.zeros((2, 1)), y_validation=np.arange(2)),
            r"x_validation has shape \(2, 1\)",
        ),
    ],
)
def test_a_wrong_matrix_is_refused(matrix: Matrix, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tables.table_task(*matrix, seed=0)

"""The boosting reference: works on a training store, finds the signal, and reads only the rows that it needs."""

from __future__ import annotations

import numpy as np
import pytest
from feature_audit.models import boosting_scores
from memory_store import MemoryStore, table_store
from sklearn.metrics import r2_score, roc_auc_score

SPLITS = {"train": np.arange(2000), "validation": np.arange(2000, 3000)}


def _table(rows: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    values = draw.normal(size=(rows, 6)).astype(np.float32)
    values[:, 5] = draw.zipf(1.4, rows).clip(max=400)
    signal = values[:, 0] + np.where(values[:, 5] % 3 == 0, 1.5, -1.5)
    values[draw.random(rows) < 0.1, 1] = np.nan
    return values, signal


def _noisy(signal: np.ndarray) -> np.ndarray:
    return (signal + np.random.default_rng(1).normal(size=len(signal)) > 0).astype(np.float32)


def _area(store: MemoryStore, **options: int) -> float:
    scores = boosting_scores(store, store.schema, **options)
    assert scores.shape == (store.rows("validation"),)
    return roc_auc_score(store.target("validation"), scores)


def test_binary_with_missing_cells_and_many_categories() -> None:
    values, signal = _table()
    assert _area(table_store(values, _noisy(signal), SPLITS, categorical=(5,))) > 0.8


def test_regression_and_multiclass() -> None:
    values, signal = _table()
    store = table_store(values, signal, SPLITS, task="regression", categorical=(5,))
    assert r2_score(store.target("validation"), boosting_scores(store, store.schema)) > 0.6
    store = table_store(values, np.digitize(signal, [-1, 1]), SPLITS, task="multiclass")
    scores = boosting_scores(store, store.schema)
    assert scores.shape == (1000, 3)
    assert (scores.argmax(axis=1) == store.target("validation")).mean() > 0.6


@pytest.mark.parametrize("counts", [(50, 50, 1), (50, 50, 2), (2,) * 8, (300, 300, 3)])
@pytest.mark.parametrize("categorical", [(), (1,)])
def test_the_reference_knows_every_class_however_rare(counts: tuple[int, ...], categorical: tuple[int, ...]) -> None:
    target = np.repeat(np.arange(len(counts)), counts)
    values = np.random.default_rng(0).normal(size=(len(target), 2)).astype(np.float32)
    values[:, 1] = np.random.default_rng(1).integers(0, 5, len(target))
    splits = {"train": np.arange(len(target)), "validation": np.arange(7)}
    store = table_store(values, target, splits, task="multiclass", categorical=categorical)
    scores = boosting_scores(store, store.schema, max_rows=400)
    assert scores.shape == (7, len(counts))
    assert np.allclose(scores.sum(axis=1), 1)


@pytest.mark.parametrize("options", [{"max_rows": 500}, {"max_columns": 2}, {"max_cells": 4_000}])
def test_sampling_keeps_it_quick_and_useful(options: dict[str, int]) -> None:
    values, _ = _table()
    assert _area(table_store(values, (values[:, 0] > 0).astype(np.float32), SPLITS), **options) > 0.95


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass"])
@pytest.mark.parametrize("place", [0, 3, 149])
def test_the_most_informative_of_many_columns_are_used(task: str, place: int) -> None:
    """Also if the label is not monotonic in the column, and at any position of the column."""
    draw = np.random.default_rng(2)
    values = draw.normal(size=(3000, 150)).astype(np.float32)
    values[:, 40:80] = draw.integers(2, 200, (3000, 40))
    categorical = tuple(range(40, 80))
    distance = np.abs(values[:, place])
    target = {"binary": distance > 0.67, "regression": distance, "multiclass": np.digitize(distance, [0.4, 1.0])}[task]
    target = target.astype(np.int64 if task == "multiclass" else np.float32)
    store = table_store(values, target, SPLITS, task=task, categorical=categorical)
    scores, known = boosting_scores(store, store.schema, max_columns=3), store.target("validation")
    if task == "binary":
        assert roc_auc_score(known, scores) > 0.95
    elif task == "regression":
        assert r2_score(known, scores) > 0.9
    else:
        assert (scores.argmax(axis=1) == known).mean() > 0.9


def test_an_informative_category_is_found_among_noise() -> None:
    draw = np.random.default_rng(3)
    values = draw.normal(size=(3000, 60)).astype(np.float32)
    values[:, 30] = draw.integers(0, 12, 3000)
    target = np.isin(values[:, 30], [1, 4, 6, 9, 11]).astype(np.float32)
    store = table_store(values, target, SPLITS, categorical=(30,))
    assert _area(store, max_columns=2) > 0.95


def test_noise_categories_do_not_hide_the_signal() -> None:
    """As categories they would hide it (AUC .735)."""
    draw = np.random.default_rng(4)
    values = draw.integers(2, 40, (3000, 120)).astype(np.float32)
    values[:, :4] = draw.normal(size=(3000, 4))
    target = _noisy(0.4 * values[:, :4].sum(axis=1))
    assert _area(table_store(values, target, SPLITS, categorical=tuple(range(4, 120)))) > 0.76


def test_a_weak_number_outranks_categories_that_explain_by_chance() -> None:
    draw = np.random.default_rng(5)
    values = draw.integers(2, 200, (3000, 30)).astype(np.float32)
    values[:, 7] = draw.normal(size=3000)
    categorical = tuple(place for place in range(30) if place != 7)
    assert _area(table_store(values, _noisy(0.3 * values[:, 7]), SPLITS, categorical=categorical), max_columns=1) > 0.58


def test_rare_categories_are_scored_as_they_were_trained() -> None:
    """All of them share a code; with a class of one row there are no rows to choose by, so codes are categories."""
    draw = np.random.default_rng(6)
    rare = draw.random(3000) < 0.3
    codes = np.where(rare, draw.integers(254, 600, 3000), draw.integers(2, 60, 3000)).astype(np.float32)
    target = rare.astype(np.int64)
    target[0] = 2
    store = table_store(codes[:, None], target, SPLITS, task="multiclass", categorical=(0,))
    assert (boosting_scores(store, store.schema).argmax(axis=1) == store.target("validation")).mean() > 0.95


def test_no_more_than_the_sample_is_read_of_the_train_rows() -> None:
    values, signal = _table()
    store = table_store(values, _noisy(signal), SPLITS, categorical=(5,))
    read, matrix = [], store.matrix

    def noted(split: str, schema: object = None, rows: np.ndarray | None = None) -> np.ndarray:
        cells = matrix(split, schema, rows)
        read.append((split, cells.shape))
        return cells

    store.matrix = noted
    scores = boosting_scores(store, store.schema, max_rows=600, max_cells=1_800)
    assert ("train", (600, 3)) in read
    assert max(rows for split, (rows, _) in read if split == "train") == 600
    assert len(scores) == 1000

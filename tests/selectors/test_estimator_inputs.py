"""Inputs of the scikit-learn estimators: parameters, rows, columns and targets, and how a target is read."""

from __future__ import annotations

import re
import warnings
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from concrete_selectors import ConcreteAutoencoderSelector, IPCAESelector
from planted import signals
from sklearn.exceptions import ConvergenceWarning, NotFittedError

BOTH = [ConcreteAutoencoderSelector, IPCAESelector]
quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("k", [0, -1, 11, 2.5, True])
def test_impossible_k(k: Any) -> None:
    x, y = signals()
    with pytest.raises(ValueError, match=r"n_features_to_select=.*: X has 10 features; give 1 to 10"):
        IPCAESelector(k).fit(x, y)


NAN = float("nan")
WRONG: list[tuple[str, list[Any], str]] = [
    ("epochs", [0, -1, 2.5, "a", True, None, NAN], "give a whole number of at least 1"),
    ("batch_size", [0, -1, 2.5, "a", True, None], "give a whole number of at least 1"),
    ("learning_rate", [0, -1, NAN, np.inf, "a", None, True], "give a number above 0"),
    ("selector_learning_rate", [0, -0.1, NAN, np.inf, "a", True], "give a number above 0, or None"),
    ("temperature_start", [0, -1, NAN, np.inf, "a"], "give a number above 0"),
    ("temperature_end", [0, -1, NAN, np.inf, "a"], "give a number above 0"),
    ("temperature_end", [11.0], "give at most temperature_start=10.0; the temperature must fall"),
    ("anneal_share", [0, -1, 1.01, NAN, "a"], "give a number above 0, at most 1"),
    ("diversity", [-0.1, NAN, np.inf, "a"], r"give 0 \(off\) or a number above 0"),
    ("noise", ["rows", 0, -3, True, 2.5, None], "give batch, row, or a number of groups of at least 1"),
    ("hidden", [(0,), (20, -1), 200, (2.5,), ("a",), (True,), "200", None], r"give a tuple .* such as \(200,\)"),
    ("random_state", [-1, "a", 2.5], "give a whole number from 0, a RandomState, or None"),
]
WRONG_OF_IPCAE: list[tuple[str, list[Any], str]] = [
    ("rank", [0, -1, 2.5, "a", True], "give a whole number of at least 1, or None"),
    ("n_candidates", [0, -5, True, 2.5, "a", NAN], "not a whole number of at least 1; give 3 to 10, or None"),
    ("n_candidates", [1, 2], "fewer than the 3 features to select; give 3 to 10, or None"),
    ("n_candidates", [11], "X has only 10 features; give 3 to 10, or None"),
]


@pytest.mark.parametrize(
    ("kind", "name", "value", "remedy"),
    [(kind, name, value, text) for kind in BOTH for name, values, text in WRONG for value in values]
    + [(IPCAESelector, name, value, text) for name, values, text in WRONG_OF_IPCAE for value in values],
)
def test_bad_parameters_are_named(kind: Any, name: str, value: Any, remedy: str) -> None:
    x, y = signals(50)
    with pytest.raises(ValueError, match=rf"^{name}={re.escape(repr(value))}: .*{remedy}$") as caught:
        kind(3).set_params(**{name: value}).fit(x, y)
    assert "\n" not in str(caught.value)


@quiet
def test_numpy_numbers_are_parameters() -> None:
    x, y = signals(50)
    values = {"epochs": np.int64(2), "noise": np.int32(4), "hidden": (np.int64(8),), "n_candidates": np.int64(4)}
    assert IPCAESelector(np.int64(3)).set_params(**values).fit(x, y).get_support().sum() == 3


@pytest.mark.parametrize("kind", BOTH)
def test_bad_rows_are_named(kind: Any) -> None:
    x, y = signals(50)
    wild = x.copy()
    wild[3, 4] = wild[7, 6] = -np.inf
    with pytest.raises(ValueError, match=r"X: infinity in 2 of \d+ cells, the first in column 4; replace .* or drop"):
        kind(2).fit(wild, y)
    with pytest.raises(ValueError, match="cells, the first in column 'c4'; replace it with"):
        kind(2).fit(pd.DataFrame(wild).add_prefix("c"), y)
    with pytest.raises(ValueError, match=r"X: 1 sample, but at least 2 are required; give more rows"):
        kind(2).fit(x[:1], y[:1])
    with pytest.raises(ValueError, match=r"Complex data not supported; give real numbers"):
        kind(2).fit(x + 1j, y)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("column", ["text", "day", "object", "category"])
@pytest.mark.parametrize("form", ["pandas", "polars", "array", "list", "alone"])
def test_columns_without_numbers_are_named(kind: Any, column: str, form: str) -> None:
    days = [datetime(2024, 1, 1), datetime(2024, 1, 2), datetime(2024, 1, 3)]
    values = {"text": ["1", "Paris", "Rome"], "day": days, "object": [None, ("Paris",), 1], "category": ["a", "a", "b"]}
    if form == "polars" and column == "object":
        frame: Any = pl.DataFrame({"fine": [1.0, 2.0, 4.0], column: pl.Series(values[column], dtype=pl.Object)})
    elif form == "polars":
        frame = pl.DataFrame({"fine": [1.0, 2.0, 4.0], column: values[column]})
        if column == "category":
            frame = frame.cast({column: pl.Categorical})
    else:
        frame = pd.DataFrame({"fine": [1.0, 2.0, 4.0], column: values[column]})
        if column == "category":
            frame = frame.astype({column: "category"})
    if form == "array":
        frame = frame.to_numpy()
    if form == "list":
        frame = frame.to_numpy().tolist()
    if form == "alone":
        frame = frame[[column]]
    name = "column 1" if form in ("array", "list") else f"column '{column}'"
    with pytest.raises(ValueError, match=f"^X: {name} contains .*; encode it as numbers, or drop it") as caught:
        kind(1).fit(frame, [0, 1, 1])
    assert "\n" not in str(caught.value)


def test_date_columns_are_refused_as_numbers() -> None:
    days = np.array([["2024-01-01"], ["2024-01-02"], ["2024-01-03"]], dtype="datetime64[D]")
    for x in (days, days - days[0]):
        with pytest.raises(ValueError, match="X: column 0 contains dates or times"):
            IPCAESelector(1).fit(x)


@quiet
def test_object_columns_of_numbers_are_accepted() -> None:
    x, y = signals()
    frame = pd.DataFrame(x).astype(object)
    frame.iloc[::9, 3] = None
    assert IPCAESelector(2, epochs=60, random_state=0).fit(frame.to_numpy(), y).get_support(indices=True).tolist() == [
        2,
        5,
    ]
    nullable = pd.DataFrame({"a": pd.array([1, None, 3, 5], dtype="Int64"), "b": [1.0, 2.0, 3.0, 3.0]})
    assert IPCAESelector(1, epochs=1).fit(nullable, [0, 1, 1, 0]).get_support().sum() == 1


def test_bad_targets_are_named() -> None:
    x, y = signals(50)
    for only in (0, 0.0, "yes", True):
        with pytest.raises(ValueError, match=rf"y: contains 1 class \({only!r}\); give at least 2, or fit without y"):
            IPCAESelector(2).fit(x, np.full(50, only))
    with pytest.raises(ValueError, match="y: all values are equal"):
        IPCAESelector(2).fit(x, np.full(50, 0.1))
    with pytest.raises(ValueError, match=r"y: types that are not comparable \(NoneType, str\); give classes of one"):
        IPCAESelector(2).fit(x, np.array([None, "a"] * 25, dtype=object))
    with pytest.raises(ValueError, match=r"Input y contains NaN\.; drop those rows, or fit without y"):
        IPCAESelector(2).fit(x, np.where(y == 1, np.nan, 0.5))
    with pytest.raises(ValueError, match=r"\[50, 49\]; give y one value per row of X"):
        IPCAESelector(2).fit(x, y[:49])
    with pytest.raises(NotFittedError):
        IPCAESelector(2).transform(x)


@quiet
@pytest.mark.filterwarnings("ignore:y. :UserWarning")
@pytest.mark.parametrize(
    "quantity",
    [
        "cents",
        "counts",
        "floats",
        "objects",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("milliseconds", "thousands", "unsigned")),
    ],
)
def test_whole_numbers_are_quantities_where_they_cannot_be_classes(quantity: str) -> None:
    """As classes, hundreds of prices would have about one row each, and noise would be kept."""
    x, _ = signals()
    level = x[:, 2] + x[:, 5]
    y = {
        "cents": np.round(1000 + 300 * level).astype(np.int64),
        "milliseconds": np.round(np.exp(5 + 0.4 * level)).astype(np.int32),
        "counts": np.random.default_rng(1).poisson(np.exp(1 + level / 2)),
        "thousands": 1000 * np.round(50 + 9 * level).astype(np.int64),
        "floats": np.round(1000 + 300 * level),
        "objects": np.round(1000 + 300 * level).astype(np.int64).astype(object),
        "unsigned": np.round(2000 + 300 * level).astype(np.uint16),
    }[quantity]
    found = [
        IPCAESelector(2, epochs=60, random_state=0).fit(x, target).get_support(indices=True).tolist()
        for target in (y, y + 0.001)
    ]
    assert found == [[2, 5], [2, 5]]


@quiet
def test_the_interpretation_of_a_whole_number_target_is_reported() -> None:
    x, _ = signals(50)
    cents = np.arange(50) * 5
    with pytest.warns(
        UserWarning, match=r"^y: 50 distinct whole numbers in 50 rows are treated as numbers; .*"
    ) as seen:
        IPCAESelector(2, epochs=1).fit(x, cents)
    about = [warning for warning in seen if str(warning.message).startswith("y: ")]
    assert len(about) == 1
    assert about[0].filename == __file__
    assert "give task='classification' if they are not, or task='regression' to confirm" in str(about[0].message)
    with pytest.warns(
        UserWarning, match="3 distinct whole numbers in 50 rows are treated as classes; give task='regression'"
    ):
        IPCAESelector(2, epochs=1).fit(x, np.arange(50) % 3 * 10)


@pytest.mark.parametrize(
    ("y", "task"),
    [
        (np.arange(50) % 2 * 100, "auto"),
        (np.arange(50) % 5, "auto"),
        (np.arange(50) % 5 + 1.0, "auto"),
        (np.arange(50) / 7, "auto"),
        (np.array(["17", "4"] * 25), "auto"),
        (np.array([True, False] * 25), "auto"),
        (np.arange(50), "regression"),
        (np.arange(50) % 7, "classification"),
    ],
)
def test_a_plain_target_needs_no_words(y: np.ndarray, task: str) -> None:
    x, _ = signals(50)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        IPCAESelector(2, task=task, epochs=1).fit(x, y)


@quiet
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_task_decides(task: str) -> None:
    """The classes are 0, 1 and 2; column 2 separates class 1 from the others, which no linear function does."""
    x, _ = signals()
    y = np.where(np.abs(x[:, 2]) < 0.6, 1, np.where(x[:, 5] + 0.1 * x[:, 7] > 0, 2, 0))
    selector = IPCAESelector(2, task=task, epochs=60, random_state=0).fit(x, y)
    nats, squares = np.log(3), 1.0
    assert selector.loss_ < (nats if task == "classification" else squares)
    wrong = {"classification": x[:, 2], "regression": np.array(["no", "yes"])[y % 2]}[task]
    with pytest.raises(ValueError, match=f"task='{task}': y contains "):
        IPCAESelector(2, task=task).fit(x, wrong)


@pytest.mark.parametrize("task", ["ranking", None, 3, ["regression"]])
def test_an_unknown_task_is_refused(task: Any) -> None:
    x, y = signals(50)
    with pytest.raises(ValueError, match=r"task=.*: give auto, classification or regression"):
        IPCAESelector(2, task=task).fit(x, y)

"""Edge cases of the rules for reading a label: its task, the positive one of two values, and groups that decide it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from feature_audit.labels import read_label, settles


@pytest.mark.parametrize(
    ("negative", "positive", "share"),
    [
        (1, 2, 0.9), ("-1", "1", 0.9), (-3, 2, 0.1), ("0", "1.5", 0.9), (False, True, 0.9),  # the larger number
        ("idle", "click", 0.9), ("skip", "tap", 0.9), ("no", "maybe", 0.9),  # a known word
        ("no tap", "tap", 0.9), ("irrelevant", "relevant", 0.9), ("un-seen", "seen", 0.9),  # the other negates it
        ("blue", "amber", 0.4), ("amber", "blue", 0.4), ("amber", "blue", 0.5),  # the rarer, or the second of equals
    ],
)  # fmt: skip
def test_which_of_two_values_is_positive(negative: object, positive: object, share: float) -> None:
    ones = np.arange(100) < 100 * share
    found = read_label(pl.Series([positive if one else negative for one in ones]), shown="y", task=None)
    assert found.classes == (str(negative), str(positive))
    np.testing.assert_array_equal(found.values, ones)


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "b"], "binary"), (["a", "b", "c"], "multiclass"), ([0.25, 0.5], "binary"),
        (range(20), "multiclass"), (range(21), "regression"),
        ([float(n) for n in range(20)], "multiclass"), ([float(n) for n in range(21)], "regression"),
        ([0.0, 1.0, 1.5], "regression"),
    ],
)  # fmt: skip
def test_the_task_that_labels_suggest(values: list[object], task: str) -> None:
    assert read_label(pl.Series(list(values) * 3), shown="y", task=None).task == task


@pytest.mark.parametrize(("groups_of_ones", "found"), [(1, True), (9, True), (10, False), (30, False)])
def test_few_groups_of_one_label_each_settle_it(groups_of_ones: int, found: bool) -> None:
    group = np.repeat(np.arange(groups_of_ones + 40), 5)
    label = (group < groups_of_ones).astype(float)
    assert settles(group, label) is found
    label[0] = 0.0  # a group of both labels: none settles it
    assert settles(group, label) is False

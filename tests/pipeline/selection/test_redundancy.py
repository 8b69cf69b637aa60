"""Which features carry the information of others."""

from __future__ import annotations

import numpy as np
import pytest
from feature_audit.selection import (
    bin_numbers,
    label_information,
    nogueira_index,
    number_categories,
    proxies,
    selection_frequency,
)
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score


def test_explained_share_is_mutual_information_over_entropy() -> None:
    rng = np.random.default_rng(0)
    left = rng.integers(0, 4, 30_000)
    right = np.where(rng.random(30_000) < 0.6, left, rng.integers(0, 4, 30_000))
    found = proxies(np.stack([left, right], axis=1), np.array([0]), np.array([1]))
    expected = mutual_info_score(left, right) / mutual_info_score(left, left)
    assert found.explained[0] == pytest.approx(expected, rel=0.01)


def _category(values: np.ndarray) -> np.ndarray:
    """A category whose codes have no order."""
    return number_categories(np.random.default_rng(9).permutation(values.max() + 1)[values])


def test_a_category_under_other_names_and_all_that_follows_from_it_are_carried() -> None:
    rng = np.random.default_rng(3)
    item = np.minimum(rng.zipf(1.3, 20_000), 3000) - 1
    title = np.where(item % 97 == 0, 0, item)  # some items share a title
    genres = (rng.integers(0, 2, (3000, 6)) * np.arange(1, 7))[item]
    flag, price = genres[:, 2] // 3, bin_numbers(rng.normal(size=(3000, 1)).astype(np.float32)[item])[:, 0]
    codes = np.stack([_category(item), _category(title), number_categories(genres), flag, price], axis=1)
    found = proxies(codes, np.array([1, 2, 3, 4]), np.array([0]))
    assert found.explained.min() > 0.9  # two rows in three are of items with many rows
    assert proxies(codes, np.array([0]), np.array([1])).explained[0] > 0.95
    assert proxies(codes, np.array([3]), np.array([2])).explained[0] > 0.99


def test_an_id_of_many_values_explains_nothing_by_their_number() -> None:
    rng = np.random.default_rng(4)
    codes = np.stack([number_categories(rng.integers(0, size, 20_000)) for size in (5000, 300, 3)], axis=1)
    assert proxies(codes, np.array([2, 1]), np.array([0])).explained.tolist() == [0.0, 0.0]
    assert proxies(codes, np.array([2]), np.array([0, 1])).explained.tolist() == [0.0]


def test_a_noisy_copy_is_carried_by_its_source_and_noise_by_no_feature() -> None:
    rng = np.random.default_rng(1)
    source, other = rng.normal(size=(2, 5000))
    values = np.stack([source, other, source + 0.3 * rng.normal(size=5000), rng.normal(size=5000)], axis=1)
    found = proxies(bin_numbers(values.astype(np.float32)), np.array([2, 3]), np.array([0, 1]))
    assert found.column[0] == 0
    assert found.explained[0] > 0.3
    assert found.explained[1] < 0.01


def test_label_information_tells_signal_from_noise() -> None:
    rng = np.random.default_rng(2)
    label = rng.integers(0, 2, 20_000)
    values = np.stack([label + rng.normal(size=20_000), rng.normal(size=20_000)], axis=1)
    shares = label_information(bin_numbers(values.astype(np.float32)), label)
    assert shares[0] > 0.05
    assert shares[1] < 5e-4


def test_bins_keep_few_values_and_code_missing_separately() -> None:
    values = np.array([[0.0, np.nan], [1.0, np.nan], [0.0, np.nan], [np.nan, np.nan]], dtype=np.float32)
    codes = bin_numbers(values)
    assert codes[:, 0].tolist() == [1, 2, 1, 0]
    assert codes[:, 1].tolist() == [0, 0, 0, 0]


@given(st.integers(2, 6), st.integers(3, 30), st.integers(0, 2**31))
def test_nogueira_is_one_for_equal_sets_and_below_for_others(selections: int, n_features: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    one = np.zeros(n_features, dtype=bool)
    one[rng.permutation(n_features)[: max(1, n_features // 2)]] = True
    same = np.tile(one, (selections, 1))
    assert nogueira_index(same) == pytest.approx(1.0)
    mixed = same.copy()
    mixed[0] = ~mixed[0]
    index = nogueira_index(mixed)
    assert index is None or index < 1.0
    assert selection_frequency(same).tolist() == one.astype(float).tolist()


def test_nogueira_is_near_zero_for_random_sets_and_undefined_for_one() -> None:
    rng = np.random.default_rng(0)
    masks = np.stack([np.isin(np.arange(400), rng.permutation(400)[:80]) for _ in range(30)])
    index = nogueira_index(masks)
    assert index is not None
    assert abs(index) < 0.02
    assert nogueira_index(masks[:1]) is None

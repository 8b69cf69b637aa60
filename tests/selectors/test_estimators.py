"""The scikit-learn estimators."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from concrete_selectors import ConcreteAutoencoderSelector, IPCAESelector
from planted import signals
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

BOTH = [ConcreteAutoencoderSelector, IPCAESelector]
quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([ConcreteAutoencoderSelector(epochs=2), IPCAESelector(1, n_candidates=1, epochs=2)])
def test_scikit_learn_contract(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([IPCAESelector(epochs=2)])
def test_scikit_learn_contract_with_elimination(estimator: Any, check: Any) -> None:
    """More candidates than features to select: each fit trains another network, which judges the removals."""
    check(estimator)


@quiet
@pytest.mark.parametrize("labels", ["codes", "texts", "numbers"])
def test_supervised_selection_finds_the_signals(labels: str) -> None:
    x, codes = signals()
    y = {"codes": codes, "texts": np.array(["no", "yes"])[codes], "numbers": x[:, 2] + x[:, 5]}[labels]
    selector = IPCAESelector(2, epochs=150, random_state=0).fit(x, y)
    assert selector.get_support(indices=True).tolist() == [2, 5]
    assert selector.ranking_.min() == 1
    assert sorted(selector.ranking_.tolist()) == [1, 1, *range(2, 10)]


def test_convergence_is_an_attribute() -> None:
    x, y = signals()
    assert IPCAESelector(2, n_candidates=2, epochs=100, random_state=2).fit(x, y).converged_ is True


@pytest.mark.slow
@quiet
def test_more_slots_than_k_save_what_slots_alone_miss() -> None:
    """At a high temperature one slot can mix both signals, so that another chooses noise; elimination corrects this."""
    x, y = signals()
    hits = dict.fromkeys((2, 4), 0)
    for slots in hits:
        for seed in range(3):
            support = (
                IPCAESelector(2, n_candidates=slots, epochs=60, random_state=seed).fit(x, y).get_support(indices=True)
            )
            hits[slots] += support.tolist() == [2, 5]
    assert hits[4] == 3 > hits[2]


@quiet
@pytest.mark.parametrize("kind", BOTH)
def test_reconstruction_takes_one_of_each_block(kind: Any) -> None:
    """Three independent sources in blocks of four noisy copies: three features must not share a block."""
    random = np.random.default_rng(1)
    source = random.normal(size=(500, 3))
    x = np.repeat(source, 4, axis=1) + 0.1 * random.normal(size=(500, 12))
    chosen = kind(3, epochs=200, random_state=0).fit(x).get_support(indices=True)
    assert sorted(index // 4 for index in chosen) == [0, 1, 2]


@quiet
def test_k_distinct_features_even_where_slots_agree() -> None:
    x, y = signals()
    for k in (1, 5, 9, 10):
        support = IPCAESelector(k, epochs=3, random_state=0).fit(x, y).get_support()
        assert support.dtype == bool
        assert support.sum() == k


def test_not_converged_is_a_warning_and_an_attribute() -> None:
    x, y = signals()
    with pytest.warns(ConvergenceWarning, match="IPCAESelector did not converge: mean largest probability 0."):
        selector = IPCAESelector(3, epochs=1, random_state=0).fit(x, y)
    assert selector.converged_ is False


@quiet
@pytest.mark.parametrize("kind", BOTH)
def test_random_state_reproduces(kind: Any) -> None:
    x, y = signals()
    first, second = (kind(4, epochs=5, random_state=3).fit(x, y) for _ in range(2))
    assert (first.scores_ == second.scores_).all()
    assert not (first.scores_ == kind(4, epochs=5, random_state=4).fit(x, y).scores_).all()


@quiet
def test_polars_in_polars_out_dtypes_and_nulls_untouched() -> None:
    x, y = signals()
    frame = pl.DataFrame(
        {
            "whole": pl.Series(np.round(10 * x[:, 2]).astype(np.int32)),
            "flag": pl.Series(x[:, 5] > 0),
            "single": pl.Series(x[:, 0].astype(np.float32)),
            "other": pl.Series(x[:, 1]),
        }
    ).with_columns(pl.when(pl.int_range(pl.len()) % 7 > 0).then(pl.all()))
    selector = IPCAESelector(2, epochs=100, random_state=0).fit(frame, y)
    out = selector.transform(frame)
    assert isinstance(out, pl.DataFrame)
    assert out.equals(frame.select("whole", "flag"))
    assert out.schema == {"whole": pl.Int32, "flag": pl.Boolean}
    assert selector.get_feature_names_out().tolist() == ["whole", "flag"]
    asked = clone(selector).set_output(transform="polars").fit(frame, y).transform(frame)
    assert asked.schema == out.schema
    lists = selector.set_output(transform="pandas").transform(frame)
    assert isinstance(lists, pd.DataFrame)


@quiet
def test_pandas_in_pandas_out() -> None:
    x, y = signals()
    frame = pd.DataFrame(x, columns=[f"c{i}" for i in range(10)]).astype({"c2": "float32"})
    out = IPCAESelector(2, epochs=60, random_state=0).fit(frame, y).transform(frame)
    assert out.dtypes.astype(str).to_dict() == {"c2": "float32", "c5": "float64"}
    with pytest.raises(ValueError, match="feature names"):
        IPCAESelector(2, epochs=1).fit(frame, y).transform(frame.rename(columns={"c0": "zero"}))


@quiet
def test_numpy_keeps_dtype_and_nan() -> None:
    x, y = signals()
    x = x.astype(np.float32)
    x[::5, 2] = np.nan
    selector = IPCAESelector(2, epochs=40, random_state=0).fit(x, y)
    out = selector.transform(x)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, x[:, selector.get_support()])
    back = selector.inverse_transform(out)
    assert back.shape == x.shape
    assert (back[:, ~selector.get_support()] == 0).all()
    np.testing.assert_array_equal(back[:, selector.get_support()], out)
    with pytest.raises(ValueError, match="X has 3 columns; 2 features were selected"):
        selector.inverse_transform(x[:, :3])


@pytest.mark.slow
@quiet
def test_in_a_pipeline_on_digits() -> None:
    x, y = load_digits(return_X_y=True)
    pipe = make_pipeline(IPCAESelector(25, epochs=40, random_state=0), LogisticRegression(max_iter=3000))
    assert pipe.fit(x[:1200], y[:1200]).score(x[1200:], y[1200:]) > 0.85


@quiet
def test_constant_columns_are_never_selected() -> None:
    x, y = signals()
    x[:, [0, 7]] = [[3.0, np.nan]]
    selector = IPCAESelector(8, epochs=60, random_state=0).fit(x, y)
    assert not selector.get_support()[[0, 7]].any()
    with pytest.raises(ValueError, match="n_features_to_select=9: only 8 of 10 features vary"):
        IPCAESelector(9).fit(x, y)
    with pytest.raises(ValueError, match="all 10 features are constant; give at least one that varies"):
        IPCAESelector(2).fit(np.ones((5, 10)), y[:5])


@quiet
@pytest.mark.parametrize("noise", ["batch", "row", 7])
def test_all_forms_of_noise_and_a_last_odd_batch(noise: Any) -> None:
    x, y = signals(103)
    selector = IPCAESelector(2, epochs=2, batch_size=50, noise=noise, diversity=0.1, random_state=0).fit(x, y)
    assert selector.get_support().sum() == 2
    assert np.isfinite(selector.loss_)


@quiet
def test_one_feature() -> None:
    x, y = signals()
    assert IPCAESelector(epochs=2).fit(x[:, 2:3], y).get_support().tolist() == [True]


@quiet
def test_no_k_means_half_and_twice_as_many_candidates() -> None:
    x, y = signals(200)
    default, named = (IPCAESelector(k, epochs=4, random_state=0).fit(x, y) for k in (None, 5))
    assert (default.scores_ == named.scores_).all()
    assert (default.ranking_ == named.ranking_).all()
    published = IPCAESelector(5, n_candidates=5, epochs=4, random_state=0).fit(x, y)
    assert not (published.scores_ == default.scores_).all()


@quiet
@pytest.mark.parametrize(
    ("kind", "scale"),
    [
        (IPCAESelector, 1e160),
        pytest.param(IPCAESelector, 1e-170, marks=pytest.mark.slow),
        pytest.param(IPCAESelector, 1e300, marks=pytest.mark.slow),
        *((ConcreteAutoencoderSelector, scale) for scale in (1e160, 1e-170, 1e300)),
    ],
)
def test_the_scale_of_columns_and_target_does_not_matter(kind: Any, scale: float) -> None:
    x, _ = signals(200)
    x[::7, 1] = np.nan
    y = x[:, 2] + x[:, 5]
    settings: dict[str, Any] = {"epochs": 40, "random_state": 0}
    support = kind(3, **settings).fit(x, y).get_support()
    one, all_scaled = x.copy(), x * scale
    one[:, [2, 3]] *= scale
    for scaled in (one, all_scaled):
        assert (kind(3, **settings).fit(scaled, y * scale).get_support() == support).all()


@quiet
def test_columns_at_both_ends_of_the_numbers() -> None:
    x, y = signals(200)
    largest = np.finfo(np.float64).max
    x[:, 0] = np.where(np.arange(200) % 2, largest, -largest)
    x[:, 1] = 5e-324 * (np.arange(200) % 2)
    x[:, 3] = 1e-170
    x[:, 4] = 1e160
    support = IPCAESelector(8, epochs=3, random_state=0).fit(x, y).get_support()
    assert support.tolist() == [True, True, True, False, False, True, True, True, True, True]


@pytest.mark.parametrize("kind", [ConcreteAutoencoderSelector, pytest.param(IPCAESelector, marks=pytest.mark.slow)])
def test_what_to_try_where_it_did_not_converge_gets_it_further(kind: Any) -> None:
    x, y = signals()
    pattern = r"try epochs=100, or selector_learning_rate=([0-9.]+) instead of 0\.001$"
    with pytest.warns(ConvergenceWarning, match=pattern) as seen:
        slow = kind(3, epochs=10, selector_learning_rate=0.001, random_state=0).fit(x, y)
    with pytest.warns(ConvergenceWarning, match=r"try epochs=400, or"):
        kind(3, epochs=200, selector_learning_rate=1e-9, random_state=0).fit(x, y)
    with pytest.warns(ConvergenceWarning, match=r"try epochs=100$"):
        short = kind(3, epochs=1, random_state=0).fit(x, y)
    rate = float(re.findall(pattern, str(seen[-1].message))[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        longer = kind(3, epochs=100, random_state=0).fit(x, y)
        faster = kind(3, epochs=10, selector_learning_rate=rate, random_state=0).fit(x, y)
    assert longer.mean_max_probability_ > short.mean_max_probability_
    assert faster.mean_max_probability_ > slow.mean_max_probability_

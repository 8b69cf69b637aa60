"""The scikit-learn face."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from concrete_selectors import ConcreteAutoencoderSelector, IPCAESelector
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

BOTH = [ConcreteAutoencoderSelector, IPCAESelector]
quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([ConcreteAutoencoderSelector(epochs=10), IPCAESelector(epochs=10)])
def test_scikit_learn_contract(estimator: Any, check: Any) -> None:
    check(estimator)


def signals(rows: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Class from columns 2 and 5 of ten."""
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, 10))
    return x, (x[:, 2] + x[:, 5] + 0.1 * random.normal(size=rows) > 0).astype(int)


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


@quiet
def test_more_slots_than_k_save_what_slots_alone_miss() -> None:
    """One slot can mix both signals while it is hot, so that another settles for noise; elimination sees through it."""
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
    with pytest.raises(ValueError, match="none of its 10 features varies"):
        IPCAESelector(2).fit(np.ones((5, 10)), y[:5])


@pytest.mark.parametrize("k", [0, -1, 11, 2.5, True])
def test_impossible_k(k: Any) -> None:
    x, y = signals()
    with pytest.raises(ValueError, match=r"n_features_to_select=.*: X has 10 features; give 1 to 10"):
        IPCAESelector(k).fit(x, y)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"noise": "rows"}, "noise='rows'"),
        ({"noise": 0}, "noise=0"),
        ({"temperature_end": 0}, "temperature_end=0"),
        ({"anneal_share": 0}, "share=0"),
        ({"rank": 0}, "rank=0"),
        ({"learning_rate": -1}, "learning_rate=-1"),
    ],
)
def test_bad_parameters_are_named(change: dict[str, Any], text: str) -> None:
    x, y = signals(50)
    with pytest.raises(ValueError, match=text):
        IPCAESelector(2).set_params(**change).fit(x, y)


def test_bad_data_is_named() -> None:
    x, y = signals(50)
    with pytest.raises(ValueError, match="infinity"):
        IPCAESelector(2).fit(np.where(x > 2, np.inf, x), y)
    with pytest.raises(ValueError, match="holds 1 class"):
        IPCAESelector(2).fit(x, np.zeros(50, dtype=int))
    with pytest.raises(ValueError, match="1 sample"):
        IPCAESelector(2).fit(x[:1], y[:1])
    with pytest.raises(ValueError, match="could not convert string to float"):
        IPCAESelector(1).fit(pl.DataFrame({"a": ["x", "y"], "b": [1, 2]}), [0, 1])
    with pytest.raises(NotFittedError):
        IPCAESelector(2).transform(x)


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

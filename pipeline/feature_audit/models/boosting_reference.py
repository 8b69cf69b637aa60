"""A quick gradient-boosting reference: is the baseline worth matching?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from feature_audit.schema import Task

#: scikit-learn's boosting takes categories as integers below this; rarer ones share the last code.
_MOST_CATEGORIES = 254
_HELD_BACK = 0.15  # of the train rows, for early stopping


def boosting_scores(
    train: NDArray[np.float32],
    target: NDArray[np.generic],
    validation: NDArray[np.float32],
    *,
    task: Task,
    categorical: NDArray[np.bool_] | None = None,
    seed: int = 0,
    max_rows: int = 100_000,
    max_columns: int = 2_000,
    weight: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Train scikit-learn's HistGradientBoosting with early stopping and score the validation rows.

    Args:
        train: (rows, N), NaN = missing; categories as non-negative whole numbers, ideally ordered by frequency.
        target: (rows,); 0/1, class numbers or values.
        validation: (validation rows, N).
        task: chooses classifier or regressor.
        categorical: (N,) True where a column holds categories.
        seed: of early stopping's split and of the sampling of rows.
        max_rows: more train rows are sampled down to this, to keep it quick.
        max_columns: of more columns, those that vary most in rank with the target are used.
        weight: (rows,) > 0, of the train rows; None = 1 each.

    Returns:
        (validation rows,) probability of class 1 or value; (validation rows, C) probabilities for multiclass.
    """
    categorical = np.zeros(train.shape[1], bool) if categorical is None else np.asarray(categorical, bool)
    classes = 0 if task == "regression" else int(target.max()) + 1
    if len(train) > max_rows:
        chosen = np.sort(np.random.default_rng(seed).choice(len(train), max_rows, replace=False))
        train, target = train[chosen], target[chosen]
        weight = None if weight is None else weight[chosen]
    # Leaves ask for hessian and L2 in absolute units: weights of 1 on average keep them what they are.
    weight = None if weight is None else weight / weight.mean()
    if train.shape[1] > max_columns:
        columns = np.sort(_most_correlated(train, target, max_columns))
        train, validation, categorical = train[:, columns], validation[:, columns], categorical[columns]
    enough = task == "regression" or _can_hold_back(target)
    settings = {
        "learning_rate": 0.06,
        "max_iter": 300,
        "max_leaf_nodes": 15,
        "max_features": 0.5,
        "min_samples_leaf": 20 if len(train) > 5_000 else 10,
        "l2_regularization": 1.0,
        "early_stopping": enough,
        "validation_fraction": _HELD_BACK,
        "n_iter_no_change": 15,
        "random_state": seed,
        "categorical_features": categorical if categorical.any() else None,
    }
    train, validation = _cap_categories(train, categorical), _cap_categories(validation, categorical)
    if task == "regression":
        return HistGradientBoostingRegressor(**settings).fit(train, target, weight).predict(validation)
    model = HistGradientBoostingClassifier(**settings).fit(train, target, weight)
    scores = np.zeros((len(validation), classes))
    scores[:, model.classes_.astype(np.int64)] = model.predict_proba(validation)  # a sample may lack a rare class
    return scores[:, 1] if task == "binary" else scores


def _can_hold_back(target: NDArray[np.generic]) -> bool:
    """Early stopping sets rows of every class aside: that takes two of each, and as many rows as classes."""
    counts = np.unique(target, return_counts=True)[1]
    return bool(counts.min() >= 2 and int(_HELD_BACK * len(target)) >= len(counts))


def _cap_categories(values: NDArray[np.float32], categorical: NDArray[np.bool_]) -> NDArray[np.float32]:
    if not categorical.any():
        return values
    capped = values.copy()
    capped[:, categorical] = np.minimum(capped[:, categorical], _MOST_CATEGORIES - 1)
    return capped


def _most_correlated(train: NDArray[np.float32], target: NDArray[np.generic], most: int) -> NDArray[np.intp]:
    filled = np.nan_to_num(train.astype(np.float64))
    ranks = filled.argsort(axis=0).argsort(axis=0)
    centred = ranks - ranks.mean(axis=0)
    label = np.asarray(target, np.float64) - np.mean(np.asarray(target, np.float64))
    spread = np.sqrt((centred**2).sum(axis=0)) + 1e-12
    return np.argsort(-np.abs(centred.T @ label) / spread, kind="stable")[:most]

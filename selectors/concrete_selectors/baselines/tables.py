"""Rankers that use only the table: numeric columns, category codes and a target.

Each takes a ``TableTask`` and returns one score per column, (C,) float64, higher is better;
``group_scores`` combines the columns of a feature or group.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from sklearn.feature_selection import f_classif, f_regression
from sklearn.metrics import mutual_info_score
from sklearn.metrics.cluster import contingency_matrix, expected_mutual_information
from sklearn.model_selection import KFold
from sklearn.preprocessing import TargetEncoder

#: Number of quantile bins of a numeric column when mutual information is estimated from counts.
_BINS = 32
#: Maximum number of rows for LassoNet, which retrains a network for every penalty.
_LASSONET_ROWS = 8_000
#: Numbers of leaves among which validation loss chooses: as many trainings as an audit has selection trials.
_LEAVES = (7, 31, 127)


class Matrix(NamedTuple):
    """Input of the rankers of the table; only the first two fields are required.

    Attributes:
        x: (rows, C) float train rows, NaN for missing.
        y: (rows,) target.
        categorical: (C,) bool, True for columns of category codes, 0 or more; None = no such column.
        feature: (C,) int, the feature that each column belongs to (vectors and lists have several); None = one per
            column.
        x_validation, y_validation: rows for LightGBM's early stopping; None = every seventh train row.
    """

    x: np.ndarray
    y: np.ndarray
    categorical: np.ndarray | None = None
    feature: np.ndarray | None = None
    x_validation: np.ndarray | None = None
    y_validation: np.ndarray | None = None


@dataclass(frozen=True)
class TableTask:
    """A validated ``Matrix``.

    Attributes:
        x, y, categorical, feature: as in ``Matrix``; y is int64 classes or float64.
        held_out: validation rows and targets, or None.
        is_classification: True if the targets are classes.
        seed: seed of randomised rankers.
    """

    x: np.ndarray
    y: np.ndarray
    categorical: np.ndarray
    feature: np.ndarray
    held_out: tuple[np.ndarray, np.ndarray] | None
    is_classification: bool
    seed: int


def table_task(
    x: np.ndarray,
    y: np.ndarray,
    categorical: np.ndarray | None = None,
    feature: np.ndarray | None = None,
    x_validation: np.ndarray | None = None,
    y_validation: np.ndarray | None = None,
    *,
    seed: int,
) -> TableTask:
    """Validate a ``Matrix`` and infer the task: integer targets and 0 / 1 targets are classes.

    Raises:
        ValueError: shapes do not agree, a value is inf, or a categorical column contains something other than codes.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y)
    if x.ndim != 2 or len(x) != len(y) or len(x) == 0:
        raise ValueError(f"matrix: X has shape {x.shape}, y {y.shape}; give (rows, N) and (rows,) with rows >= 1")
    columns = x.shape[1]
    categorical = np.zeros(columns, dtype=bool) if categorical is None else np.asarray(categorical, dtype=bool)
    feature = np.arange(columns) if feature is None else np.asarray(feature)
    for name, values in (("categorical", categorical), ("feature", feature)):
        if values.shape != (columns,):
            raise ValueError(f"matrix: {name} has shape {values.shape}, but X has {columns} columns; give ({columns},)")
    is_classification = bool(np.issubdtype(y.dtype, np.integer) or np.isin(y, (0, 1)).all())
    kind = np.int64 if is_classification else np.float64
    held_out = None
    if x_validation is not None and y_validation is not None:
        held_out = np.asarray(x_validation, dtype=np.float64), np.asarray(y_validation).astype(kind)
        if held_out[0].shape != (len(held_out[1]), columns):
            raise ValueError(f"matrix: x_validation has shape {held_out[0].shape}; give (targets, columns of X)")
    for numbers in (x, *(held_out or ())[:1]):
        if np.isinf(numbers).any():
            raise ValueError("matrix: X contains inf; give finite numbers, and NaN for missing values")
        codes = numbers[:, categorical]
        if ((codes < 0) | (codes != np.floor(codes)))[~np.isnan(codes)].any():
            raise ValueError("matrix: a categorical column contains a non-code; give whole numbers from 0")
    return TableTask(x, y.astype(kind), categorical, feature, held_out, is_classification, seed)


def group_scores(ranker: Callable[[TableTask], np.ndarray], task: TableTask, group: np.ndarray) -> np.ndarray:
    """Scores per group, (G,): the sum of the gains of its columns, or the maximum of their other scores.

    Args:
        group: (N,) int, the group that each feature belongs to.
    """
    task = replace(task, feature=group[task.feature])
    by_column, groups = ranker(task), int(group.max()) + 1
    if ranker is lightgbm_gain:
        return np.bincount(task.feature, by_column, minlength=groups)
    scores = np.full(groups, -np.inf)
    np.maximum.at(scores, task.feature, by_column)
    return scores


def random_scores(task: TableTask) -> np.ndarray:
    """Uniform random scores, one for all columns of a feature or group: the floor that every ranking must beat."""
    return np.random.default_rng(task.seed).random(int(task.feature.max()) + 1)[task.feature]


def mutual_information(task: TableTask) -> np.ndarray:
    """Mutual information of each column with the target in nats, minus its expectation under shuffled targets.

    Numeric columns are cut into 32 quantile bins, every category is one value, and missing is a value too. Without the
    correction for chance (Vinh et al. 2010), ids with many values would rank first.
    """
    target = task.y if task.is_classification else _bins(task.y)
    scores = np.empty(task.x.shape[1])
    for column, is_category in enumerate(task.categorical):
        values = task.x[:, column]
        codes = np.unique(values, return_inverse=True)[1] if is_category else _bins(values)
        counts = contingency_matrix(target, codes, sparse=True)
        by_chance = expected_mutual_information(counts, len(target))
        scores[column] = mutual_info_score(None, None, contingency=counts) - by_chance
    return scores


def f_test(task: TableTask) -> np.ndarray:
    """One-way ANOVA, of a numeric column by class or of the target by category; regression if both are numeric.

    F values with different degrees of freedom (a, b) are not comparable. The score is therefore the adjusted share of
    variance explained, ``(F - 1) a / (F a + b)`` (Kelley's epsilon squared), which rises with F. Constant columns score
    0.
    """
    rows, classes = len(task.y), len(np.unique(task.y))
    scores = np.zeros(task.x.shape[1])
    filled = _filled(task.x)
    varies = filled.min(axis=0) != filled.max(axis=0)
    outcome = task.y[:, None] == np.unique(task.y)[1:] if task.is_classification else task.y[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        numbers = np.flatnonzero(varies & ~task.categorical)
        if len(numbers) and classes > 1:
            values, _ = (f_classif if task.is_classification else f_regression)(filled[:, numbers], task.y)
            scores[numbers] = _explained(values, classes - 1 if task.is_classification else 1, rows)
        for column in np.flatnonzero(task.categorical):
            codes = np.unique(task.x[:, column], return_inverse=True)[1]
            if 1 < codes.max() + 1 < rows and classes > 1:
                values, _ = f_classif(outcome.astype(np.float64), codes)
                scores[column] = _explained(values, int(codes.max()), rows).max()
    return scores


def _explained(f: np.ndarray, freedom: int, rows: int) -> np.ndarray:
    """Kelley's epsilon squared of F values with (freedom, rows - freedom - 1) degrees of freedom."""
    left = rows - freedom - 1
    return np.where(np.isposinf(f), 1.0, np.nan_to_num((f - 1) * freedom / (f * freedom + left), nan=0.0))


def lightgbm_gain(task: TableTask) -> np.ndarray:
    """Total gain of each column's splits in gradient-boosted trees, the most common ranking in practice.

    Up to 1,000 trees at learning rate 0.05, with early stopping after 30 rounds; the number of leaves (7, 31 or 127) is
    the one with the lowest validation loss. Categorical columns use LightGBM's categorical splits.

    Raises:
        ImportError: lightgbm is not installed; install the extra ``peers``.
    """
    import lightgbm

    if task.held_out is None:
        held = np.arange(len(task.y)) % 7 == 0
        x, y, x_held, y_held = task.x[~held], task.y[~held], task.x[held], task.y[held]
    else:
        x, y, (x_held, y_held) = task.x, task.y, task.held_out
    classes = int(max(y.max(), y_held.max())) + 1 if task.is_classification else 1
    several = task.is_classification and classes > 2
    parameters = {
        "objective": "multiclass" if several else ("binary" if task.is_classification else "regression"),
        "num_class": classes if several else 1,
        "learning_rate": 0.05,
        "num_threads": torch.get_num_threads(),
        "seed": task.seed,
        "verbose": -1,
        "deterministic": True,
        "force_row_wise": True,
    }
    best, gains = np.inf, np.zeros(task.x.shape[1])
    for leaves in _LEAVES:
        data = lightgbm.Dataset(x, y, categorical_feature=np.flatnonzero(task.categorical).tolist())
        check = lightgbm.Dataset(x_held, y_held, reference=data)
        booster = lightgbm.train(
            {**parameters, "num_leaves": leaves}, data, num_boost_round=1_000, valid_sets=[check],
            callbacks=[lightgbm.early_stopping(30, verbose=False)],
        )  # fmt: skip
        (loss,) = booster.best_score["valid_0"].values()
        if loss < best:
            best, gains = loss, booster.feature_importance("gain", iteration=booster.best_iteration)
    return np.asarray(gains, dtype=np.float64)


def lassonet(task: TableTask) -> np.ndarray:
    """Penalty at which LassoNet (Lemhadri et al. 2021; the authors' package) drops a column, on up to 8,000 rows.

    Raises:
        ImportError: lassonet is not installed; install the extra ``peers``.
    """
    from lassonet import LassoNetClassifier, LassoNetRegressor

    pick = np.random.default_rng(task.seed).permutation(len(task.y))[:_LASSONET_ROWS]
    x, owner = _numbers(task, pick)
    x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-12)
    y = task.y[pick] if task.is_classification else task.y[pick].astype(np.float32)
    kind = LassoNetClassifier if task.is_classification else LassoNetRegressor
    model = kind(
        hidden_dims=(32,),
        batch_size=512,
        n_iters=(30, 4),
        patience=(4, 1),
        path_multiplier=1.25,
        random_state=task.seed,
        torch_seed=task.seed,
        verbose=0,
    )
    with torch.random.fork_rng(devices=[]):
        model.path(x.astype(np.float32), y, return_state_dicts=False)
    found = model.feature_importances_.double().cpu().numpy()
    scores = np.full(task.x.shape[1], -np.inf)
    np.maximum.at(scores, owner, np.where(np.isfinite(found), found, np.finfo(np.float64).max))
    return scores


def _numbers(task: TableTask, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows as numbers, (rows, D), and the source column of each, (D,).

    A category becomes the mean target of the rows of other folds that have it, one mean per class for 3 classes or
    more.
    """
    x, owner = [_filled(task.x)[rows][:, ~task.categorical]], [np.flatnonzero(~task.categorical)]
    if task.categorical.any():
        several = task.is_classification and len(np.unique(task.y[rows])) > 2
        kind = "multiclass" if several else ("binary" if task.is_classification else "continuous")
        codes, y = task.x[rows][:, task.categorical], task.y[rows]
        folds = [
            (judged, TargetEncoder(target_type=kind).fit(codes[fit], y[fit]).transform(codes[judged]))
            for fit, judged in KFold(5).split(codes)
        ]
        encoded = np.empty((len(rows), folds[0][1].shape[1]))
        for judged, values in folds:
            encoded[judged] = values
        x.append(encoded)
        owner.append(np.repeat(np.flatnonzero(task.categorical), encoded.shape[1] // int(task.categorical.sum())))
    return np.concatenate(x, axis=1), np.concatenate(owner)


def _filled(x: np.ndarray) -> np.ndarray:
    """Replace missing values by the column's median, or by 0 in a column without values."""
    empty = np.isnan(x).all(axis=0)
    return np.where(np.isnan(x), np.nanmedian(np.where(empty, 0.0, x), axis=0), x)


def _bins(column: np.ndarray) -> np.ndarray:
    """Codes of a column: its values if they are few, else quantile bins; missing values have a separate code."""
    values = np.unique(column)
    if len(values) <= _BINS:
        return np.searchsorted(values, column)
    edges = np.unique(np.nanquantile(column, np.linspace(0, 1, _BINS + 1)[1:-1]))
    return np.where(np.isnan(column), len(edges) + 1, np.searchsorted(edges, column, side="right"))

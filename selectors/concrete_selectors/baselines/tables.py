"""Peers that look at the table only: a matrix of numbers and a target.

Each ranker takes a :class:`TableTask` and gives one score per feature, (N,) float64, higher is better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.feature_selection import f_classif, f_regression
from sklearn.metrics import mutual_info_score

#: Quantile bins of a numeric column where information is estimated by counting.
_BINS = 32
#: Rows that LassoNet sees; its path retrains a network for every penalty.
_LASSONET_ROWS = 8_000


@dataclass(frozen=True)
class TableTask:
    """A table to rank the columns of.

    Attributes:
        x: (rows, N) float; codes of categorical columns are just numbers here.
        y: (rows,) target.
        is_classification: are the targets classes?
        seed: of whatever is random in a ranker.
    """

    x: np.ndarray
    y: np.ndarray
    is_classification: bool
    seed: int


def table_task(x: np.ndarray, y: np.ndarray, *, seed: int) -> TableTask:
    """Checks a matrix and recognises the task: integer targets and 0 / 1 targets are classes.

    Raises:
        ValueError: shapes do not agree, or a value is inf. NaN (missing) becomes the column's median.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y)
    if x.ndim != 2 or len(x) != len(y) or len(x) == 0:
        raise ValueError(f"matrix: X has shape {x.shape}, y {y.shape}; give (rows, N) and (rows,) with rows >= 1")
    if np.isinf(x).any():
        raise ValueError("matrix: X holds inf; give finite numbers, NaN for missing")
    if np.isnan(x).any():
        empty = np.isnan(x).all(axis=0)
        median = np.nanmedian(np.where(empty, 0.0, x), axis=0)
        x = np.where(np.isnan(x), median, x)
    is_classification = bool(np.issubdtype(y.dtype, np.integer) or np.isin(y, (0, 1)).all())
    return TableTask(x, y.astype(np.int64) if is_classification else y.astype(np.float64), is_classification, seed)


def random_scores(task: TableTask) -> np.ndarray:
    """Uniform scores: the floor that every ranking must beat."""
    return np.random.default_rng(task.seed).random(size=(task.x.shape[1],))


def mutual_information(task: TableTask) -> np.ndarray:
    """Mutual information of each binned column with the target in nats, less its bias ``(a - 1)(b - 1) / 2n``.

    The correction is Miller's (1955) for a plug-in estimate over a table of a x b cells.
    """
    target = task.y if task.is_classification else _bins(task.y)
    scores = np.empty(task.x.shape[1])
    for column in range(task.x.shape[1]):
        codes = _bins(task.x[:, column])
        cells = (len(np.unique(codes)) - 1) * (len(np.unique(target)) - 1)
        scores[column] = mutual_info_score(codes, target) - cells / (2 * len(target))
    return scores


def f_test(task: TableTask) -> np.ndarray:
    """ANOVA F (classes) or the F of a univariate regression; constant columns score 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        varies = task.x.min(axis=0) != task.x.max(axis=0)
        scores = np.zeros(task.x.shape[1])
        values, _ = (f_classif if task.is_classification else f_regression)(task.x[:, varies], task.y)
    scores[varies] = np.nan_to_num(values, nan=0.0, posinf=np.finfo(np.float64).max)
    return scores


def lightgbm_gain(task: TableTask) -> np.ndarray:
    """Total gain of each column's splits in a boosted forest, the ranking most teams use today.

    200 trees of 31 leaves at rate 0.05, fewer where the loss on every seventh row stops falling for 20 trees.

    Raises:
        ImportError: lightgbm is not installed; it comes with the extra ``peers``.
    """
    import lightgbm

    held = np.arange(len(task.y)) % 7 == 6
    data = lightgbm.Dataset(task.x[~held], task.y[~held], free_raw_data=False)
    classes = int(task.y.max()) + 1 if task.is_classification else 1
    parameters = {
        "objective": "regression" if not task.is_classification else ("binary" if classes <= 2 else "multiclass"),
        "num_class": classes if task.is_classification and classes > 2 else 1,
        "learning_rate": 0.05,
        "num_leaves": 31,
        "num_threads": torch.get_num_threads(),
        "seed": task.seed,
        "verbose": -1,
        "deterministic": True,
        "force_row_wise": True,
    }
    stop = [lightgbm.early_stopping(20, verbose=False)] if held.any() else []
    check = [lightgbm.Dataset(task.x[held], task.y[held], reference=data)] if held.any() else None
    booster = lightgbm.train(parameters, data, num_boost_round=200, valid_sets=check, callbacks=stop)
    return np.asarray(booster.feature_importance("gain"), dtype=np.float64)


def lassonet(task: TableTask) -> np.ndarray:
    """Penalty at which LassoNet (Lemhadri et al. 2021) lets a column go, by its authors' package, on up to 8,000 rows.

    Raises:
        ImportError: lassonet is not installed; it comes with the extra ``peers``.
    """
    from lassonet import LassoNetClassifier, LassoNetRegressor

    pick = np.random.default_rng(task.seed).permutation(len(task.y))[:_LASSONET_ROWS]
    x = task.x[pick] - task.x[pick].mean(axis=0)
    x = (x / np.maximum(x.std(axis=0), 1e-12)).astype(np.float32)
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
        model.path(x, y, return_state_dicts=False)
    scores = model.feature_importances_.double().cpu().numpy()
    return np.where(np.isfinite(scores), scores, np.finfo(np.float64).max)


def _bins(column: np.ndarray) -> np.ndarray:
    """Codes of a column: its values where they are few, else quantile bins."""
    values = np.unique(column)
    if len(values) <= _BINS:
        return np.searchsorted(values, column)
    edges = np.unique(np.quantile(column, np.linspace(0, 1, _BINS + 1)[1:-1]))
    return np.searchsorted(edges, column, side="right")

"""A fast gradient-boosting reference, to check that the full model is a reasonable baseline.

It reads only what it uses: a sample of the train rows, the columns that predict the label best, and the scored rows
block by block. Its memory is bounded by ``max_cells`` for tables of any size.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from feature_audit.schema import Field, ModelSchema, SplitName

#: Maximum number of categories of scikit-learn's boosting; rarer ones share the last code.
_MOST_CATEGORIES = 254
_HELD_BACK = 0.15  # share of the train rows for early stopping
#: Number of columns ranked at a time, and number of groups into which numbers are cut for the ranking.
_BLOCK, _GROUPS = 64, 16
#: Number of cells scored at a time.
_SCORED_CELLS = 4_000_000


class BoostingStore(Protocol):
    """Encoded rows of the splits, of which some rows and fields are read at a time."""

    def rows(self, split: SplitName) -> int:
        """Rows in a split."""
        ...

    def target(self, split: SplitName) -> Any:
        """Labels of a split, (rows,)."""
        ...

    def weight(self, split: SplitName) -> Any:
        """Row weights, (rows,) > 0; None = equal weights."""
        ...

    def matrix(
        self, split: SplitName, schema: ModelSchema | None = None, rows: NDArray[np.integer] | None = None
    ) -> NDArray[np.float32]:
        """(rows, fields of the schema), codes ordered by frequency; ``rows`` = positions in the split, None = all."""
        ...


def boosting_scores(
    store: BoostingStore,
    schema: ModelSchema,
    *,
    split: SplitName = "validation",
    seed: int = 0,
    max_rows: int = 100_000,
    max_cells: int = 40_000_000,
    max_columns: int = 2_000,
) -> NDArray[np.float64]:
    """Train scikit-learn's HistGradientBoosting with early stopping on train rows and score the rows of a split.

    Codes are tried both as numbers, in order of frequency, and as categories; the early-stopping rows choose.
    Categorical splits can find any pattern, but with many categories they also find patterns in noise.

    Args:
        store: store of the encoded rows.
        schema: the fields to use, and the task.
        split: split to score.
        seed: seed of the early-stopping split and of the sampling of rows.
        max_rows: maximum number of train rows; more are sampled down to keep it fast.
        max_cells: maximum of train rows x columns; training takes about 30 bytes for each.
        max_columns: maximum number of columns; of more (or more than ``max_cells`` allow), the most predictive are
            used.

    Returns:
        (rows,) probability of class 1 or value; (rows, C) probabilities for multiclass.
    """
    rows = np.arange(store.rows("train"))
    if len(rows) > max_rows:
        rows = np.sort(np.random.default_rng(seed).choice(len(rows), max_rows, replace=False))
    target, weight = store.target("train")[rows], store.weight("train")
    # Minimum hessian and L2 are in absolute units, so weights are scaled to mean 1.
    weight = None if weight is None else weight[rows] / weight[rows].mean()
    schema = _most_predictive(store, schema, rows, target, max(1, min(max_columns, max_cells // len(rows))))
    categorical = np.array([field.form == "code" for field in schema.fields])
    train = store.matrix("train", schema, rows)
    model, capped = _fit(train, target, weight, schema.task, categorical, seed)
    del train
    scored, parts = store.rows(split), []
    step = max(1, _SCORED_CELLS // len(schema.fields))
    for start in range(0, scored, step):
        block = store.matrix(split, schema, np.arange(start, min(start + step, scored)))
        if capped:
            _cap(block, categorical)
        parts.append(model.predict(block) if schema.task == "regression" else model.predict_proba(block))
    scores = np.concatenate(parts)
    if schema.task == "regression":
        return scores
    spread = np.zeros((scored, int(store.target("train").max()) + 1))
    spread[:, model.classes_.astype(np.int64)] = scores  # a sample may lack a rare class
    return spread[:, 1] if schema.task == "binary" else spread


def _fit(
    train: NDArray[np.float32],
    target: NDArray[np.generic],
    weight: NDArray[np.float64] | None,
    task: str,
    categorical: NDArray[np.bool_],
    seed: int,
) -> tuple[Any, bool]:
    """The better of codes as numbers and codes as categories, and whether it is the latter (with rare codes merged).

    The matrix is modified in place, because it is the largest array.
    """
    can_choose = task == "regression" or _can_hold_back(target)
    settings = {
        "learning_rate": 0.06,
        "max_iter": 300,
        "max_leaf_nodes": 15,
        "max_features": 0.5,
        "min_samples_leaf": 20 if len(train) > 5_000 else 10,
        "l2_regularization": 1.0,
        "early_stopping": can_choose,
        "validation_fraction": _HELD_BACK,
        "n_iter_no_change": 15,
        "random_state": seed,
    }
    kind = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    numbers = None
    if can_choose or not categorical.any():
        numbers = kind(**settings).fit(train, target, weight)
        if not categorical.any():
            return numbers, False
    _cap(train, categorical)
    categories = kind(**settings, categorical_features=categorical).fit(train, target, weight)
    if numbers is not None and max(numbers.validation_score_) > max(categories.validation_score_):
        return numbers, False
    return categories, True


def _can_hold_back(target: NDArray[np.generic]) -> bool:
    """Whether early stopping can hold back rows of every class: two rows of each, and as many rows as classes."""
    counts = np.unique(target, return_counts=True)[1]
    return bool(counts.min() >= 2 and int(_HELD_BACK * len(target)) >= len(counts))


def _cap(values: NDArray[np.float32], categorical: NDArray[np.bool_]) -> None:
    """In place, column by column, because a copy of the categories would be as large as the matrix."""
    for place in np.flatnonzero(categorical):
        np.minimum(values[:, place], _MOST_CATEGORIES - 1, out=values[:, place])


def _most_predictive(
    store: BoostingStore, schema: ModelSchema, rows: NDArray[np.integer], target: NDArray[np.generic], most: int
) -> ModelSchema:
    """The ``most`` fields that predict the label best individually; all if there are no more."""
    if len(schema.fields) <= most:
        return schema
    classes = _grouped(target.astype(np.float64)) if schema.task == "regression" else target.astype(np.int64)
    taus: list[float] = []
    for start in range(0, len(schema.fields), _BLOCK):
        block = replace(schema, fields=schema.fields[start : start + _BLOCK])
        cells = store.matrix("train", block, rows)
        taus += [
            _goodman_kruskal_tau(_groups_of(field, column), classes)
            for field, column in zip(block.fields, cells.T, strict=True)
        ]
    best = np.argsort(-np.array(taus), kind="stable")[:most]
    return schema.keep(schema.fields[place].name for place in best)


def _groups_of(field: Field, column: NDArray[np.float32]) -> NDArray[np.int64]:
    if field.form == "code":
        return np.minimum(column, _MOST_CATEGORIES - 1).astype(np.int64)
    return _grouped(column)


def _grouped(values: NDArray[np.floating]) -> NDArray[np.int64]:
    """Numbers in groups of about equal size; a value that many rows share gets a group."""
    seen = values[:: max(1, len(values) // 4_096)]  # enough to place the edges
    edges = np.unique(np.quantile(seen, np.linspace(0, 1, _GROUPS + 1)[1:-1]))
    return np.searchsorted(edges, values, side="right").astype(np.int64)


def _goodman_kruskal_tau(groups: NDArray[np.int64], classes: NDArray[np.int64]) -> float:
    """Share of the label's variance between the groups (Goodman and Kruskal's tau), minus what chance would explain."""
    n_classes, rows = int(classes.max()) + 1, len(groups)
    joint = np.bincount(groups * n_classes + classes, minlength=(int(groups.max()) + 1) * n_classes)
    joint = joint.reshape(-1, n_classes)
    joint = joint[joint.any(axis=1)]
    if not 1 < len(joint) < rows:
        return 0.0
    base = float((joint.sum(axis=0) ** 2.0).sum()) / rows
    between = float(((joint**2.0).sum(axis=1) / joint.sum(axis=1)).sum()) - base
    left = 1.0 - between / max(rows - base, 1e-12)
    return 1.0 - left * (rows - 1) / (rows - len(joint))

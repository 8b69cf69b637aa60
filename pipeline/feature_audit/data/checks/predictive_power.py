"""Predictive power of a single column: cross-fitted AUC, one-vs-rest AUC or R-squared over small integer codes.

Everything works on *views*: a view turns a column into codes 0, 1, ... per row (0 = missing). The mean label per code
is learned on one half of the rows and evaluated on the other, in both directions, so that ids and rare values gain
nothing by chance.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.stats import rankdata

from feature_audit.data.columns.casting import (
    as_datetime,
    as_float,
    as_key,
    as_lists,
    as_matrix,
    date_part,
    epoch,
    key_of,
)
from feature_audit.data.encoding.knots import quantile_knots
from feature_audit.data.table.statistics import ColumnFacts
from feature_audit.schema import Column

#: Maximum number of knots of a numeric view (each knot and each range between two is a code), and rows per knot.
VIEW_BINS = 128
ROWS_PER_KNOT = 40
MIN_ATOM_ROWS = 10
#: Weight of the prior, in rows, when a mean per code is learned.
PRIOR_ROWS = 5.0
#: Maximum number of classes of a multiclass label that are scored one-vs-rest, most frequent first.
MAX_CLASSES = 30


def views(column: Column, values: pl.Series, fact: ColumnFacts) -> dict[str, np.ndarray]:
    """Every view of a column: name -> int64 codes (rows,).

    Args:
        column: name and kind.
        values: raw cells.
        fact: key type, separator and date format found in pass 1.

    Returns:
        ``value`` for numbers and categories; ``moment`` and the calendar parts for datetimes; ``list`` (the whole list)
        and ``length`` for lists; ``filled`` for vectors. In the first view, code 0 means missing.
    """
    if column.kind == "numeric":
        return {"value": number_codes(as_float(values))}
    if column.kind in ("categorical", "boolean"):
        return {"value": value_codes(as_key(values, fact.key))}
    if column.kind == "datetime":
        moments = as_datetime(values, fact.format)
        absent = moments.is_null().to_numpy()
        made = {"moment": number_codes(epoch(moments))}
        for part in ("hour", "weekday", "day", "month"):
            made[part] = np.where(absent, 0, date_part(moments, part) + 1).astype(np.int64)
        return made
    if column.kind == "multi":
        lists = as_lists(values, fact.separator)
        length = lists.list.len().fill_null(-1).to_numpy().astype(np.int64) + 1
        return {"list": value_codes(lists.hash(0).set(lists.is_null(), None)), "length": length}
    return {"filled": values.is_not_null().to_numpy().astype(np.int64)}


def number_codes(numbers: np.ndarray) -> np.ndarray:
    """Codes of numbers: 0 = missing; ranges between knots; knots that many rows share have separate codes."""
    absent = np.isnan(numbers)
    knots = quantile_knots(numbers, int(np.clip(len(numbers) // ROWS_PER_KNOT, 8, VIEW_BINS)))
    place = np.searchsorted(knots, numbers, side="left")
    on_knot = knots[np.minimum(place, len(knots) - 1)] == numbers
    shared = np.bincount(place[on_knot], minlength=len(knots) + 1) >= MIN_ATOM_ROWS
    return np.where(absent, 0, 1 + 2 * place + (on_knot & shared[place])).astype(np.int64)


def value_codes(keys: pl.Series) -> np.ndarray:
    """Dense codes of a flat series: 0 = null; numbers and datetimes in order, text in any order."""
    if keys.dtype in (pl.Categorical, pl.Enum):
        keys = keys.cast(pl.String)
    elif keys.dtype == pl.Boolean:
        keys = keys.cast(pl.Int8)
    if keys.dtype == pl.String:  # many times faster than ranking text
        codes = keys.cast(pl.Enum(keys.drop_nulls().unique())).to_physical().cast(pl.Int64) + 1
        return codes.fill_null(0).to_numpy()
    return keys.rank("dense").fill_null(0).cast(pl.Int64).to_numpy()


def halves(rows: int, seed: int) -> np.ndarray:
    """bool (rows,): a random half of the rows."""
    return np.random.default_rng([seed, 7]).permutation(rows) < rows // 2


def crossfit_auc(codes: np.ndarray, positive: np.ndarray, half: np.ndarray) -> float:
    """AUC of the positive share per code, learned on one half and evaluated on the other; mean of both directions.

    Args:
        codes: int (rows,).
        positive: bool or 0/1 (rows,).
        half: bool (rows,).

    Returns:
        AUC in [0, 1]; 0.5 if a half lacks a class.
    """
    size = int(codes.max(initial=0)) + 1
    total = [np.bincount(codes[side], minlength=size) for side in (half, ~half)]
    hits = [np.bincount(codes[side], weights=positive[side], minlength=size) for side in (half, ~half)]
    return 0.5 * sum(_auc(total[i], hits[i], total[1 - i], hits[1 - i]) for i in (0, 1))


def _auc(fit_total: np.ndarray, fit_hits: np.ndarray, total: np.ndarray, hits: np.ndarray) -> float:
    """AUC over codes ordered by their learned share; ties count half (Mann-Whitney)."""
    if not 0 < hits.sum() < total.sum():
        return 0.5
    prior = fit_hits.sum() / max(fit_total.sum(), 1)
    share = (fit_hits + PRIOR_ROWS * prior) / (fit_total + PRIOR_ROWS)
    _, level = np.unique(share, return_inverse=True)
    good = np.bincount(level, weights=hits)
    bad = np.bincount(level, weights=total - hits)
    below = np.cumsum(bad) - bad
    return float((good * (below + 0.5 * bad)).sum() / (good.sum() * bad.sum()))


def crossfit_class_auc(codes: np.ndarray, label: np.ndarray, half: np.ndarray) -> float:
    """Mean of the one-vs-rest ``crossfit_auc`` over classes, weighted by their rows."""
    rows = np.bincount(label)
    classes = np.argsort(-rows, kind="stable")[:MAX_CLASSES]
    return float(np.average([crossfit_auc(codes, label == one, half) for one in classes], weights=rows[classes]))


def crossfit_r2(codes: np.ndarray, label: np.ndarray, half: np.ndarray) -> float:
    """Cross-fitted R-squared of the mean per code for the label's rank (ranks, so heavy tails do not hide a copy)."""
    ranks = rankdata(label) / len(label)
    size = int(codes.max(initial=0)) + 1
    scores = []
    for fit, held_out in ((half, ~half), (~half, half)):
        prior = ranks[fit].mean()
        rows = np.bincount(codes[fit], minlength=size)
        sums = np.bincount(codes[fit], weights=ranks[fit], minlength=size)
        mean = np.where(rows > 0, sums / np.maximum(rows, 1), prior)
        error = ((ranks[held_out] - mean[codes[held_out]]) ** 2).sum()
        spread = ((ranks[held_out] - ranks[held_out].mean()) ** 2).sum()
        scores.append(1 - error / spread if spread > 0 else 0.0)
    return float(np.mean(scores))


def score_auc(scores: np.ndarray, positive: np.ndarray, half: np.ndarray) -> float:
    """Mean over the halves of the AUC of scores that were learned on the other half."""
    found = []
    for held_out in (half, ~half):
        ranks, good = rankdata(scores[held_out]), positive[held_out] > 0
        hits, misses = int(good.sum()), int((~good).sum())
        found.append((ranks[good].sum() - hits * (hits + 1) / 2) / (hits * misses) if hits and misses else 0.5)
    return float(np.mean(found))


def score_r2(scores: np.ndarray, label: np.ndarray, half: np.ndarray) -> float:
    """The same for numbers: squared rank correlation of scores and label."""
    found = [np.corrcoef(rankdata(scores[held_out]), rankdata(label[held_out]))[0, 1] for held_out in (half, ~half)]
    return float(np.mean(np.nan_to_num(found) ** 2))


def entry_scores(lists: pl.Series, signal: np.ndarray, half: np.ndarray) -> np.ndarray:
    """One score per row from the entries of its list: the sum of the entries' learned deviations from the mean signal.

    Args:
        lists: list cells.
        signal: float (rows,), the label signal (0/1, or ranks).
        half: each half is scored with deviations learned on the other half.

    Returns:
        float64 (rows,); 0 for missing and empty lists.
    """
    lengths = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
    scores = np.zeros(len(lists))
    if not lengths.any():
        return scores
    entries = lists.drop_nulls().list.explode(empty_as_null=False)
    codes = value_codes(as_key(entries, key_of(entries.dtype)))
    row = np.repeat(np.arange(len(lists)), lengths)
    size = int(codes.max()) + 1
    for fit, held_out in ((half, ~half), (~half, half)):
        inside = fit[row]
        prior = signal[fit].mean()
        count = np.bincount(codes[inside], minlength=size)
        total = np.bincount(codes[inside], weights=signal[row[inside]], minlength=size)
        worth = (total - prior * count) / (count + PRIOR_ROWS)
        mine = held_out[row]
        scores += np.bincount(row[mine], weights=worth[codes[mine]], minlength=len(scores))
    return scores


def vector_scores(values: pl.Series, width: int, signal: np.ndarray, half: np.ndarray) -> np.ndarray:
    """One score per row: ridge regression of the signal on the vector; each half is scored by the other half's fit."""
    matrix = np.nan_to_num(as_matrix(values, width), posinf=0.0, neginf=0.0)
    scores = np.zeros(len(matrix))
    for fit, held_out in ((half, ~half), (~half, half)):
        centre = matrix[fit].mean(axis=0)
        scale = matrix[fit].std(axis=0) + 1e-12
        design = (matrix[fit] - centre) / scale
        gram = design.T @ design + 1e-3 * len(design) * np.eye(width)
        weights = np.linalg.solve(gram, design.T @ (signal[fit] - signal[fit].mean()))
        scores[held_out] = ((matrix[held_out] - centre) / scale) @ weights
    return scores

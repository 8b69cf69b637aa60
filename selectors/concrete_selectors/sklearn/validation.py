"""Validation of parameters and data of the scikit-learn estimators; errors give argument, value and remedy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, get_args

import numpy as np
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils.validation import validate_data

from concrete_selectors.sklearn.targets import Task

_NOT_READABLE = (TypeError, ValueError, OverflowError)
#: Beginnings of scikit-learn's own error messages about a target, and the remedies to append.
_ABOUT_TARGET = {
    "Input y contains": "drop those rows, or fit without y",
    "Found input variables with inconsistent": "give y one value per row of X",
}


class NotNumericError(ValueError, TypeError):
    """A column contains something other than numbers; also a TypeError, which scikit-learn expects for objects."""


def check_parameters(estimator: Any) -> None:
    """Check all parameters that can be checked without data.

    Raises:
        ValueError: a parameter has the wrong type or is outside its range.
    """
    for name in ("epochs", "batch_size"):
        _refuse(not _whole(value := getattr(estimator, name)), name, value, "give a whole number of at least 1")
    rank = getattr(estimator, "rank", None)
    _refuse(rank is not None and not _whole(rank), "rank", rank, "give a whole number of at least 1, or None")
    hidden = estimator.hidden
    widths = isinstance(hidden, (tuple, list)) and all(_whole(width) for width in hidden)
    _refuse(not widths, "hidden", hidden, "give a tuple of whole numbers of at least 1, such as (200,)")
    for name in ("learning_rate", "temperature_start", "temperature_end"):
        value = getattr(estimator, name)
        _refuse(not (_finite(value) and value > 0), name, value, "give a number above 0")
    rate = estimator.selector_learning_rate
    wrong = rate is not None and not (_finite(rate) and rate > 0)
    _refuse(wrong, "selector_learning_rate", rate, "give a number above 0, or None")
    start, end = estimator.temperature_start, estimator.temperature_end
    _refuse(end > start, "temperature_end", end, f"give at most temperature_start={start}; the temperature must fall")
    share = estimator.anneal_share
    _refuse(not (_finite(share) and 0 < share <= 1), "anneal_share", share, "give a number above 0, at most 1")
    diversity = estimator.diversity
    _refuse(not (_finite(diversity) and diversity >= 0), "diversity", diversity, "give 0 (off) or a number above 0")
    task = getattr(estimator, "task", "auto")
    known = isinstance(task, str) and task in get_args(Task)
    _refuse(not known, "task", task, "give auto, classification or regression")
    noise = estimator.noise
    known = noise in ("batch", "row") if isinstance(noise, str) else _whole(noise)
    _refuse(not known, "noise", noise, "give batch, row, or a number of groups of at least 1")
    try:
        check_random_state(estimator.random_state)
    except _NOT_READABLE:
        _refuse(True, "random_state", estimator.random_state, "give a whole number from 0, a RandomState, or None")


def number_to_select(k: Any, n_features: int, n_varying: int) -> int:
    """Validate K against the number of features; None = half of the features.

    Raises:
        ValueError: K is not a whole number or exceeds the number of (varying) features, or no feature varies.
    """
    if n_varying == 0:
        raise ValueError(f"X: all {n_features} features are constant; give at least one that varies")
    if k is None:
        return max(1, min(n_features // 2, n_varying))
    if not _whole(k) or k > n_features:
        raise ValueError(f"n_features_to_select={k!r}: X has {n_features} features; give 1 to {n_features}")
    if k > n_varying:
        raise ValueError(
            f"n_features_to_select={k}: only {n_varying} of {n_features} features vary; give at most {n_varying}"
        )
    return int(k)


def number_of_slots(candidates: Any, k: int, n_features: int, *, default: int) -> int:
    """Validate the number of slots against K and N.

    Raises:
        ValueError: not a whole number, fewer than K, or more than the number of features.
    """
    if candidates is None:
        return default
    remedy = f"give {k} to {n_features}, or None"
    _refuse(not _whole(candidates), "n_candidates", candidates, f"not a whole number of at least 1; {remedy}")
    _refuse(candidates < k, "n_candidates", candidates, f"fewer than the {k} features to select; {remedy}")
    _refuse(candidates > n_features, "n_candidates", candidates, f"X has only {n_features} features; {remedy}")
    return int(candidates)


def checked_data(estimator: Any, x: Any, y: Any = None) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows as float64 with NaN for missing, and the target unchanged; sets ``n_features_in_`` and the names.

    Raises:
        ValueError: X is not a numeric table, contains infinity, or has fewer than two rows; or y does not fit it.
    """
    _refuse_dates(x)
    finite: dict[str, Any] = {"dtype": np.float64, "ensure_all_finite": False, "ensure_min_samples": 0}
    try:
        if y is None:
            table = validate_data(estimator, x, **finite)
        else:
            table, y = validate_data(estimator, x, y, y_numeric=False, **finite)
    except _NOT_READABLE as error:
        if str(error).startswith("Complex data not supported"):
            raise ValueError("Complex data not supported; give real numbers, such as both parts") from error
        _refuse_objects(x)
        for beginning, remedy in _ABOUT_TARGET.items():
            if str(error).startswith(beginning):
                raise ValueError(f"{' '.join(str(error).split())}; {remedy}") from error
        raise
    if len(table) < 2:
        held = "1 sample" if len(table) else "no samples"
        raise ValueError(f"X: {held}, but at least 2 are required; give more rows")
    infinite = np.isinf(table)
    if infinite.any():
        place = int(infinite.any(axis=0).argmax())
        raise ValueError(
            f"X: infinity in {infinite.sum()} of {infinite.size} cells, the first in {_name(x, place)}; replace "
            "it with finite numbers or NaN (treated as the column's mean), or drop the column"
        )
    return table, y


def _refuse(wrong: bool, name: str, value: Any, remedy: str) -> None:
    if wrong:
        raise ValueError(f"{name}={value!r}: {remedy}")


def _whole(value: Any) -> bool:
    """Whether it is a whole number of at least 1."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def _finite(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _refuse_dates(x: Any) -> None:
    """Refuse dates, which would silently be converted to nanoseconds."""
    dtypes = list(x.dtypes) if _is_frame(x) else [getattr(x, "dtype", None)]
    for place, dtype in enumerate(dtypes):
        temporal = getattr(dtype, "is_temporal", None)  # Polars; the others have a kind
        if temporal() if callable(temporal) else getattr(dtype, "kind", "") in ("M", "m"):
            raise NotNumericError(
                f"X: {_name(x, place)} contains dates or times ({dtype}); encode it as numbers, or drop it"
            )


def _refuse_objects(x: Any) -> None:
    """Name the first column that cannot be converted to numbers, if that is the problem."""
    for place, values in enumerate(_columns(x)):
        try:
            values.astype(np.float64)
        except _NOT_READABLE:
            for value in values:
                try:
                    float("nan" if value is None else value)
                except _NOT_READABLE as error:
                    shown = repr(value) if isinstance(value, str) else str(value)
                    raise NotNumericError(
                        f"X: {_name(x, place)} contains {shown:.60}, not a number; encode it as numbers, or drop it "
                        f"({' '.join(str(error).split()):.120})"
                    ) from error


def _columns(x: Any) -> Iterator[np.ndarray]:
    if _is_frame(x):
        for place in range(x.shape[1]):
            yield np.asarray(_safe_indexing(x, place, axis=1), dtype=object)
    elif isinstance(x, (np.ndarray, list, tuple)):
        try:
            table = np.asarray(x, dtype=object)
        except ValueError:  # rows of different lengths: scikit-learn's own error explains it
            return
        if table.ndim == 2:
            yield from table.T


def _is_frame(x: Any) -> bool:
    return hasattr(x, "columns") and hasattr(x, "dtypes")


def _name(x: Any, place: int) -> str:
    """A frame's column name, else the column's number; a date array has one dtype for all columns."""
    if _is_frame(x):
        name = x.columns[place]
        return f"column {name!r}" if isinstance(name, str) else f"column {name}"
    return f"column {place}"

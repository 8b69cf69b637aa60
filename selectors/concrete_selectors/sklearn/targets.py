"""The decoder's target in a scikit-learn estimator: the table's own columns, classes, or a number."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, Self

import numpy as np
import torch
from sklearn.utils.validation import column_or_1d
from torch import Tensor
from torch.nn import functional

from concrete_selectors.protocols import Loss

#: The kinds of target.
Task = Literal["auto", "classification", "regression"]


@dataclass(frozen=True)
class Goal:
    """Target and loss of a decoder.

    Attributes:
        target: (rows, ...), float32, or int64 class codes.
        n_outputs: outputs of the decoder.
        loss: per-row loss of outputs and target.
    """

    target: Tensor
    n_outputs: int
    loss: Loss

    @classmethod
    def reconstruction(cls, inputs: Tensor) -> Self:
        """The standardised matrix (rows, N) itself, with squared error."""
        return cls(inputs, inputs.shape[1], lambda out, y: (out - y).square().mean(dim=1))

    @classmethod
    def supervised(cls, y: np.ndarray, task: Task = "auto") -> Self:
        """A target (rows,): classes with cross-entropy, or standardised numbers with squared error.

        Args:
            y: the target.
            task: kind of target; ``auto``: see ``IPCAESelector``.

        Raises:
            ValueError: all values are equal, they are not comparable, or they do not fit the task.
        """
        y = column_or_1d(y, warn=True)
        numbers = _as_numbers(y)
        if task == "regression":
            if numbers is None:
                raise ValueError(f"task='regression': y contains {_no_numbers(y)[0]!r}, not a number; encode it")
            return cls._numbers(numbers)
        whole = numbers is None or _are_whole(numbers)
        if task == "classification":
            if not whole:
                raise ValueError("task='classification': y contains numbers with fractions; give task='regression'")
            return cls._classes(y)
        if numbers is not None and (not whole or _taken_for_quantities(numbers)):
            return cls._numbers(numbers)
        return cls._classes(y)

    @classmethod
    def _numbers(cls, y: np.ndarray) -> Self:
        varies, scaled = standardise(y.reshape(-1, 1))
        if not varies.all():
            raise ValueError("y: all values are equal; a supervised selection needs a target that varies")
        target = torch.as_tensor(scaled, dtype=torch.float32)
        return cls(target, 1, lambda out, goal: (out - goal).square().squeeze(1))

    @classmethod
    def _classes(cls, y: np.ndarray) -> Self:
        try:
            classes, codes = np.unique(y, return_inverse=True)
        except TypeError as error:  # strings and None, for example
            kinds = ", ".join(sorted({type(value).__name__ for value in y}))
            raise ValueError(f"y: types that are not comparable ({kinds}); give classes of one type") from error
        if len(classes) < 2:
            only = classes.tolist()[0]  # a plain Python value, whose repr has no type
            raise ValueError(f"y: contains 1 class ({only!r}); give at least 2, or fit without y")
        target = torch.as_tensor(codes, dtype=torch.int64)
        return cls(target, len(classes), lambda out, goal: functional.cross_entropy(out, goal, reduction="none"))


def _as_numbers(y: np.ndarray) -> np.ndarray | None:
    """The target as float64; None if it contains strings, booleans, dates or other objects."""
    if y.dtype.kind in "iuf" or (y.dtype.kind == "O" and not _no_numbers(y)):
        return y.astype(np.float64)
    return None


def _are_whole(numbers: np.ndarray) -> bool:
    """Whether all numbers are whole and below 2^53, beyond which floats have no fractions."""
    return bool((numbers == np.floor(numbers)).all() and np.abs(numbers).max() < 2.0**53)


def _no_numbers(y: np.ndarray) -> list[Any]:
    """The values that are not numbers; booleans are not."""
    return [value for value in y.tolist() if not isinstance(value, Real) or isinstance(value, bool)]


def _taken_for_quantities(y: np.ndarray) -> bool:
    """Are whole numbers quantities (cents, counts) rather than class codes?

    Classes can be learned only if each has enough rows: values are class codes if each occurs at least as often as
    there are distinct values. Two values, or codes numbered from 0 or 1 without gaps, are clear cases; all others give
    a warning.
    """
    values, counts = np.unique(y, return_counts=True)
    if len(values) <= 2:
        return False
    quantities = bool(counts.min() < len(values))
    if quantities or values[0] not in (0, 1) or values[-1] - values[0] != len(values) - 1:
        taken, other = ("numbers", "classification") if quantities else ("classes", "regression")
        warnings.warn(
            f"y: {len(values)} distinct whole numbers in {len(y)} rows are treated as {taken}; "
            f"give task='{other}' if they are not, or task='{'regression' if quantities else 'classification'}' to "
            "confirm and silence this warning",
            UserWarning,
            stacklevel=4,
        )
    return quantities


def standardise(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the columns that vary, and scale all columns to mean 0 and deviation 1, with missing values at the mean.

    Args:
        x: (rows, N) float64; NaN = missing.

    Returns:
        (N,) bool and (rows, N) float64.
    """
    missing = np.isnan(x)
    counts = np.maximum((~missing).sum(axis=0), 1)
    filled = np.where(missing, 0.0, x)
    # Scale by a power of two near the largest value: squares neither overflow nor underflow, and no digit changes.
    _, exponents = np.frexp(np.abs(filled).max(axis=0))
    filled = np.ldexp(filled, -exponents)
    mean = filled.sum(axis=0) / counts
    centred = np.where(missing, 0.0, filled - mean)
    spread = np.sqrt((centred**2).sum(axis=0) / counts)
    varies = spread > 1e-12 * np.abs(mean)
    return varies, centred / np.where(varies, spread, 1.0)

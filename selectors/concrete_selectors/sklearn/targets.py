"""What the decoder of a scikit-learn estimator is trained for: a table's own columns, classes, or a number."""

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
    """Target of a decoder.

    Attributes:
        target: (rows, ...), float32, or int64 codes of classes.
        n_outputs: outputs of the decoder.
        loss: of outputs and target, per row.
    """

    target: Tensor
    n_outputs: int
    loss: Loss

    @classmethod
    def reconstruction(cls, inputs: Tensor) -> Self:
        """The standardised matrix (rows, N) itself, by squared error."""
        return cls(inputs, inputs.shape[1], lambda out, y: (out - y).square().mean(dim=1))

    @classmethod
    def supervised(cls, y: np.ndarray, task: Task = "auto") -> Self:
        """A target (rows,): classes by cross-entropy, numbers, standardised, by squared error.

        Args:
            y: the target.
            task: what it is; ``auto`` = see ``IPCAESelector``.

        Raises:
            ValueError: all values are equal, they do not compare with each other, or they do not fit the task.
        """
        y = column_or_1d(y, warn=True)
        numbers = _as_numbers(y)
        if task == "regression":
            if numbers is None:
                raise ValueError(f"task='regression': y holds {_no_numbers(y)[0]!r}, which is no number; encode it")
            return cls._numbers(numbers)
        whole = numbers is None or _are_whole(numbers)
        if task == "classification":
            if not whole:
                raise ValueError("task='classification': y holds numbers with fractions; give task='regression'")
            return cls._classes(y)
        if numbers is not None and (not whole or _taken_for_quantities(numbers)):
            return cls._numbers(numbers)
        return cls._classes(y)

    @classmethod
    def _numbers(cls, y: np.ndarray) -> Self:
        varies, scaled = standardise(y.reshape(-1, 1))
        if not varies.all():
            raise ValueError("y: all its values are equal; a supervised selection needs a target that varies")
        target = torch.as_tensor(scaled, dtype=torch.float32)
        return cls(target, 1, lambda out, goal: (out - goal).square().squeeze(1))

    @classmethod
    def _classes(cls, y: np.ndarray) -> Self:
        try:
            classes, codes = np.unique(y, return_inverse=True)
        except TypeError as error:  # texts together with None, for example
            kinds = ", ".join(sorted({type(value).__name__ for value in y}))
            raise ValueError(f"y: holds values that do not compare ({kinds}); give classes of one type") from error
        if len(classes) < 2:
            only = classes.tolist()[0]  # a plain value: its repr has no type
            raise ValueError(f"y: holds 1 class ({only!r}); a supervised selection needs 2, or fit without y")
        target = torch.as_tensor(codes, dtype=torch.int64)
        return cls(target, len(classes), lambda out, goal: functional.cross_entropy(out, goal, reduction="none"))


def _as_numbers(y: np.ndarray) -> np.ndarray | None:
    """The target as float64; None where it holds texts, flags, dates or other objects."""
    if y.dtype.kind in "iuf" or (y.dtype.kind == "O" and not _no_numbers(y)):
        return y.astype(np.float64)
    return None


def _are_whole(numbers: np.ndarray) -> bool:
    """Whether all numbers are whole and below 2^53, beyond which floats have no fractions."""
    return bool((numbers == np.floor(numbers)).all() and np.abs(numbers).max() < 2.0**53)


def _no_numbers(y: np.ndarray) -> list[Any]:
    """The values that are no numbers; flags are none."""
    return [value for value in y.tolist() if not isinstance(value, Real) or isinstance(value, bool)]


def _taken_for_quantities(y: np.ndarray) -> bool:
    """Are whole numbers quantities (cents, counts) rather than codes of classes?

    Classes can be learned where each has rows; so codes are what occurs at least as often, each, as there are
    different ones. Only two values, or codes that count from 0 or 1, go without a warning.
    """
    values, counts = np.unique(y, return_counts=True)
    if len(values) <= 2:
        return False
    quantities = bool(counts.min() < len(values))
    if quantities or values[0] not in (0, 1) or values[-1] - values[0] != len(values) - 1:
        taken, other = ("numbers", "classification") if quantities else ("classes", "regression")
        warnings.warn(
            f"y: {len(values)} different whole numbers in {len(y)} rows are taken for {taken}; "
            f"give task='{other}' if they are not, or task='{'regression' if quantities else 'classification'}' to "
            "say that they are",
            UserWarning,
            stacklevel=4,
        )
    return quantities


def standardise(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which columns vary, and all of them with mean 0, deviation 1 and missing values at the mean.

    Args:
        x: (rows, N) float64; NaN = missing.

    Returns:
        (N,) bool and (rows, N) float64.
    """
    missing = np.isnan(x)
    counts = np.maximum((~missing).sum(axis=0), 1)
    filled = np.where(missing, 0.0, x)
    # the power of two next to the largest value: squares neither overflow nor vanish, and no digit changes
    _, exponents = np.frexp(np.abs(filled).max(axis=0))
    filled = np.ldexp(filled, -exponents)
    mean = filled.sum(axis=0) / counts
    centred = np.where(missing, 0.0, filled - mean)
    spread = np.sqrt((centred**2).sum(axis=0) / counts)
    varies = spread > 1e-12 * np.abs(mean)
    return varies, centred / np.where(varies, spread, 1.0)

"""What the decoder of a scikit-learn estimator is trained for: a table's own columns, classes, or a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import column_or_1d
from torch import Tensor
from torch.nn import functional

from concrete_selectors.contract import Loss


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
    def supervised(cls, y: np.ndarray) -> Self:
        """A target (rows,): classes by cross-entropy, numbers, standardised, by squared error.

        Raises:
            ValueError: all values are equal, or they do not compare with each other.
        """
        y = column_or_1d(y, warn=True)
        # type_of_target would cast numbers of this size to integers
        beyond = y.dtype.kind == "f" and bool((np.abs(y) >= 2.0**63).any())
        if beyond or type_of_target(y).startswith("continuous"):
            return cls._numbers(y)
        return cls._classes(y)

    @classmethod
    def _numbers(cls, y: np.ndarray) -> Self:
        varies, scaled = standardise(np.asarray(y, dtype=np.float64).reshape(-1, 1))
        if not varies.all():
            raise ValueError("y: all its values are equal; a supervised selection needs a target that varies")
        target = torch.as_tensor(scaled, dtype=torch.float32)
        return cls(target, 1, lambda out, goal: (out - goal).square().squeeze(1))

    @classmethod
    def _classes(cls, y: np.ndarray) -> Self:
        try:
            classes, codes = np.unique(y, return_inverse=True)
        except TypeError as error:  # texts beside None, say
            kinds = ", ".join(sorted({type(value).__name__ for value in y}))
            raise ValueError(f"y: holds values that do not compare ({kinds}); give classes of one type") from error
        if len(classes) < 2:
            only = classes.tolist()[0]  # a plain value: its repr has no type
            raise ValueError(f"y: holds 1 class ({only!r}); a supervised selection needs 2, or fit without y")
        target = torch.as_tensor(codes, dtype=torch.int64)
        return cls(target, len(classes), lambda out, goal: functional.cross_entropy(out, goal, reduction="none"))


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

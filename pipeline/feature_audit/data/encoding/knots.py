"""Numbers as positions on knots: choosing the knots, and looking up positions in constant time."""

from __future__ import annotations

import numpy as np


def quantile_knots(values: np.ndarray, max_bins: int) -> np.ndarray:
    """Knots of a numeric column: all distinct values if they are few, else atoms and quantiles of the rest.

    An *atom* is a value with at least 1 / max_bins of the rows; it gets a knot, and the remaining knots are quantiles
    of the other rows, so that a column of mostly zeros still resolves its tail.

    Args:
        values: float (rows,); NaN and infinities are ignored.
        max_bins: maximum number of knots.

    Returns:
        Increasing float64 (at most max_bins,), at least one; every knot is a value that occurs.
    """
    finite = np.sort(values[np.isfinite(values)])
    if not len(finite):
        return np.zeros(1)
    distinct, counts = np.unique(finite, return_counts=True)
    if len(distinct) <= max_bins:
        return distinct
    atom = counts >= len(finite) / max_bins
    atoms, rest = distinct[atom], np.repeat(distinct[~atom], counts[~atom])
    ends = distinct[[0, -1]]
    free = max(2, max_bins - len(np.union1d(atoms, ends)))
    places = np.linspace(0, len(rest) - 1, free + 2)[1:-1].round().astype(np.int64)
    knots = np.unique(np.concatenate([atoms, ends, rest[places]]))
    if len(knots) <= max_bins:
        return knots
    return np.unique(np.quantile(finite, np.linspace(0, 1, max_bins), method="nearest"))


def median_knot(values: np.ndarray, knots: np.ndarray) -> int:
    """Position (1 = first knot) of the knot nearest to the median; 0 if no value is finite.

    Args:
        values: float (rows,); NaN and infinities are ignored.
        knots: increasing float64.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0
    median = np.quantile(finite, 0.5, method="nearest")  # an observed value: the mode if it has most rows
    return 1 + int(np.abs(knots - median).argmin())


class Positions:
    """``np.interp`` onto 1, 2, ..., len(knots), several times faster.

    The leading bits of a float32 (sign, exponent, five of the mantissa) identify a cell of the number line. A table
    holds the number of knots at or below the start of each cell, and a few comparisons with the next knots complete the
    search. Numbers are first centred on the middle knot: cells are finest around zero, where most columns' knots are
    densest. If float32 precision cannot keep positions within 1e-4, NumPy's search is used.
    """

    _DROPPED_BITS = 18
    _MOST_STEPS = 6
    _BLOCK = 16_384  # block size: intermediate arrays stay in the cache and in the allocator's pools

    def __init__(self, knots: np.ndarray) -> None:
        self._knots = knots
        self._target = np.arange(1, len(knots) + 1, dtype=np.float64)
        self._centre = float(knots[len(knots) // 2])
        self._steps = 0
        if np.abs(knots).max() < 1e30:
            self._near = (knots - self._centre).astype(np.float32)
            if self._fits_float32():
                self._build_table()

    def __call__(self, numbers: np.ndarray) -> np.ndarray:
        """Positions as float32 (rows,), NaN for NaN; numbers beyond the ends are clamped.

        Args:
            numbers: float32, float64 or integers (rows,).
        """
        if not self._steps:
            exact = numbers.astype(np.float64)
            position = np.interp(exact, self._knots, self._target)
            return np.where(np.isnan(exact), np.nan, position).astype(np.float32)
        position = np.empty(len(numbers), dtype=np.float32)
        for start in range(0, len(numbers), self._BLOCK):
            block = slice(start, start + self._BLOCK)
            position[block] = self._search(numbers[block])
        return position

    def _search(self, numbers: np.ndarray) -> np.ndarray:
        exact = numbers if numbers.dtype == np.float32 else numbers.astype(np.float64)
        near = exact - exact.dtype.type(self._centre)
        np.clip(near, self._near[0], self._near[-1], out=near)
        near = near.astype(np.float32, copy=False)
        cell = (near.view(np.uint32) >> self._DROPPED_BITS).astype(np.intp)
        place = self._table.take(cell).astype(np.intp)
        for _ in range(self._steps):
            place += near >= self._following.take(place)
        near -= self._origin.take(place)
        near *= self._slope.take(place)
        near += self._start.take(place)
        return near

    def _fits_float32(self) -> bool:
        """True if rounding to float32 changes no position by more than 1e-4."""
        gaps = np.diff(self._knots)
        if not len(gaps) or gaps.min() < 1e-30:
            return False
        size = np.abs(self._knots - self._centre)
        rounding = np.maximum(size[1:], size[:-1]) * 2.0**-24
        return bool((rounding / gaps < 1e-4).all() and (np.diff(self._near) > 0).all())

    def _build_table(self) -> None:
        cells = np.arange(2 ** (32 - self._DROPPED_BITS), dtype=np.uint32) << self._DROPPED_BITS
        one, other = cells.view(np.float32), (cells | (2**self._DROPPED_BITS - 1)).view(np.float32)
        first, last = np.fmin(one, other), np.fmax(one, other)  # below zero, more bits mean smaller numbers
        below = np.searchsorted(self._near, first, side="right")
        inside = np.searchsorted(self._near, last, side="right") - below
        inside[np.isnan(one) | np.isnan(other)] = 0
        most = max(1, int(inside.max()))
        if most > self._MOST_STEPS:
            return
        self._steps = most
        self._table = below.astype(np.uint8 if len(self._knots) < 255 else np.uint16)
        self._following = np.append(self._near, np.float32(np.inf))
        self._origin = np.append(self._near[0], self._near)
        slope = 1.0 / np.diff(self._near.astype(np.float64))
        self._slope = np.concatenate([[0.0], slope, [0.0]]).astype(np.float32)
        self._start = np.append(1.0, self._target).astype(np.float32)

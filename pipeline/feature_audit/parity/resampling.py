"""Paired bootstrap over units: all models and metrics see the same resampled users."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from feature_audit.parity.clusters import unit_sums

MOST_UNITS = 100_000
_BLOCK_CELLS = 4_000_000  # weights held at once: 32 MB in float64


def resampled_sums(sums: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Sums over multinomial resamples of the units.

    Beyond ``MOST_UNITS`` units are first pooled at random into that many groups, which are resampled instead: the
    variance of the resamples stays the same in expectation and is off by 0.5 % at most (sqrt(2 / MOST_UNITS)).

    Args:
        sums: (units, q) float64 addends, all statistics of all models side by side.
        draws: number of resamples.
        seed: of the generator; the same seed gives the same resamples.

    Returns:
        (draws, q) float64.
    """
    if len(sums) > MOST_UNITS:
        groups = np.random.default_rng([seed, 1]).permutation(len(sums)) % MOST_UNITS
        sums = unit_sums(sums, groups, MOST_UNITS)
    blocks = [weights @ sums for weights in unit_weights(len(sums), draws, seed)]
    return np.concatenate(blocks) if blocks else np.empty((0, sums.shape[1]))


def unit_weights(n_units: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Multinomial counts of ``n_units`` draws with replacement, in blocks of (<= draws, n_units) float64."""
    rng = np.random.default_rng(seed)
    size = max(1, min(draws, _BLOCK_CELLS // max(n_units, 1)))
    for start in range(0, draws, size):
        block = min(size, draws - start)
        weights = np.empty((block, n_units))
        for row in weights:
            row[:] = np.bincount(rng.integers(0, n_units, n_units, dtype=np.int32), minlength=n_units)
        yield weights

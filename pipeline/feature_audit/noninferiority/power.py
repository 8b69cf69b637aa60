"""Numbers of test users or seeds with which an inconclusive audit would be decided."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from scipy import optimize, special

from feature_audit.noninferiority.comparison import Comparison
from feature_audit.noninferiority.components import Components, seed_weight
from feature_audit.noninferiority.intervals import PASS_SHARE, degrees_of_freedom
from feature_audit.results import DECIDES

MOST_SEEDS = 100
MOST_ROWS = 1000.0  # times the current test split
_LEVELS = (np.arange(400) + 0.5) / 400  # quantiles for sampling the distribution of a standard error


def needed(
    comparison: Comparison,
    enough: Sequence[tuple[int, int]],
    *,
    confidence: float,
    seeds: tuple[int, int],
    cluster_name: str,
) -> str:
    """One sentence: how many test clusters or seeds would decide the question if the estimate stays the same.

    Args:
        comparison: the undecided comparison, with its margin.
        enough: its ``enough_trainings``.
        confidence: confidence of the decision on other test clusters.
        seeds: pruned and baseline trainings so far.
        cluster_name: name of the resampling units.
    """
    delta, parts = comparison.delta, comparison.parts
    gap = _gap(comparison)
    if abs(gap) <= 1e-3 * parts.standard_error:
        return (
            "The estimate equals the margin, so no realistic amount of data would decide it; choose a larger K or "
            "margin."
        )
    options = []
    factor = _first(
        np.geomspace(1.05, MOST_ROWS, 200), lambda f: _decides(comparison, confidence, seeds, factor=float(f))
    )
    if factor is not None:
        times = _round_up(100 * factor) / 100
        options.append(
            f"about {_round_up(factor * comparison.clusters):,} test {cluster_name} ({times:g} times the current "
            "number)"
        )
    more = next((pruned for pruned, full in enough if full == seeds[1]), None)
    both = min((pair for pair in enough if pair[1] > seeds[1]), key=sum, default=None)
    if more is not None:
        options.append(f"{more:g} retrainings of the pruned model instead of {seeds[0]}")
    if both is not None and (more is None or sum(both) < more + seeds[1]):
        options.append(f"{both[0]} trainings of the pruned model and {both[1]} of the full model")
    if not options:
        return (
            f"If the true difference is {delta:+.2g}, neither {MOST_ROWS:,.0f} times as many test {cluster_name} nor "
            f"{MOST_SEEDS} retrainings would be enough; more of both, a larger K or a larger margin would."
        )
    side = "a pass" if gap > 0 else "a fail"
    sentence = f"If the true difference is {delta:+.2g}, {' or '.join(options)} would give {side} in 4 of 5 audits."
    return sentence if enough or not parts.seed_df else f"{sentence} More trainings would not be enough."


def enough_trainings(comparison: Comparison, *, confidence: float, seeds: tuple[int, int]) -> list[tuple[int, int]]:
    """Numbers of (pruned, full) trainings that would decide: for each number of full ones, the fewest pruned ones.

    Empty if no number does: row noise by itself is too large, the estimate equals the margin, or seed noise is unknown.
    Options with more full than pruned trainings are omitted: they cost more and decide no more.

    Args:
        comparison: the undecided comparison, with its margin.
        confidence: confidence of the decision with these trainings.
        seeds: pruned and full trainings so far; no option has fewer of either.
    """
    found: list[tuple[int, int]] = []
    parts = comparison.parts
    most_full = seeds[1] if parts.deployed else MOST_SEEDS  # there is one deployed model
    on_margin = abs(_gap(comparison)) <= 1e-3 * parts.standard_error
    if not parts.seed_df or on_margin or not _decides(comparison, confidence, (MOST_SEEDS, most_full)):
        return found
    for full in range(seeds[1], most_full + 1):
        numbers = range(seeds[0] + (full == seeds[1]), found[-1][0] if found else MOST_SEEDS)
        pruned = _first(numbers, partial(_enough_pruned, comparison, confidence, full))
        if pruned is not None:
            found.append((int(pruned), full))
        if found and found[-1][0] <= max(seeds[0], full):
            break
    return found


def _enough_pruned(comparison: Comparison, confidence: float, full: int, pruned: float) -> bool:
    return _decides(comparison, confidence, (int(pruned), full))


def _gap(comparison: Comparison) -> float:
    return comparison.delta + (comparison.margin or 0.0)


def _decides(comparison: Comparison, confidence: float, arms: tuple[int, int], factor: float = 1.0) -> bool:
    """Whether these trainings on ``factor`` times the clusters would decide if the estimate stays the same."""
    gap = _gap(comparison)
    level = 1 - (PASS_SHARE if gap > 0 else 1 - PASS_SHARE) * (1 - confidence)
    return chance(grown(comparison.parts, factor, arms), abs(gap), level) >= DECIDES


def grown(parts: Components, factor: float, arms: tuple[int, int]) -> Components:
    """Expected components with ``factor`` times the clusters and ``arms`` trainings of (pruned, baseline)."""
    weight = seed_weight(*arms, deployed=parts.deployed)
    # Each training's individual row noise averages out over seeds; common noise does not.
    own = parts.row - parts.common
    return replace(
        parts,
        row=(parts.common + own * weight / parts.weight) / factor,
        row_df=parts.row_df * factor,
        between=parts.seed + parts.shared_noise / factor,
        shared_noise=parts.shared_noise / factor,
        seed_df=(arms[0] - 1 if parts.deployed else sum(arms) - 2) if parts.seed_df else 0,
        weight=weight,
    )


def reach(parts: Components, level: float, power: float = DECIDES) -> float:
    """Distance from the margin that is decided with probability ``power``.

    The estimate divided by its estimated standard error is treated as noncentral t with the verdict's degrees of
    freedom. That is exact if there is only seed noise, and if there is none.

    Args:
        parts: expected components, such as from ``grown``.
        level: one-sided confidence of the decision, 1 - its error level.
        power: probability.
    """
    bound, spread = _bound(parts, level)
    furthest = float(bound * spread.max()) + 10.0
    gap = optimize.brentq(lambda errors: _share_beyond(errors, bound, spread) - power, -10.0, furthest, xtol=1e-6)
    return float(gap * parts.standard_error)


def chance(parts: Components, gap: float, level: float) -> float:
    """Probability of the decision at a true distance ``gap`` >= 0 from the margin; the inverse of ``reach``."""
    if parts.standard_error == 0:
        return float(gap > 0)
    return _share_beyond(gap / parts.standard_error, *_bound(parts, level))


def _bound(parts: Components, level: float) -> tuple[float, np.ndarray]:
    """The t quantile of the decision, and quantiles of the estimated standard error relative to the true one."""
    df = degrees_of_freedom(parts, 1 - level)
    return float(special.stdtrit(df, level)), np.sqrt(2 * special.gammaincinv(df / 2, _LEVELS) / df)


def _share_beyond(errors: float, bound: float, spread: np.ndarray) -> float:
    return float(special.ndtr(errors - bound * spread).mean())


def _first(values: Sequence[float] | np.ndarray, decides: Callable[[float], bool]) -> float | None:
    """The smallest value that decides; more data or seeds never decide less."""
    place = bisect_left(values, True, key=decides)
    return float(values[place]) if place < len(values) else None


def _round_up(count: float) -> int:
    """Round up to two significant digits, the precision of such a forecast."""
    unit = 10 ** max(int(np.floor(np.log10(max(count, 1)))) - 1, 0)
    return int(np.ceil(count / unit) * unit)

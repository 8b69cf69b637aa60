"""What an inconclusive audit would need: test users or seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import stats

from feature_audit.parity.components import Components
from feature_audit.parity.intervals import critical_value

POWER = 0.8
MOST_SEEDS = 100
MOST_ROWS = 1000.0  # times the present test split


def needed(
    delta: float,
    parts: Components,
    *,
    margin: float,
    confidence: float,
    units: int,
    seeds: tuple[int, int],
    unit_name: str,
) -> str:
    """One sentence: how many test units, or how many seeds, would decide if the estimate stays as it is.

    Args:
        delta: the estimate.
        parts: its variance components.
        margin, confidence: of the decision.
        units: of the test split.
        seeds: pruned and baseline trainings so far.
        unit_name: what the units are called.
    """
    gap = delta + margin
    side = "a pass" if gap > 0 else "a fail"
    if abs(gap) <= 1e-3 * parts.standard_error:
        return "The estimate sits on the margin: no realistic amount of data decides this; choose a larger K or margin."
    level = confidence if gap > 0 else 0.5 + confidence / 2

    def decides(factor: float, arms: tuple[int, int]) -> bool:
        return abs(gap) >= _reach(grown(parts, factor, seeds, arms), level)

    options = []
    factor = _smallest_factor(lambda f: decides(f, seeds))
    if factor is not None:
        more = f"about {_round_up(factor * units):,} test {unit_name} ({factor:.2g} times as many)"
        options.append(more)
    if parts.seed_df:
        count = next((s for s in range(seeds[0] + 1, MOST_SEEDS) if decides(1.0, (s, seeds[1]))), None)
        if count is not None:
            options.append(f"{count} retrainings of the pruned model instead of {seeds[0]}")
        both = next((s for s in range(max(seeds) + 1, MOST_SEEDS) if decides(1.0, (s, s))), None)
        if both is not None and (count is None or both + seeds[1] < count):
            options.append(f"{both} trainings of both models")
    if not options:
        return (
            f"If the difference is really {delta:+.2g}, neither {MOST_ROWS:,.0f} times the test rows nor "
            f"{MOST_SEEDS} retrainings alone would decide it; more of both, a larger K or a larger margin would."
        )
    return f"If the difference is really {delta:+.2g}, {' or '.join(options)} would give {side} in 4 of 5 audits."


def grown(parts: Components, factor: float, seeds: tuple[int, int], arms: tuple[int, int]) -> Components:
    """Expected components with ``factor`` times the units and ``arms`` trainings of (pruned, baseline)."""
    weight = 1 / arms[0] + 1 / arms[1]
    # Each training's own row noise averages out over seeds; what both arms share does not.
    own = parts.row - parts.common
    return replace(
        parts,
        row=(parts.common + own * weight / parts.weight) / factor,
        row_df=parts.row_df * factor,
        between=parts.seed + parts.shared_noise / factor,
        shared_noise=parts.shared_noise / factor,
        seed_df=arms[0] + arms[1] - 2 if parts.seed_df else 0,
        weight=weight,
    )


def _reach(parts: Components, level: float) -> float:
    """Distance from the margin that is decided with probability ``POWER``."""
    quantile = critical_value(parts, 1 - level) + stats.norm.ppf(POWER)
    return float(quantile * parts.standard_error)


def _smallest_factor(decides: Callable[[float], bool]) -> float | None:
    for factor in np.geomspace(1.05, MOST_ROWS, 200):
        if decides(float(factor)):
            return float(factor)
    return None


def _round_up(count: float) -> int:
    """Two leading digits are all such a forecast is worth."""
    unit = 10 ** max(int(np.floor(np.log10(max(count, 1)))) - 1, 0)
    return int(np.ceil(count / unit) * unit)

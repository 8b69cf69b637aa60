"""The temperature of a concrete selector, as a pure function of the step."""

from __future__ import annotations


def temperature(step: int, *, steps: int, start: float, end: float, share: float = 1.0) -> float:
    """Exponential annealing ``start * (end / start) ** (t / T)`` (Abid et al. 2019, section 3.2), per step.

    The first step has exactly ``start``; the last step of the annealed share, and every later one, exactly ``end``.

    Args:
        step: index of the step, 0-based.
        steps: steps of the whole training.
        start: temperature of the first step, > 0.
        end: temperature at which annealing stops, > 0.
        share: part of the training over which the temperature falls, in (0, 1].

    Raises:
        ValueError: an argument is outside its range.
    """
    if steps < 1:
        raise ValueError(f"steps={steps}: give at least 1")
    if not 0 < share <= 1:
        raise ValueError(f"share={share}: give a number in (0, 1]")
    if start <= 0 or end <= 0:
        raise ValueError(f"start={start}, end={end}: give temperatures above 0")
    last = max(1, round(share * steps) - 1)
    if step >= last:
        return end
    return start * (end / start) ** (max(step, 0) / last)

"""What the planned trainings are expected to decide and, if that is too little, what would decide it.

The options assume a pruned model as good as the full one; each is listed with its trainings, price and predicted
chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from feature_audit.noninferiority.planning import MOST, Arms, Outlook
from feature_audit.results import DECIDES, PowerPlan

#: Maximum number of trainings, and maximum multiple of today's rows, in the advice.
_MOST_TRAININGS, _MOST_TIMES = 30, 100.0
#: A margin up to this multiple of the smallest one is considered equally good if it needs fewer trainings.
_NEARLY = 1.25
#: Test shares considered in the advice: with larger ones, too few train rows are left.
_TEST_SHARES = (0.25, 0.3, 0.35, 0.4, 0.45, 0.5)


@dataclass(frozen=True)
class Change:
    """Possible changes to an audit, and their prices.

    Attributes:
        confidence: confidence of another audit of this table.
        fresh_confidence: confidence of an audit of a table with other rows.
        price: price of an allocation in full trainings, on top of the audit without trainings.
        again: full trainings of the audit so far, which another split repeats.
        test_share: share of the test rows; None if the split is given.
    """

    confidence: float
    fresh_confidence: float
    price: Callable[[Arms], float]
    again: float
    test_share: float | None


def forecast(view: Outlook, arms: Arms, change: Change | None = None) -> PowerPlan:
    """What these trainings are expected to decide, with a sentence; with ``change`` also which changes would decide."""
    parts = view.on_test(arms)
    chance, decidable = view.chance(arms), view.decidable(arms)
    return PowerPlan(
        pruned=arms[0],
        full=arms[1],
        expected=view.expected,
        chance=chance,
        decidable=decidable,
        seed_noise=float(np.sqrt(parts.seed)),
        row_noise=float(np.sqrt(parts.row)),
        sentence=(f"Of the targets, {view.target} is the hardest to decide. " if view.target else "")
        + _sentence(view, arms, chance, decidable, change),
    )


def _sentence(view: Outlook, arms: Arms, chance: float, decidable: float, change: Change | None) -> str:
    trained = f"{arms[0]} pruned and {arms[1]} full training{'s' if arms[1] > 1 else ''}"
    if view.expected < 0:
        return f"Planned on validation: {trained}. The confirmations already show a loss beyond the margin."
    model = "a pruned model that equals the full one"
    if view.expected > 0:
        model = f"a pruned model that is {view.expected:.2g} better (a conservative estimate from the confirmations)"
    if chance >= DECIDES:
        return f"Planned on validation: with {trained}, {model} passes in about {chance:.0%} of audits."
    sentence = (
        f"With {trained}, {model} would pass in only about {chance:.0%} of audits at a margin of "
        f"{view.question.margin:g}. The smallest margin that these trainings can decide is {decidable:.2g}."
    )
    if change is None:
        return sentence
    return (
        f"{sentence} Options, with the pass probability of a model that equals the full one: "
        f"{_remedies(view, arms, change)}."
    )


def _remedies(view: Outlook, arms: Arms, change: Change) -> str:
    """Options with their chances: more trainings and another test share, the cheaper one first; a margin; more rows."""
    same = replace(view, expected=0.0, question=replace(view.question, confidence=change.confidence))
    fresh = replace(same, question=replace(view.question, confidence=change.fresh_confidence))
    # Where more trainings alone decide, an option that needs as many of them and something else has no use.
    short = [numbers for numbers in _numbers(same, arms, MOST) if same.chance(numbers) < DECIDES]
    priced = [*_more_trainings(same, arms, change), *_larger_test_split(same, short, change)]
    listed = [text for _, text in sorted(priced)]
    return "; ".join([*listed, _wider_margin(same, short, change), *_more_rows(fresh, short)])


def _numbers(view: Outlook, arms: Arms, most: int) -> list[Arms]:
    """Today's trainings, then larger numbers up to ``most`` for each model that is not deployed."""
    more = range(max(arms) + 1, most + 1)
    return [arms, *((number, arms[1] if view.parts.deployed else number) for number in more)]


def _keys(view: Outlook, numbers: Arms) -> str:
    return f"seeds={numbers[0]}" + ("" if view.parts.deployed else f" and baseline_seeds={numbers[1]}")


def _more_trainings(view: Outlook, arms: Arms, change: Change) -> Iterator[tuple[float, str]]:
    for numbers in _numbers(view, arms, _MOST_TRAININGS)[1:]:
        if (chance := view.chance(numbers)) >= DECIDES:
            cost = change.price(numbers) - change.price(arms)
            yield cost, f"{_keys(view, numbers)} ({chance:.0%}, {cost:.1f} more full trainings)"
            return


def _larger_test_split(view: Outlook, short: list[Arms], change: Change) -> Iterator[tuple[float, str]]:
    """``short``: today's trainings, and larger numbers that do not decide either."""
    now = change.test_share
    if now is None:
        return
    for share, numbers in product((one for one in _TEST_SHARES if one > now), short):
        if (chance := view.chance(numbers, share / now)) >= DECIDES:
            fewer, cost = 1 - (1 - share) / (1 - now), change.again + change.price(numbers)
            words = f"{chance:.0%}, a new audit of {cost:.1f} full trainings on {fewer:.0%} fewer train rows"
            yield cost, f"test_share={share:g}{_with(view, numbers, short[0])} ({words})"
            return


def _wider_margin(view: Outlook, short: list[Arms], change: Change) -> str:
    """With the fewest trainings whose margin is nearly the smallest; two of each may leave a far larger one."""
    arms = short[0]
    options = [(_rounded_up(view.decidable(numbers)), numbers) for numbers in short]
    smallest = min(margin for margin, _ in options)
    margin, numbers = next(one for one in options if one[0] <= _NEARLY * smallest)
    wider = replace(view, question=replace(view.question, margin=margin))
    cost = change.price(numbers) - change.price(arms)
    spent = f", {cost:.1f} more full trainings" if numbers != arms else ""
    return f"margin={margin:g}{_with(view, numbers, arms)} ({wider.chance(numbers):.0%}{spent})"


def _more_rows(view: Outlook, short: list[Arms]) -> Iterator[str]:
    for times, numbers in product(np.geomspace(1.1, _MOST_TIMES, 60), short):
        if (chance := view.chance(numbers, float(times))) >= DECIDES:
            yield f"{_rounded_up(float(times)):g} times as many rows{_with(view, numbers, short[0])} ({chance:.0%})"
            return


def _with(view: Outlook, numbers: Arms, arms: Arms) -> str:
    return f" with {_keys(view, numbers)}" if numbers != arms else ""


def _rounded_up(value: float) -> float:
    """Round up to two significant digits, the precision of such a forecast."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(f"{np.ceil(value / unit - 1e-9) * unit:.2g}")

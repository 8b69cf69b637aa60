"""Number of trainings for the verdict, planned on validation rows before any test row is read.

The plan may use the spread of the first trainings and the difference measured by the selection's confirmations, but not
the first trainings' own difference: they are part of the verdict, and a plan that grows only if they look bad would be
a second look. For the same reason their spread is shrunk towards a prior (``PRIOR_SHARE``): otherwise, two trainings
that happen to agree would end the plan early, exactly when the verdict's own noise estimate is too small as well.
docs/results/error-rates.md shows that the error rate is unaffected.

Both models are trained equally often, or the pruned one once more, unless the confirmations show a clear difference.
The full model's seed noise is only known from its own trainings, so the verdict keeps its error level even if one model
is noisier than the other, or a training occasionally fails (``benchmarks/parity/allocations.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from feature_audit.noninferiority import power
from feature_audit.noninferiority.components import Components
from feature_audit.noninferiority.intervals import PASS_SHARE

#: (pruned, full) trainings.
Arms = tuple[int, int]

#: Planned probability of a decision; below ``results.DECIDES`` a question counts as undecidable.
PLANNED_CHANCE = 0.9
#: An allocation this close to the best one's probability is as good; otherwise hopeless tables would cost most.
NEARLY = 0.05
#: Minimum and maximum number of trainings of either model; minimum number of pruned ones if the full model is trained
#: once. Two pruned models leave one degree of freedom for the seed noise: a 95% bound is then seven standard errors
#: wide.
FEWEST, MOST, FEWEST_ALONE = 2, 5, 3
#: Prior of the seed noise: this share of the margin, with the weight of this many degrees of freedom.
PRIOR_SHARE, PRIOR_DF = 0.4, 2


@dataclass(frozen=True)
class Question:
    """The question of the verdict.

    Attributes:
        margin, confidence: of the decision.
        test_ratio: test rows per validation row.
    """

    margin: float
    confidence: float
    test_ratio: float


@dataclass(frozen=True)
class Outlook:
    """Forecast of the verdict on the test split, from validation rows.

    Attributes:
        parts: variance components on the validation rows, with the planned seed noise.
        expected: planned difference (pruned - full); 0 = identical models.
        question: the question of the verdict.
        target: which of several targets it is for; empty if there is one.
    """

    parts: Components
    expected: float
    question: Question
    target: str = ""

    def chance(self, arms: Arms, rows: float = 1.0) -> float:
        """Probability of a pass (of a fail if ``expected`` is below -margin) with these trainings.

        Args:
            arms: numbers of trainings.
            rows: test rows, as a multiple of today's.
        """
        gap = self.expected + self.question.margin
        return power.chance(self.on_test(arms, rows), abs(gap), self._level(gap))

    def decidable(self, arms: Arms) -> float:
        """The smallest margin at which identical models pass with probability ``results.DECIDES``."""
        return power.reach(self.on_test(arms), self._level(1.0))

    def on_test(self, arms: Arms, rows: float = 1.0) -> Components:
        """Expected components on ``rows`` times the test rows."""
        return power.grown(self.parts, rows * self.question.test_ratio, arms)

    def _level(self, gap: float) -> float:
        return 1 - (PASS_SHARE if gap > 0 else 1 - PASS_SHARE) * (1 - self.question.confidence)


def outlook(
    found: Sequence[Components], arms: Arms, question: Question, estimate: tuple[float, float] | None
) -> Outlook:
    """Estimate the noise from the trainings so far, and the planned difference from a separate estimate.

    Args:
        found: components of the decision metric on the validation rows, one for each K; the seed noise is the mean over
            all, everything else is from the first one.
        arms: numbers of trainings behind each of them.
        question: the question of the verdict.
        estimate: difference and its standard error over rows, from other pruned trainings than these, or None.
    """
    df = len(found) * (arms[0] - 1) + arms[1] - 1
    noise = float(np.mean([parts.shared_noise for parts in found]))
    between = float(np.mean([parts.between for parts in found]))
    prior = (PRIOR_SHARE * question.margin) ** 2 + noise
    seed = max((df * between + PRIOR_DF * prior) / (df + PRIOR_DF) - noise, 0.0)
    parts = replace(found[0], between=seed + found[0].shared_noise)
    return Outlook(parts, _expected(estimate, seed, question), question)


def _expected(estimate: tuple[float, float] | None, seed: float, question: Question) -> float:
    """The bound of a clear gain, or of a clear loss beyond the margin; 0 if the estimate shows neither."""
    if estimate is None:
        return 0.0
    delta, error = estimate
    doubt = float(special.ndtri(question.confidence)) * float(np.sqrt(error**2 + 2 * seed))
    if delta - doubt > 0:
        return delta - doubt
    return min(delta + doubt, 0.0) if delta + doubt < -question.margin else 0.0


def allocations(seeds: int | None, baseline_seeds: int | None) -> list[Arms]:
    """(pruned, full) trainings to choose from, the fewest first; None = to be planned, a number is fixed."""
    if seeds is None and baseline_seeds is None:
        alone = [(number, 1) for number in range(FEWEST_ALONE, MOST + 1)]
        both = [(pruned, full) for full in range(FEWEST, MOST + 1) for pruned in (full, full + 1) if pruned <= MOST]
        return [*alone, *both]
    pruned = range(FEWEST_ALONE if baseline_seeds == 1 else FEWEST, MOST + 1) if seeds is None else (seeds,)
    full = range(1, min(max(pruned), MOST) + 1) if baseline_seeds is None else (baseline_seeds,)
    return [(one, other) for other in full for one in pruned]


def choose(
    options: Sequence[Arms], look: Callable[[Arms], Outlook], price: Callable[[Arms], float], most: float = np.inf
) -> tuple[Outlook, Arms]:
    """Start with the fewest trainings, and choose among the options based on their results.

    One training of the full model is enough only if the confirmations show a clear difference, or if it was requested.
    Otherwise a second one is used as well, because its noise is not known from the pruned models.

    Args:
        options: result of ``allocations``.
        look: trains the models, and estimates the noise from them.
        price: price of an option, in full trainings.
        most: maximum price; the cheapest option is always allowed.
    """
    fewest = min(pruned for pruned, _ in options), min(full for _, full in options)
    view = look(fewest)
    once = [arms for arms in options if arms[1] == 1]
    if once and len(once) < len(options):
        if view.expected and max(view.chance(arms) for arms in once) >= PLANNED_CHANCE:
            options = once
        else:
            options = [arms for arms in options if arms[1] > 1]
            view = look((fewest[0], 2))
    ordered = sorted(options, key=price)
    return view, _enough(view, ordered[:1] + [arms for arms in ordered[1:] if price(arms) <= most])


def _enough(view: Outlook, options: Sequence[Arms]) -> Arms:
    """The first allocation with a probability of ``PLANNED_CHANCE``, or nearly the best one's if none reaches it."""
    chances = [view.chance(arms) for arms in options]
    wanted = min(PLANNED_CHANCE, max(chances) - NEARLY)
    return next(arms for arms, one in zip(options, chances, strict=True) if one >= wanted)

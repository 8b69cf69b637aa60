"""The error of each look at the same test rows, and of all looks together."""

from __future__ import annotations

import math

import numpy as np
import pytest
from feature_audit.noninferiority import decide, look_confidence, percentage
from feature_audit.noninferiority.intervals import PASS_SHARE


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("planned", [1, 2, 3, 5])
def test_all_looks_together_pass_no_more_losses_than_the_audit_may(confidence: float, planned: int) -> None:
    """The sum of the false passes of all looks, as if no two of them coincided."""
    levels = [1 - look_confidence(confidence, look, planned) for look in range(1, 200)]
    assert PASS_SHARE * sum(levels) <= 1 - confidence
    assert sum(levels[:planned]) == pytest.approx(1 - confidence), "the plan spends what a single look has"
    assert min(levels) > 0


def test_a_single_look_is_judged_as_if_there_were_no_others() -> None:
    assert look_confidence(0.95, 1) == pytest.approx(0.95)


def test_every_unplanned_look_has_half_of_the_one_before() -> None:
    levels = [1 - look_confidence(0.95, look, 2) for look in (3, 4, 5)]
    assert levels == pytest.approx([0.0025, 0.00125, 0.000625])


def test_planned_looks_spend_late() -> None:
    """Spending function of Lan and DeMets: the first of two looks has .0056 of .05 (published tables: z = 2.77)."""
    assert 1 - look_confidence(0.95, 1, 2) == pytest.approx(0.00557, abs=1e-5)
    levels = [1 - look_confidence(0.95, look, 4) for look in (1, 2, 3, 4)]
    assert levels == sorted(levels)


def test_a_hopelessly_late_look_still_has_an_interval() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    scores = y + rng.normal(size=(4, 400))
    late = look_confidence(0.95, 5_000)
    assert late < 1
    row = decide(
        y=y, baseline=scores[:1], pruned=scores[1:], task="binary", metric="auc", margin=0.01, confidence=late, draws=0
    ).decision
    assert math.isfinite(row.ci_low)
    assert row.ci_low < row.delta < row.ci_high


@pytest.mark.parametrize(
    ("confidence", "text"),
    [(0.95, "95%"), (0.975, "97.5%"), (0.9525, "95.25%"), (0.9975, "99.75%"), (0.999975, "99.9975%"), (0.51, "51%")],
)
def test_a_level_is_never_rounded_to_certainty(confidence: float, text: str) -> None:
    assert percentage(confidence) == text

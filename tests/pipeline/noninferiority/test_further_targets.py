"""Several targets in one verdict: a pass needs all of them, each at the full confidence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from feature_audit.errors import AuditError
from feature_audit.noninferiority import decide
from feature_audit.noninferiority.guards import FurtherTarget
from feature_audit.question import GuardMode
from scipy.special import expit

ROWS, USERS = 2_400, 400


def asked(
    seed: int, *, loss: float = 0.0, mode: GuardMode = "not_worse", signal: float = 2.0, margin: float = 0.03
) -> Any:
    """Two labels of the same rows: the pruned models keep the signal of the first and lose ``loss`` of the second.

    ``loss`` is a share of the signal; the second label is known for two rows in three.
    """
    rng = np.random.default_rng(seed)
    user = rng.integers(0, USERS, ROWS)

    def arms(lost: float, strength: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x = strength * rng.normal(size=ROWS)
        y = (rng.random(ROWS) < expit(x)).astype(float)
        full = x + 0.02 * rng.normal(size=(2, ROWS))
        small = (1 - lost) * x + lost * 2.0 * rng.normal(size=ROWS) + 0.02 * rng.normal(size=(3, ROWS))
        return y, expit(full), expit(small)

    y, full, small = arms(0.0, 2.0)
    other, other_full, other_small = arms(loss, signal)
    other[rng.random(ROWS) < 1 / 3] = np.nan
    further = FurtherTarget("convert", "binary", "auc", margin, mode, other, other_full, other_small)
    return decide(
        y=y, baseline=full, pruned=small, cluster=user, task="binary", metric="auc", margin=0.03, draws=0,
        target="click", further=[further],
    )  # fmt: skip


def test_a_pass_needs_both_and_names_both() -> None:
    found = asked(0)
    assert found.verdict == "pass"
    assert [(row.target, row.metric, row.role) for row in found.deltas[:2]] == [
        ("click", "auc", "decision"),
        ("convert", "auc", "guard"),
    ]
    assert "AUC of click is " in found.sentence
    assert "AUC of convert is " in found.sentence
    assert found.deltas[1].rows == pytest.approx(ROWS * 2 / 3, rel=0.05)


def test_a_further_target_is_judged_on_the_rows_that_have_its_label() -> None:
    rng = np.random.default_rng(1)
    y, held = rng.integers(0, 2, 500).astype(float), rng.random(500) < 0.6
    full, small = rng.random((2, 500)) + 0.4 * y, rng.random((2, 500)) + 0.4 * y
    label = np.where(held, y, np.nan)
    further = FurtherTarget("b", "binary", "auc", 0.1, "not_worse", label, full, small)
    row = decide(
        y=1 - y, baseline=full, pruned=small, task="binary", metric="auc", margin=0.1, target="a", further=[further]
    ).deltas[1]
    alone = decide(y=y[held], baseline=full[:, held], pruned=small[:, held], task="binary", metric="auc", margin=0.1)
    assert (row.delta, row.ci_low, row.ci_high) == (alone.decision.delta, alone.decision.ci_low, alone.decision.ci_high)


@pytest.mark.parametrize("mode", ["not_worse", "not_shown_worse"])
def test_what_the_second_target_loses_is_not_passed(mode: GuardMode) -> None:
    found = [asked(seed, loss=0.5, mode=mode) for seed in range(20)]
    assert {one.verdict for one in found} == {"fail"}
    assert "loses more than the margin on AUC of convert" in found[0].sentence


def test_doubt_about_the_second_target_withholds_the_pass_unless_only_a_shown_loss_counts() -> None:
    needed, watched = (asked(0, mode=mode, loss=0.1, margin=0.003) for mode in ("not_worse", "not_shown_worse"))
    assert (needed.verdict, watched.verdict) == ("inconclusive", "pass")
    assert needed.needed is not None
    assert needed.needed.startswith("For AUC of convert: ")
    assert "no loss beyond 0.0030 is proven" in watched.sentence


def test_a_target_at_chance_proves_nothing() -> None:
    found = asked(0, signal=0.0, margin=0.2)
    assert found.verdict == "inconclusive"
    assert found.sentence.startswith("Inconclusive: of target convert: the full model is not better than chance")
    assert asked(0, signal=0.0, margin=0.2, mode="not_shown_worse").verdict == "pass"


def test_labels_that_cannot_be_judged_name_their_target() -> None:
    rng = np.random.default_rng(0)
    y, scores = rng.integers(0, 2, 300).astype(float), rng.random(300)
    few = np.where(np.arange(300) < 12, y, np.nan)
    further = FurtherTarget("b", "binary", "auc", 0.1, "not_worse", few, scores, scores)
    with pytest.raises(AuditError, match=r"^targets=b: metric=auc: \d+ positive and \d+ negative rows"):
        decide(y=y, baseline=scores, pruned=scores, task="binary", metric="auc", margin=0.1, further=[further])

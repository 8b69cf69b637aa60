"""Guards that count towards the verdict: what fails, what prevents a pass, and how often a guard is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from feature_audit.errors import UsageError
from feature_audit.noninferiority import decide
from feature_audit.question import Guard
from scipy.special import expit

ROWS, USERS = 2400, 400


def audit(seed: int, *, shift: float = 0.0, new_users: float = 0.0, own: float = 0.02) -> dict[str, np.ndarray]:
    """A full and three pruned models whose logits differ little, except for a shift or a loss for new users.

    Args:
        seed: seed of all random numbers.
        shift: added to the pruned models' logits, which keeps the order of rows and breaks calibration.
        new_users: share of a new user's signal that the pruned models lack.
        own: noise of each training.
    """
    rng = np.random.default_rng(seed)
    user = rng.integers(0, USERS, ROWS)
    signal = 2.5 * rng.normal(size=ROWS)
    y = (rng.random(ROWS) < expit(signal - 1)).astype(int)
    new = user < USERS // 10
    full = signal - 1 + own * rng.normal(size=ROWS)
    known = np.where(new, (1 - new_users) * signal + new_users * 2.5 * rng.normal(size=ROWS), signal)
    pruned = known - 1 + shift + own * rng.normal(size=(3, ROWS))
    activity = np.where(new, "new", "known")
    return {"y": y, "baseline": expit(full), "pruned": expit(pruned), "cluster": user, "activity": activity}


def ask(data: dict[str, np.ndarray], **changed: object):
    data = dict(data)
    slices = {"activity": data.pop("activity")}
    usual = {"task": "binary", "metric": "auc", "margin": 0.04, "slices": slices, "draws": 0}
    return decide(**{**usual, **data, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("broken", "mode"),
    [
        ("calibration", "not_worse"),
        ("new users", "not_shown_worse"),
        pytest.param("calibration", "not_shown_worse", marks=pytest.mark.slow),
        pytest.param("new users", "not_worse", marks=pytest.mark.slow),
    ],
)
def test_harm_outside_the_decision_metric_never_passes(broken: str, mode: str) -> None:
    """None of 100 audits passes although the AUC holds; without the guard, or without the harm, nearly all do."""
    harm: dict[str, float] = {"shift": 1.2} if broken == "calibration" else {"new_users": 0.6}
    guard: dict[str, object] = {"slice_margin": 0.03, "slice_mode": mode}
    if broken == "calibration":
        guard = {"guards": {"calibration": {"margin": 0.15, "mode": mode}}}
    harmed = [audit(seed, **harm) for seed in range(100)]
    assert [ask(one, **guard).verdict for one in harmed].count("pass") == 0
    assert [ask(one).verdict for one in harmed[:20]].count("pass") >= 19
    assert [ask(audit(seed), **guard).verdict for seed in range(20)].count("pass") >= 18


def test_a_guard_that_must_be_shown_withholds_the_pass_and_says_what_it_needs() -> None:
    data = audit(0, own=0.5)
    lenient, strict = (
        ask(data, guards={"logloss": {"margin": 0.003, "mode": mode}}) for mode in ("not_shown_worse", "not_worse")
    )
    assert lenient.verdict == lenient.decision.verdict == strict.decision.verdict == "pass"
    assert lenient.sentence.endswith("; inconclusive: log loss.")
    assert strict.verdict == "inconclusive"
    assert [(row.metric, row.mode, row.verdict) for row in strict.deltas[:2]] == [
        ("auc", None, "pass"),
        ("logloss", "not_worse", "inconclusive"),
    ]
    assert "a loss of 0.0400 or more is ruled out, but a loss beyond the margin is not ruled out on log loss" in (
        strict.sentence
    )
    assert strict.needed is not None
    assert strict.needed.startswith("For log loss: ")
    assert ask(data, guards={"logloss": Guard(0.5, "not_worse")}).verdict == "pass"


def test_a_guard_that_must_be_shown_and_is_shown_to_lose_fails() -> None:
    result = ask(audit(1, shift=0.6), guards={"calibration": Guard(0.01, "not_worse")})
    assert (result.decision.verdict, result.verdict) == ("pass", "fail")
    assert "loses more than the margin on CALIBRATION".casefold() in result.sentence.casefold()


def test_only_guards_that_a_shown_loss_fails_share_their_error() -> None:
    """Guards that must be shown to hold have the whole error each, because all of them must hold."""
    names = ("logloss", "calibration", "gauc")
    data = audit(2, own=0.3)
    alone = {name: ask(data, guards={name: Guard(0.004, "not_worse")}).deltas[1] for name in names}
    together = ask(data, guards={name: Guard(0.004, "not_worse") for name in names})
    assert together.diagnostics["correction"]["levels"] == {}
    assert {row.metric: row for row in together.deltas if row.role == "guard"} == alone
    mixed = ask(data, guards={"logloss": 0.004, "gauc": Guard(0.004), "calibration": Guard(0.004, "not_worse")})
    assert list(mixed.diagnostics["correction"]["levels"].values()) == pytest.approx([0.025, 0.025])
    assert mixed.deltas[-2:] != []
    assert next(row for row in mixed.deltas if row.metric == "calibration") == alone["calibration"]


def test_a_loss_of_the_margin_is_rarely_taken_for_shown_to_hold_or_shown_to_fail() -> None:
    """Regression, so that the true loss is known: labels have variance 1, the pruned models' error is 0.1 larger."""
    rng = np.random.default_rng(3)
    rows, loss = 400, float(np.sqrt(1.21) - 1)
    counts = {"not_worse": 0, "not_shown_worse": 0}
    for _ in range(600):
        signal, noise = 3 * rng.normal(size=rows), rng.normal(size=rows)
        y = signal + noise
        pruned = signal + np.sqrt(0.21) * rng.normal(size=rows) + 1e-3 * rng.normal(size=(3, rows))
        for mode in counts:
            guards = {"rmse": {"margin": loss, "mode": mode}}
            row = decide(
                y=y, baseline=signal, pruned=pruned, task="regression", metric="r2", margin=0.2, guards=guards, draws=0
            ).deltas[1]
            counts[mode] += row.verdict == ("pass" if mode == "not_worse" else "fail")
    assert all(0.02 <= count / 600 <= 0.07 for count in counts.values()), counts


def test_named_slices_must_all_be_judged_where_they_must_be_shown() -> None:
    data = audit(4)
    city = np.where(np.arange(ROWS) < 30, "Ghent", np.where(np.arange(ROWS) % 2 == 0, "Paris", "Rome"))

    def judged(mode: str, **values: list[str]):
        return ask(data, slices={"city": city}, slice_values=values, slice_margin=0.1, slice_mode=mode)

    assert [row.slice for row in judged("not_worse", city=["Rome"]).deltas[1:]] == ["city = Rome"]
    assert judged("not_worse", city=["Rome"]).verdict == "pass"
    assert judged("not_worse").verdict == "pass", "of a whole column, those that are large enough"
    small = judged("not_worse", city=["Rome", "Ghent", "Oslo"])
    assert small.verdict == "inconclusive"
    assert "city = Ghent (fewer than 50 rows)" in small.sentence
    assert "city = Oslo (no test rows)" in small.sentence
    assert (
        small.needed
        == "Use more test rows for city = Oslo (no test rows), city = Ghent (fewer than 50 rows), or fewer slices."
    )
    lenient = judged("not_shown_worse", city=["Rome", "Ghent", "Oslo"])
    assert lenient.verdict == "pass"
    assert {one["slice"] for one in lenient.diagnostics["small_slices"]} == {"city = Ghent", "city = Oslo"}


def test_a_slice_column_whose_slices_are_all_too_small_gives_no_pass() -> None:
    session = (np.arange(ROWS) // 20).astype(str)
    result = ask(audit(5), slices={"session": session}, slice_margin=0.1, slice_mode="not_worse")
    assert [row.slice for row in result.deltas] == ["all"]
    assert result.verdict == "inconclusive"


@pytest.mark.parametrize("most", [20, 30])
def test_as_many_values_as_were_chosen_are_slices(most: int) -> None:
    item = (np.arange(ROWS) % 40).astype(str)
    chosen = [str(value) for value in range(most)]
    result = ask(audit(6), slices={"item": item}, slice_values={"item": chosen})
    assert {row.slice for row in result.deltas[1:]} == {f"item = {value}" for value in chosen}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"margin": "1%"}, "margin=1%: a share cannot be resolved here"),
        ({"guards": {"logloss": "1%"}}, "guards.logloss=1%: a share cannot be resolved here"),
        ({"slice_margin": "1%"}, "slice_margin=1%: a share cannot be resolved here"),
        ({"guards": {"logloss": {"margin": 1, "mode": "strict"}}}, "choose not_shown_worse or not_worse"),
        ({"guards": {"rmse": 1.0}}, "rmse does not fit task=binary"),
        ({"guards": {"logloss": -1.0}}, "guards.logloss=-1.0: give a finite number of 0 or more"),
    ],
)
def test_a_mistake_in_a_guard_is_one_line(changed: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ask(audit(7), **changed)

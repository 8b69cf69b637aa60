"""The plan of the trainings: its choices, its predicted chance, and the error rate with planning."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from feature_audit.noninferiority.components import Components
from feature_audit.noninferiority.forecast import Change, forecast
from feature_audit.noninferiority.intervals import conclude
from feature_audit.noninferiority.planning import Arms, Outlook, Question, allocations, choose, outlook
from scipy import stats

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "benchmarks" / "parity"))
planned = pytest.importorskip("planned", reason="benchmarks/parity is part of the checkout, not of the package")
sys.path.pop(0)

QUESTION = Question(margin=0.002, confidence=0.95, test_ratio=4 / 3)
PLANNED = [(3, 1), (4, 1), (5, 1), (2, 2), (3, 2), (3, 3), (4, 3), (4, 4), (5, 4), (5, 5)]


def noise(
    arms: Arms, *, seed: float, shared: float = 0.0002, own: float = 0.00015, deployed: bool = False
) -> Components:
    """Validation results of several trainings; standard deviations of seeds, of common and of specific row noise."""
    weight = 1 / arms[0] + (0 if deployed else 1 / arms[1])
    row = shared**2 + weight * own**2
    df = sum(arms) - 2
    return Components(row, 500.0, seed**2 + own**2, own**2, df, weight, deployed)


def looking(
    estimate: tuple[float, float] | None = None, question: Question = QUESTION, ks: int = 1, **noises: float
) -> tuple[Callable[[Arms], Outlook], list[Arms]]:
    """A function that returns the same noise for all numbers of trainings, and the list of its calls."""
    looks: list[Arms] = []

    def look(arms: Arms) -> Outlook:
        looks.append(arms)
        return outlook([noise(arms, **noises)] * ks, arms, question, estimate)

    return look, looks


def price(arms: Arms) -> float:
    return 0.2 * arms[0] + arms[1] - 1


@pytest.mark.parametrize(
    ("seeds", "baseline_seeds", "options"),
    [
        (None, None, PLANNED),
        (4, 3, [(4, 3)]),
        (8, None, [(8, 1), (8, 2), (8, 3), (8, 4), (8, 5)]),
        (2, None, [(2, 1), (2, 2)]),
        (None, 1, [(3, 1), (4, 1), (5, 1)]),
        (None, 7, [(2, 7), (3, 7), (4, 7), (5, 7)]),
    ],
)
def test_numbers_that_are_given_stay_as_they_are(
    seeds: int | None, baseline_seeds: int | None, options: list[Arms]
) -> None:
    assert allocations(seeds, baseline_seeds) == options


def test_a_clear_surplus_needs_three_pruned_models_and_no_second_full_one() -> None:
    look, looks = looking(estimate=(0.02, 0.002), seed=0.0007)
    view, arms = choose(PLANNED, look, price)
    assert (arms, looks) == ((3, 1), [(2, 1)]), "two alone leave one degree of freedom for the seed noise"
    assert view.expected == pytest.approx(0.02 - 1.645 * np.hypot(0.002, 0.001), rel=0.02)
    assert forecast(view, arms).chance > 0.9


def test_a_surplus_that_is_clear_takes_more_pruned_models_before_another_full_one() -> None:
    """Two trainings have one degree of freedom; another pruned model costs a fraction of a full one."""
    look, looks = looking(estimate=(0.02, 0.002), seed=0.003, shared=0.0015)
    view, arms = choose(PLANNED, look, price)
    assert looks == [(2, 1)]
    assert arms[0] > 2
    assert arms[1] == 1
    assert view.chance(arms) >= 0.9 > view.chance((arms[0] - 1, 1))


@pytest.mark.parametrize("ks", [1, 6])
@pytest.mark.parametrize("estimate", [None, (0.0, 0.0003), (-0.0015, 0.0003), (0.001, 0.001)])
def test_without_a_clear_difference_the_full_model_shows_its_own_noise(
    estimate: tuple[float, float] | None, ks: int
) -> None:
    """However well the first trainings agree, they say nothing about the full model."""
    look, looks = looking(estimate=estimate, ks=ks, seed=0.0, shared=1e-5, own=1e-5)
    _, arms = choose(PLANNED, look, price)
    assert looks == [(2, 1), (2, 2)]
    assert arms[1] >= 2
    assert arms[0] - arms[1] in (0, 1)


def test_noisier_trainings_are_more() -> None:
    chosen = [choose(PLANNED, looking(seed=seed)[0], price)[1] for seed in (0.0001, 0.0007, 0.001)]
    assert chosen == sorted(chosen)
    assert chosen[0] < chosen[-1]


def test_where_row_noise_rules_the_cheapest_is_as_good() -> None:
    view, arms = choose(PLANNED, looking(seed=0.0001, shared=0.004)[0], price)
    assert arms == (2, 2)
    assert max(view.chance(other) for other in PLANNED) < view.chance(arms) + 0.05


def test_a_plan_that_is_too_expensive_is_not_chosen() -> None:
    look, _ = looking(seed=0.001)
    assert choose(PLANNED, look, price)[1] == (5, 4), "nearly as good as 5 + 5"
    assert choose(PLANNED, look, price, most=price((3, 3)))[1] == (3, 3)
    assert choose(PLANNED, look, price, most=0.0)[1] == (2, 2), "the cheapest is always allowed"


def test_a_clear_loss_is_not_trained_for_long() -> None:
    look, _ = looking(estimate=(-0.05, 0.002), seed=0.0004)
    view, arms = choose(PLANNED, look, price)
    assert view.expected < -0.04
    assert arms[1] <= 2
    assert "a loss beyond the margin" in forecast(view, arms).sentence


def test_the_seed_noise_is_estimated_over_all_k() -> None:
    """The mean over K; with more degrees of freedom, the prior counts less."""
    arms, loud = (2, 1), noise((2, 1), seed=0.003)
    alone = outlook([loud], arms, QUESTION, None).parts.seed
    three = outlook([loud] * 3, arms, QUESTION, None).parts.seed
    quiet = outlook([loud, noise(arms, seed=0.0), noise(arms, seed=0.0)], arms, QUESTION, None).parts.seed
    assert quiet < three
    assert alone < three < 0.003**2


def test_the_smallest_decidable_margin_is_decided_in_four_of_five_audits() -> None:
    look, _ = looking(seed=0.002)
    plan = forecast(look((3, 3)), (3, 3))
    assert plan.chance < 0.5
    wider = Question(plan.decidable, QUESTION.confidence, QUESTION.test_ratio)
    view = Outlook(look((3, 3)).parts, 0.0, wider)
    assert view.chance((3, 3)) == pytest.approx(0.8, abs=1e-3)


def change(confidence: float = 0.95, test_share: float | None = 0.2) -> Change:
    """The possible changes of an audit that has cost three full trainings."""
    return Change(confidence, 0.95, price, 3.0, test_share)


def remedies(view: Outlook, arms: Arms, changed: Change) -> dict[str, str]:
    """The remedies of the sentence in order: change -> its text."""
    advice = (
        forecast(view, arms, changed).sentence.partition(" of a model that equals the full one: ")[2].removesuffix(".")
    )
    return {one.split("=")[0] if "=" in one.split()[0] else "rows": one for one in advice.split("; ")}


def trainings(advice: str, arms: Arms) -> Arms:
    """The numbers of trainings that a remedy names; the current ones if it names none."""
    found = re.search(r"seeds=(\d+) and baseline_seeds=(\d+)", advice)
    return (int(found[1]), int(found[2])) if found else arms


def percent(advice: str) -> float:
    """The chance that a remedy names."""
    found = re.search(r"\((\d+)%", advice)
    assert found, advice
    return int(found[1]) / 100


def test_an_undecidable_audit_says_so_with_the_chance_of_the_plan() -> None:
    view = looking(seed=0.0012, shared=0.0004)[0]((2, 2))
    plan = forecast(view, (2, 2), change())
    assert not plan.can_decide
    found = re.search(r" (\d+)% of audits at .* can decide is ([\d.]+)\. Options, with", plan.sentence)
    assert found
    assert float(found[2]) == pytest.approx(plan.decidable, rel=0.06)
    assert int(found[1]) == round(100 * plan.chance)


@pytest.mark.parametrize("confidence", [0.95, 0.9975])
@pytest.mark.parametrize(
    ("arms", "noises"),
    [
        *product([(2, 2), (4, 4)], [{"seed": 0.0012, "shared": 0.0004}, {"seed": 0.0, "shared": 0.001, "own": 0.0}]),
        ((2, 2), {"seed": 0.0007}),
    ],
)
def test_every_remedy_would_decide_at_the_level_of_its_look(
    arms: Arms, noises: dict[str, float], confidence: float
) -> None:
    """A later look at this table needs more; a log with other rows is a new table with a first look."""
    view = looking(**noises)[0](arms)
    found = remedies(view, arms, change(confidence))
    later = Outlook(view.parts, 0.0, Question(0.002, confidence, QUESTION.test_ratio))
    first = Outlook(view.parts, 0.0, QUESTION)
    for name, advice in found.items():
        numbers, value = trainings(advice, arms), re.match(r"[a-z_]*=?([\d.]+)", advice)
        assert value
        assert name == "seeds" or later.chance(numbers) < 0.8, "so many trainings alone would decide"
        if name == "seeds":
            chance = later.chance(numbers)
            assert later.chance((numbers[0] - 1, numbers[1] - 1)) < 0.8
            assert f"{price(numbers) - price(arms):.1f} more full trainings" in advice
        elif name == "test_share":
            chance = later.chance(numbers, float(value[1]) / 0.2)
            assert f"{1 - (1 - float(value[1])) / 0.8:.0%} fewer train rows" in advice
            assert f"a new audit of {3 + price(numbers):.1f} full trainings" in advice
        elif name == "margin":
            chance = Outlook(view.parts, 0.0, Question(float(value[1]), confidence, 4 / 3)).chance(numbers)
        else:
            chance = first.chance(numbers, float(value[1]))
        assert chance >= 0.8, advice
        assert percent(advice) == pytest.approx(chance, abs=0.03), advice


def test_only_the_remedy_for_the_dominant_noise_is_advised() -> None:
    seeds = remedies(looking(seed=0.003, shared=0.0001)[0]((5, 5)), (5, 5), change())
    assert list(seeds) == ["seeds", "margin"]
    rows = remedies(looking(seed=0.0, shared=0.002, own=0.0)[0]((5, 5)), (5, 5), change())
    assert list(rows) == ["margin", "rows"]
    assert "seeds=" not in rows["margin"] + rows["rows"]


def test_a_split_that_is_given_is_not_advised_to_be_another() -> None:
    view = looking(seed=0.0, shared=0.001, own=0.0)[0]((4, 4))
    assert "test_share" in remedies(view, (4, 4), change())
    for now in (None, 0.5):
        assert "test_share" not in remedies(view, (4, 4), change(test_share=now))


def test_the_remedy_that_costs_fewer_trainings_comes_first() -> None:
    view = looking(seed=0.0004, shared=0.0007)[0]((2, 2))
    cheap, dear = (replace(change(), again=again) for again in (30.0, 0.0))
    assert list(remedies(view, (2, 2), cheap))[:2] == ["seeds", "test_share"]
    cheap_split = remedies(looking(seed=0.0, shared=0.0009, own=0.0)[0]((5, 5)), (5, 5), dear)
    assert next(iter(cheap_split)) == "test_share"


@pytest.mark.parametrize("margin", [0.0, 0.002])
def test_a_plan_without_any_noise_has_a_valid_chance(margin: float) -> None:
    look, _ = looking(question=Question(margin, 0.95, 1.0), seed=0.0, shared=0.0, own=0.0)
    plan = forecast(look((2, 2)), (2, 2))
    assert 0 <= plan.chance <= 1
    assert plan.sentence


@pytest.mark.parametrize(("seed", "arms"), [(0.0, (3, 3)), (0.0007, (3, 3)), (0.0007, (2, 1)), (0.001, (5, 2))])
def test_the_predicted_chance_is_the_share_that_passes(seed: float, arms: Arms) -> None:
    """With known noise, compared with ``conclude`` on simulated seed variances."""
    parts = noise(arms, seed=seed)
    view = Outlook(parts, 0.0, Question(0.002, 0.95, 1.0))
    rng = np.random.default_rng(1)
    df = parts.seed_df
    spread = parts.between * rng.chisquare(df, 4000) / df
    estimates = rng.normal(0, np.sqrt(parts.row + parts.weight * seed**2), 4000)
    drawn = [Components(parts.row, parts.row_df, one, parts.shared_noise, df, parts.weight) for one in spread]
    verdicts = [conclude(one, each, 0.002, 0.95).verdict for one, each in zip(estimates, drawn, strict=True)]
    assert view.chance(arms) == pytest.approx(verdicts.count("pass") / 4000, abs=0.05)


def test_a_deployed_model_has_no_seed_noise() -> None:
    arms = (3, 1)
    both, fixed = (outlook([noise(arms, seed=0.001, deployed=d)], arms, QUESTION, None) for d in (False, True))
    assert fixed.on_test(arms).weight == pytest.approx(1 / 3)
    assert fixed.on_test(arms).seed_df == both.on_test(arms).seed_df == 2
    assert fixed.chance(arms) > both.chance(arms) + 0.1
    assert re.match(r"seeds=\d+ \(", remedies(fixed, (2, 1), change())["seeds"]), "no second full model is asked for"


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"seed_noise": 0.0},
        {"seed_noise": 0.002},
        {"noise": "skewed"},
        {"optimism": 0.002},
        # The loss is relative to the one full model, whose seed effect belongs to the question, not to the noise.
        {"deployed": True, "full_noise": 0.0},
    ],
)
def test_planning_does_not_spoil_the_error(changes: dict[str, object]) -> None:
    """Validation and test share the seed effects of the trainings, on which the plan is based."""
    case = planned.Case("", **{"truth": -planned.MARGIN, **changes})
    rng = np.random.default_rng(3)
    passed = sum(planned.audit(case, rng)[0] for _ in range(1500))
    assert stats.binomtest(passed, 1500).proportion_ci(0.99).low <= 0.05


@pytest.mark.slow
def test_identical_models_pass_in_most_planned_audits() -> None:
    rng = np.random.default_rng(4)
    passed = sum(planned.audit(planned.Case(""), rng)[0] for _ in range(600))
    assert stats.binomtest(passed, 600).proportion_ci(0.99).high >= 0.85
    assert passed / 600 >= 0.8

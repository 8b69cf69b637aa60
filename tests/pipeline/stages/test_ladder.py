"""Several K in the retrain and parity stages: what is trained, in which order it is tested, where testing stops.

The K are set by the test; one small table passes through the stages, with a baseline selector, in a few seconds.
"""

from __future__ import annotations

import logging
import math
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from click_log import make_log
from feature_audit.config import AuditConfig
from feature_audit.data import Prepared
from feature_audit.errors import AuditError
from feature_audit.fitting import allocation, looks, trainings
from feature_audit.fitting.cache import StageFolder, open_folder, stage_key
from feature_audit.fitting.trained import train_one
from feature_audit.noninferiority import ParityResult, decide
from feature_audit.noninferiority.ladder import fixed_sequence
from feature_audit.orchestration.cost_plan import cost_plan
from feature_audit.results import CostPlan
from feature_audit.selection import Selection
from feature_audit.stages import baseline, load, parity, retrain, select
from feature_audit.stages.retrain import Retrained
from sklearn.metrics import roc_auc_score

RUNGS = (4, 3, 1)


@dataclass(frozen=True)
class Trained:
    """Everything up to the retrain stage, trained at ``RUNGS``."""

    config: AuditConfig
    prepared: Prepared
    full: baseline.Baseline
    selection: Selection
    pruned: Retrained
    home: Path

    def judge(self, name: str, **changes: Any) -> parity.Outcome:
        """Parity with other settings in a separate folder, or the result stored in that folder."""
        config = self.config.model_copy(update=changes)
        return parity.parity(config, self.prepared, self.full, self.pruned, folder(self.home, name))


def folder(home: Path, stage: str) -> StageFolder:
    return open_folder(home, stage_key(stage, config={}, inputs={}))


@pytest.fixture(scope="module")
def trained(few_steps: None, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    home = tmp_path_factory.mktemp("ladder")
    make_log(600).select(
        "user_id", "ts", "price_gap", "device", "taste", "noise_00", "noise_01", "clicked"
    ).write_parquet(home / "log.parquet")
    config = AuditConfig.model_validate(
        {
            "data": str(home / "log.parquet"), "target": "clicked", "time": "ts", "group": "user_id",
            "task": "binary", "metric": "auc", "margin": 0.9, "model": "mlp", "selector": "random", "trials": 1,
            "seeds": 2, "baseline_seeds": 2, "seed": 5, "work_dir": str(home), "training": {"max_epochs": 1},
        }
    )  # fmt: skip
    prepared = load.load(config, folder(home, "load"))
    full = baseline.baseline(config, prepared, folder(home, "baseline"))
    found = select.select(config, prepared, full, select.constraints_of(config, prepared), folder(home, "select"))
    selection = replace(found, rungs=RUNGS)
    pruned = retrain.retrain(config, prepared, full, selection, folder(home, "retrain"))
    return Trained(config, prepared, full, selection, pruned, home)


@pytest.fixture
def verdicts(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Replace the verdicts by the given ones, in order; returns a list with an entry per decision."""

    def plan(*given: str) -> list[int]:
        judged: list[int] = []

        def next_verdict(**arguments: Any) -> ParityResult:
            result = decide(**arguments)
            judged.append(len(judged))
            return replace(result, verdict=given[judged[-1]], sentence=f"verdict {judged[-1]}")  # type: ignore[arg-type]

        monkeypatch.setattr(parity, "decide", next_verdict)
        return judged

    return plan


def test_every_k_has_its_own_features_and_no_two_trainings_share_a_seed(trained: Trained) -> None:
    assert [rung.k for rung in trained.pruned.rungs] == list(RUNGS)
    names = np.asarray(trained.prepared.schema.names)
    for rung in trained.pruned.rungs:
        assert set(rung.schema.names) == set(names[trained.selection.order[: rung.k]])
        assert len(rung.facts) == 2
    seeds = [facts.seed for facts in (trained.full.facts, *trained.pruned.facts)]
    assert len(seeds) == 1 + 2 * len(RUNGS) + 1
    assert len(set(seeds)) == len(seeds)
    assert trained.pruned.compute == pytest.approx(sum(facts.compute for facts in trained.pruned.facts))


def test_the_key_holds_the_features_of_every_k_in_the_order_of_testing(trained: Trained) -> None:
    def features(*rungs: int) -> list[list[str]]:
        return retrain.features_of(trained.prepared, replace(trained.selection, rungs=rungs))

    assert [len(names) for names in features(*RUNGS)] == list(RUNGS)
    assert features(4, 3) != features(4, 1) != features(1, 4)
    assert features(3) == [features(4, 3)[1]]


def test_fewer_k_are_trained_if_all_would_cost_too_much(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The first K is always trained; configured numbers are trained at any cost."""

    def ks(name: str, most: float, **changes: Any) -> list[int]:
        monkeypatch.setattr(allocation, "MOST_TRAININGS", spent + most)
        config = trained.config.model_copy(update={"seeds": "auto", "baseline_seeds": "auto", **changes})
        place = folder(trained.home, name)
        return [
            rung.k for rung in retrain.retrain(config, trained.prepared, trained.full, trained.selection, place).rungs
        ]

    monkeypatch.setattr(allocation, "LARGE_TABLE", 0)
    spent = 1 + trained.selection.compute / trained.full.facts.compute
    caplog.set_level(logging.INFO)
    assert ks("cheap", 100.0) == list(RUNGS)
    assert "K are trained" not in caplog.text
    assert ks("dear", 0.0) == [RUNGS[0]]
    assert "only 1 of 3 values of K are trained" in caplog.text
    assert ks("given", 0.0, seeds=2) == list(RUNGS)


def test_a_killed_stage_trains_only_what_is_missing(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    place = trained.pruned.folder.path
    missing = trained.pruned.rungs[1].names[0]
    facts = (place / f"{missing}.json").read_text()
    seeds: list[int] = []

    def counted(*arguments: Any, **named: Any) -> Any:
        seeds.append(named["seed"])
        return train_one(*arguments, **named)

    monkeypatch.setattr(trainings, "train_one", counted)
    (place / "DONE.json").unlink()
    (place / f"{missing}.json").unlink()
    again = retrain.retrain(trained.config, trained.prepared, trained.full, trained.selection, trained.pruned.folder)
    assert seeds == [trained.pruned.rungs[1].facts[0].seed]
    assert again.rungs[1].facts[0].metric == trained.pruned.rungs[1].facts[0].metric
    (place / f"{missing}.json").write_text(facts)  # the seconds of the first training


def test_the_plan_counts_the_trainings_of_every_k(trained: Trained) -> None:
    def plan(**changes: Any) -> CostPlan:
        config = trained.config.model_copy(update=changes)
        constraints = select.constraints_of(config, trained.prepared)
        return cost_plan(config, trained.prepared, trained.full, constraints)

    free, two, fixed = plan(), plan(k=3, k_min=2), plan(k=3, k_min=3)
    assert "2 pruned models for each of 1 to 3 values of K" in free.text
    assert "2 pruned models for each of 1 to 2 values of K" in two.text
    assert "2 pruned models, " in fixed.text
    more = [plan(seeds=3, k=3, k_min=least) for least in (2, 3)]
    grown = [big.trainings_high - small.trainings_high for big, small in zip(more, (two, fixed), strict=True)]
    assert grown[0] == pytest.approx(2 * grown[1]), "one more seed is one more training at each K"


@pytest.mark.parametrize(
    ("given", "k", "judged"),
    [
        (("pass", "pass", "pass"), 1, 3),
        (("pass", "pass", "inconclusive"), 3, 3),
        (("pass", "fail", "pass"), 4, 2),
        (("pass", "inconclusive", "pass"), 4, 2),
        (("fail", "pass", "pass"), 4, 1),
        (("inconclusive", "pass", "pass"), 4, 1),
    ],
)
def test_testing_stops_at_the_first_that_does_not_pass(
    trained: Trained, verdicts: Callable[..., list[int]], given: tuple[str, ...], k: int, judged: int
) -> None:
    asked = verdicts(*given)
    outcome = trained.judge("-".join(given))
    assert len(asked) == judged
    assert outcome.k == k
    assert outcome.result.verdict == given[RUNGS.index(k)]
    assert outcome.result.sentence == f"verdict {RUNGS.index(k)}"
    assert [rung.k for rung in outcome.ladder] == list(RUNGS)
    for place, rung in enumerate(outcome.ladder):
        figures = (rung.delta, rung.ci_low, rung.ci_high, rung.sentence)
        if place < judged:
            assert (rung.tested_as, rung.verdict) == (place + 1, given[place])
            assert None not in figures
        else:
            assert (rung.tested_as, rung.verdict) == (None, None)
            assert set(figures) == {None}, "what was not tested is no evidence"
        assert rung.share_dropped == pytest.approx(1 - rung.k / 5)


@pytest.mark.parametrize(("margin", "verdict", "k"), [(0.9, "pass", 3), (0.0, "inconclusive", 4)])
def test_predictions_and_figures_are_those_of_the_proven_k(
    trained: Trained, margin: float, verdict: str, k: int
) -> None:
    name = f"margin {margin}"
    outcome = trained.judge(name, margin=margin)
    assert (outcome.k, outcome.result.verdict) == (k, verdict)
    rows = pl.read_parquet(outcome.folder.path / parity.PREDICTIONS)
    assert rows.columns == ["row_id", "group", "y", "baseline", "baseline_1", "pruned_0", "pruned_1"]
    quality = np.mean([roc_auc_score(rows["y"], rows[f"pruned_{number}"]) for number in range(2)])
    assert outcome.result.decision.pruned == pytest.approx(quality)
    rung = next(rung for rung in outcome.ladder if rung.k == k)
    decision = outcome.result.decision
    assert (rung.delta, rung.ci_low, rung.ci_high) == (decision.delta, decision.ci_low, decision.ci_high)
    again = trained.judge(name, margin=margin)
    assert (again.k, again.ladder, again.look) == (outcome.k, outcome.ladder, outcome.look)
    assert again.result.deltas == outcome.result.deltas


def test_the_k_of_an_audit_are_one_look_at_the_test_rows(trained: Trained) -> None:
    first, second = trained.judge("one look"), trained.judge("the same trainings")
    assert first.look == second.look
    assert first.look.number == 1
    assert len(os.listdir(trained.home / looks.FOLDER)) == 1


def test_rows_are_counted_for_the_first_look_at_a_new_table(trained: Trained, tmp_path: Path) -> None:
    """The first of three planned looks has a small part of the error, also on new rows."""

    def rows(looks: int) -> float:
        outcome = trained.judge(f"rows {looks}", looks=looks, margin=0.001, work_dir=str(tmp_path / str(looks)))
        assert outcome.result.needed
        found = re.search(r"about ([\d,]+) test user_id values", outcome.result.needed)
        return int(found[1].replace(",", "")) if found else math.inf

    assert rows(3) > rows(1)


@pytest.mark.parametrize(("broken", "proven"), [(3, 4), (1, 3)])
def test_a_k_whose_scores_are_no_numbers_ends_the_testing_and_not_the_audit(
    trained: Trained, broken: int, proven: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = open_folder(tmp_path, stage_key("retrain", config={}, inputs={}))
    shutil.copytree(trained.pruned.folder.path, copy.path, dirs_exist_ok=True)
    weights = copy.path / f"pruned_{broken}_1.pt"
    state = torch.load(weights, weights_only=True)
    torch.save({name: torch.full_like(value, float("nan")) for name, value in state.items()}, weights)
    found = replace(trained, pruned=replace(trained.pruned, folder=copy)).judge(f"broken_{broken}", looks=9)
    assert found.k == proven
    assert [rung.verdict for rung in found.ladder] == ["pass" if rung.k > broken else None for rung in found.ladder]
    assert f"K = {broken} cannot be tested, so testing stops there" in caplog.text


def test_a_first_k_whose_scores_are_no_numbers_ends_the_audit() -> None:
    with pytest.raises(AuditError, match="not finite"):
        fixed_sequence([4, 3], unjudged)


def unjudged(_: int) -> ParityResult:
    raise AuditError("pruned scores hold 3 values that are not finite")

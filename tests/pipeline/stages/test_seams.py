"""Interfaces of the stages: keys of their results, trained seeds, the model that the evidence is about.

One small table passes through all five stages, with a baseline selector, in a second or two.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from click_log import make_log
from feature_audit.config import AuditConfig
from feature_audit.data import RULES, Prepared
from feature_audit.fitting.cache import StageFolder, open_folder, stage_key
from feature_audit.orchestration.stage_run import KEYS, training_inputs
from feature_audit.question import Guard
from feature_audit.selection import Selection
from feature_audit.stages import baseline, load, parity, retrain, select
from feature_audit.stages.retrain import Retrained
from sklearn.metrics import roc_auc_score

#: Settings that affect the speed and the storage of an audit, but none of its results.
WITHOUT_EFFECT = {"threads", "workers", "ranks", "engine", "work_dir", "local_dir"}
#: Settings that a stage reads only for its log lines, cached or not; `looks`, which the first look at a table fixes for
#: all; and `boosting_reference`, whose result is a separate file: parity's key contains whether it exists.
ONLY_SAID = {
    "load": {"targets"},  # the labels, which it reads of them, are in the digest of the data
    "baseline": {"confidence", "boosting_reference"},
    "parity": {"looks"},
    "retrain": {"test_share", "split", "split_files"},
}
#: Settings with the path of a file whose content is in the key.
FILES = {"checkpoint"}
#: Settings that affect only the number of trainings; parity's key contains the numbers.
HOW_MANY = {"retrain": {"margin", "confidence", "against", "seeds", "baseline_seeds", "looks"}}
#: Stages whose digest is part of a stage's key. The rules about columns reach `baseline` and `retrain` as encoded
#: features only.
INPUTS = {
    "load": (),
    "baseline": ("load",),
    "select": ("baseline",),
    "retrain": ("load",),
    "parity": ("retrain", "baseline"),
}


class Watched(AuditConfig):
    """A configuration that records which settings are read."""

    def __getattribute__(self, name: str) -> Any:
        if name in AuditConfig.model_fields:
            READ.add(name)
        return super().__getattribute__(name)


READ: set[str] = set()


@dataclass(frozen=True)
class Ran:
    """Results of the stages, and the settings that each of them read."""

    config: AuditConfig
    folder: Path
    prepared: Prepared
    full: baseline.Baseline
    selection: Selection
    pruned: Retrained
    outcome: parity.Outcome
    read: dict[str, set[str]]

    def done(self, stage: str) -> StageFolder:
        """The folder of a finished stage."""
        place = folder(self.folder, stage)
        assert place.done
        return place

    def judge(self, pruned: Retrained, name: str) -> parity.Outcome:
        """Parity of other pruned models, in a separate folder."""
        return parity.parity(self.config, self.prepared, self.full, pruned, folder(self.folder, name))


def folder(home: Path, stage: str) -> StageFolder:
    """A new folder for a stage."""
    return open_folder(home, stage_key(stage, config={}, inputs={}))


@pytest.fixture(scope="module")
def ran(few_steps: None, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    home = tmp_path_factory.mktemp("stages")
    make_log(600).select("user_id", "ts", "price_gap", "device", "noise_00", "clicked").write_parquet(
        home / "log.parquet"
    )
    config = Watched.model_validate(
        {
            "data": str(home / "log.parquet"), "target": "clicked", "time": "ts", "group": "user_id",
            "task": "binary", "metric": "auc", "margin": 0.05, "model": "mlp", "selector": "random", "k": 2,
            "trials": 1, "seeds": 3, "baseline_seeds": 2, "seed": 5, "work_dir": str(home), "slices": "device",
            "training": {"max_epochs": 1},
        }
    )  # fmt: skip
    read: dict[str, set[str]] = {}

    @contextmanager
    def noted(stage: str) -> Iterator[StageFolder]:
        READ.clear()
        yield folder(home, stage)
        read[stage] = set(READ)

    with noted("load") as place:
        prepared = load.load(config, place)
    with noted("baseline") as place:
        full = baseline.baseline(config, prepared, place)
    with noted("select") as place:
        selection = select.select(config, prepared, full, select.constraints_of(config, prepared), place)
    with noted("retrain") as place:
        pruned = retrain.retrain(config, prepared, full, selection, place)
    with noted("parity") as place:
        outcome = parity.parity(config, prepared, full, pruned, place)
    return Ran(config, home, prepared, full, selection, pruned, outcome, read)


def keyed(stage: str) -> set[str]:
    """Settings in a stage's key, directly or in the digest of an input."""
    rules = set() if stage in ("load", "select", "parity") else set(RULES)
    return (set(KEYS[stage]) | {key for name in INPUTS[stage] for key in keyed(name)}) - rules


@pytest.mark.parametrize("stage", KEYS)
def test_a_stage_reads_no_setting_that_its_key_leaves_out(ran: Ran, stage: str) -> None:
    """Else another value would get the cached results of the old one."""
    assert (
        ran.read[stage]
        - keyed(stage)
        - WITHOUT_EFFECT
        - FILES
        - ONLY_SAID.get(stage, set())
        - HOW_MANY.get(stage, set())
        == set()
    )


@pytest.mark.parametrize("stage", KEYS)
def test_a_stage_that_draws_random_numbers_names_the_seed_itself(ran: Ran, stage: str) -> None:
    """The key of load contains the seed because of random splits; trainings must not rely on that."""
    assert "seed" in KEYS[stage] or "seed" not in ran.read[stage]


def test_trainings_depend_on_the_encoded_features_and_on_no_rule_about_columns(ran: Ran) -> None:
    """Another cost or protected column is a new selection, and no new full model."""

    def inputs(**changes: Any) -> dict[str, str]:
        return training_inputs(AuditConfig.model_validate({**ran.config.model_dump(), **changes}), ran.prepared)

    usual = inputs()
    rules = {"never_drop": "device", "always_drop": "noise_00", "groups": {"g": ["device"]}, "cost": {"device": 3},
             "production_score": "other"}  # fmt: skip
    assert {*rules, "slices"} == set(RULES)
    for key, value in {**rules, "slices": "noise_00"}.items():
        assert inputs(**{key: value}) == usual
    for key, value in {
        "seed": 6,
        "kinds": {"device": "categorical"},
        "test_share": 0.3,
        "encoding": {"max_bins": 9},
    }.items():
        assert inputs(**{key: value}) != usual
    without = replace(ran.prepared, content="other features")
    assert training_inputs(ran.config, without) != usual


def test_no_two_trainings_share_a_seed(ran: Ran) -> None:
    seeds = [facts.seed for facts in (ran.full.facts, *ran.pruned.facts)]
    assert len(seeds) == 1 + 3 * len(ran.pruned.rungs) + 1
    assert len(set(seeds)) == len(seeds)
    assert seeds[0] == ran.config.seed


@pytest.mark.parametrize("best", [0, 1, 2])
def test_the_artifact_row_is_about_the_model_that_would_be_registered(ran: Ran, best: int) -> None:
    """The model with the lowest validation loss, at any position."""
    rung = ran.pruned.rungs[0]
    facts = [replace(each, validation_loss=0.5 - 0.1 * (n == best)) for n, each in enumerate(rung.facts)]
    rung = replace(rung, facts=facts)
    assert rung.best_seed == best
    outcome = ran.judge(replace(ran.pruned, rungs=[rung]), f"parity_{best}")
    rows = pl.read_parquet(outcome.folder.path / "predictions.parquet")
    full = [roc_auc_score(rows["y"], rows[name]) for name in ("baseline", "baseline_1")]
    each = [roc_auc_score(rows["y"], rows[f"pruned_{number}"]) for number in range(3)]
    assert len(set(each)) == 3
    assert outcome.result.artifact.delta == pytest.approx(each[best] - np.mean(full))
    assert outcome.result.decision.delta == pytest.approx(np.mean(each) - np.mean(full))


def test_a_guard_stops_models_that_keep_the_order_and_lose_the_calibration(ran: Ran, tmp_path: Path) -> None:
    """The same scores with shifted logits, which the AUC does not notice."""
    shifted = tmp_path / "retrain"
    shutil.copytree(ran.pruned.folder.path, shifted)
    for path in shifted.glob("pruned_*.pt"):
        weights = torch.load(path, weights_only=True)
        torch.save({**weights, "out.bias": weights["out.bias"] + 3}, path)
    harmed = replace(ran.pruned, folder=replace(ran.pruned.folder, path=shifted))
    guarded = replace(ran, config=ran.config.model_copy(update={"guards": {"calibration": Guard(0.1)}}))
    before, after = ran.judge(harmed, "shifted").result, guarded.judge(harmed, "guarded").result
    assert before.decision.delta == pytest.approx(ran.outcome.result.decision.delta)
    assert before.verdict != "fail"
    assert (after.verdict, after.decision.verdict) == ("fail", before.decision.verdict)
    assert [row.metric for row in after.deltas if row.verdict == "fail"] == ["calibration"]


def test_another_confidence_is_heeded_without_another_training(ran: Ran) -> None:
    def again(confidence: float) -> baseline.Baseline:
        config = ran.config.model_copy(update={"confidence": confidence})
        return baseline.baseline(config, ran.prepared, ran.full.folder)

    wide, narrow = again(0.99), again(0.8)
    assert wide.facts.seconds == narrow.facts.seconds == ran.full.facts.seconds, "trained once"
    assert wide.references.chance.low < ran.full.references.chance.low < narrow.references.chance.low


def test_a_finished_stage_opened_again_gives_what_it_gave(ran: Ran) -> None:
    constraints = select.constraints_of(ran.config, ran.prepared)
    assert load.load(ran.config, ran.done("load")) == ran.prepared
    full = baseline.baseline(ran.config, ran.prepared, ran.done("baseline"))
    assert (full.facts, full.references) == (ran.full.facts, ran.full.references)
    found = select.select(ran.config, ran.prepared, full, constraints, ran.done("select"))
    for name, value in vars(ran.selection).items():
        if name == "trials":
            assert [row.shown() for row in found.trials] == [row.shown() for row in value]
        else:
            np.testing.assert_equal(getattr(found, name), value)
    pruned = retrain.retrain(ran.config, ran.prepared, full, found, ran.done("retrain"))
    assert pruned == ran.pruned
    outcome = parity.parity(ran.config, ran.prepared, full, pruned, ran.done("parity"))
    assert outcome.look == ran.outcome.look
    assert outcome.look.number == 1
    assert outcome.result.deltas == ran.outcome.result.deltas
    assert outcome.result.sentence == ran.outcome.result.sentence


def test_trainings_are_made_once_whatever_their_number(ran: Ran, caplog: pytest.LogCaptureFixture) -> None:
    """Two of 3 + 1 trainings are reused; the others equal those of a single run."""

    def trained(seeds: int, baseline_seeds: int, **inputs: str) -> Retrained:
        config = ran.config.model_copy(update={"seeds": seeds, "baseline_seeds": baseline_seeds})
        place = open_folder(ran.folder / "numbers", stage_key("retrain", config={}, inputs=inputs))
        return retrain.retrain(config, ran.prepared, ran.full, ran.selection, place)

    few, alone = trained(2, 1, features="a"), trained(3, 2, features="another K")
    caplog.clear()
    caplog.set_level("INFO")
    more = trained(3, 2, features="a")
    assert len([record for record in caplog.records if "validation auc" in record.getMessage()]) == 2
    assert [facts.history for facts in more.facts[:2]] == [facts.history for facts in few.facts], "seconds and all"
    assert [(facts.seed, facts.metric) for facts in more.facts] == [(one.seed, one.metric) for one in alone.facts]
    assert len(more.facts) == 4
    assert trained(2, 1, features="a") == few


def test_a_question_is_what_can_change_the_verdict(ran: Ran) -> None:
    """Another margin is another look at the test rows; another reported slice, or the same question again, is not."""

    def looked(*, slice_margin: float | None = None, **keyed: Any) -> tuple[int, float, float]:
        config = ran.config.model_copy(update={"work_dir": str(ran.folder / "questions"), **keyed})
        values = {key: getattr(config, key) for key in KEYS["parity"]} | {"slice_margin": slice_margin}
        inputs = {"retrain": "r", "store": str(config.slices)}
        place = open_folder(ran.folder / "questions", stage_key("parity", config=values, inputs=inputs))
        outcome = parity.parity(config, ran.prepared, ran.full, ran.pruned, place)
        row = outcome.result.decision
        return outcome.look.number, round(outcome.look.judged_at, 6), row.ci_low

    first = looked()
    assert first[:2] == (1, 0.95)
    second = looked(margin=0.04)
    assert second[:2] == (2, 0.9975)
    assert second[2] < first[2], "a wider interval of the same delta"
    assert looked(metric="logloss")[0] == 3
    assert looked(slices=()) == first, "in a folder of its own, at the level that it had"
    assert looked() == first
    assert looked(margin=0.04) == second
    guarded = [looked(slice_margin=0.1, slices=slices)[0] for slices in (("device",), (), ("device",))]
    assert guarded == [4, 5, 4], "slices with a margin can change the verdict"

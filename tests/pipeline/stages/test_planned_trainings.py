"""The retrain stage with planned numbers: what it trains, keeps and logs."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click_log import make_log
from feature_audit.config import AuditConfig
from feature_audit.data import Prepared
from feature_audit.fitting.allocation import affordable_k, most_affordable
from feature_audit.fitting.cache import StageFolder, open_folder, stage_key
from feature_audit.fitting.looks import Look
from feature_audit.results import CurvePoint
from feature_audit.selection import Selection
from feature_audit.stages import baseline, load, retrain, select


@dataclass(frozen=True)
class Ready:
    """An audit that has selected its features."""

    home: Path
    config: AuditConfig
    prepared: Prepared
    full: baseline.Baseline
    selection: Selection

    def retrain(
        self, name: str, *, estimate: float = 0.0, error: float = 0.05, look: Look | None = None, **changes: Any
    ) -> retrain.Retrained:
        """The retrain stage, given the measurement of the confirmation at K."""
        config = AuditConfig.model_validate({**self.config.model_dump(), **changes})
        curve = [CurvePoint(self.selection.k, 0.7, estimate, "retrained", error)]
        return retrain.retrain(
            config, self.prepared, self.full, replace(self.selection, curve=curve), folder(self.home, name), look
        )


def folder(home: Path, stage: str) -> StageFolder:
    return open_folder(home, stage_key(stage, config={}, inputs={}))


@pytest.fixture(scope="module")
def ready(few_steps: None, tmp_path_factory: pytest.TempPathFactory) -> Ready:
    home = tmp_path_factory.mktemp("planned")
    make_log(600).select("user_id", "ts", "price_gap", "device", "noise_00", "clicked").write_parquet(
        home / "log.parquet"
    )
    config = AuditConfig.model_validate(
        {
            "data": str(home / "log.parquet"), "target": "clicked", "time": "ts", "group": "user_id", "k": 2,
            "k_min": 2, "task": "binary", "metric": "auc", "margin": 0.05, "model": "mlp", "selector": "random",
            "trials": 1, "work_dir": str(home), "training": {"max_epochs": 1},
        }
    )  # fmt: skip
    prepared = load.load(config, folder(home, "load"))
    full = baseline.baseline(config, prepared, folder(home, "baseline"))
    constraints = select.constraints_of(config, prepared)
    return Ready(home, config, prepared, full, select.select(config, prepared, full, constraints, folder(home, "sel")))


def test_a_clear_surplus_trains_two_pruned_models(ready: Ready) -> None:
    found = ready.retrain("surplus", estimate=5.0)
    assert (len(found.rungs[0].facts), len(found.full_facts)) == (found.plan.pruned, found.plan.full - 1) == (3, 0)
    assert found.plan.can_decide


def test_without_a_feasible_plan_both_models_are_trained_equally_often(
    ready: Ready, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        found = ready.retrain("open", margin=0.0005)
    assert len(found.rungs[0].facts) == 1 + len(found.full_facts) >= 2
    assert not found.plan.can_decide, "a few hundred rows"
    messages = [record.message for record in caplog.records if "that these trainings can decide is" in record.message]
    assert len(messages) == 1
    assert re.search(
        r"equals the full one: .*margin=[\d.]+ with seeds=\d+|equals the full one: .*margin=[\d.]+ \(", messages[0]
    )


def test_a_later_look_is_planned_for_at_its_own_confidence(ready: Ready, caplog: pytest.LogCaptureFixture) -> None:
    """The advice after it uses the confidence of the look that would follow."""
    caplog.set_level(logging.INFO)
    given = {"seeds": 2, "baseline_seeds": 2, "margin": 0.005}
    first, second = (ready.retrain("looks", look=Look(number, 1, 0.95, ""), **given).plan for number in (1, 2))
    assert second.chance < first.chance
    assert second.decidable > first.decidable
    logged = [one for one in caplog.messages if "that these trainings can decide is" in one][-1]
    before, after = (float(re.findall(r"margin=([\d.]+)", messages)[0]) for messages in (logged, second.sentence))
    assert after > before


def test_numbers_that_are_given_are_trained_and_judged_all_the_same(ready: Ready) -> None:
    found = ready.retrain("given", estimate=5.0, seeds=3, baseline_seeds=2)
    assert (len(found.rungs[0].facts), len(found.full_facts)) == (3, 1)
    assert (found.plan.pruned, found.plan.full) == (3, 2)
    fixed = ready.retrain("deployed", seeds=2, against="deployed", margin=0.0005)
    assert (len(fixed.rungs[0].facts), fixed.full_facts) == (2, [])


def test_more_trainings_go_on_where_fewer_ended(ready: Ready) -> None:
    """Training number i is the same for any number of trainings: it keeps its seed and is not repeated."""
    few = ready.retrain("grows", seeds=2, baseline_seeds=1)
    weights = [few.folder.path / f"pruned_2_{number}.pt" for number in range(2)]
    before = [path.stat().st_mtime_ns for path in weights]
    more = ready.retrain("grows", seeds=3, baseline_seeds=2)
    assert [path.stat().st_mtime_ns for path in weights] == before
    assert more.rungs[0].facts[:2] == few.rungs[0].facts
    assert (len(more.rungs[0].facts), len(more.full_facts)) == (3, 1)
    again = ready.retrain("grows", seeds=2, baseline_seeds=1)
    assert (again.rungs, again.full_facts, again.plan) == (few.rungs, [], few.plan)
    assert "pruned_2_2.pt" in {path.name for path in again.folder.path.iterdir()}


def test_a_large_table_stays_within_its_cost() -> None:
    assert most_affordable(49_999, 3.0) == float("inf")
    assert most_affordable(50_000, 2.0) == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("prices", "most", "number"),
    [
        ((0.3, 0.2, 0.1), 2.2, 3),
        ((0.3, 0.2, 0.1), 2.1, 2),
        ((0.3, 0.2, 0.1), 1.9, 1),
        ((0.3, 0.2), 0.0, 1),
        ((1.0,), 9.0, 1),
    ],
)
def test_as_many_k_as_leave_room_for_two_trainings_of_either_model(
    prices: tuple[float, ...], most: float, number: int
) -> None:
    assert affordable_k(prices, most) == number

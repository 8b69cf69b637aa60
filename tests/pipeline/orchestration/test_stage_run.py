"""The value of a stage: its result, the digest for later stages, its seconds when computed, whether it was cached."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from command_line import tracking_in
from feature_audit.config import AuditConfig
from feature_audit.fitting.cache import StageFolder
from feature_audit.orchestration.stage_run import StageRun, run_stage
from feature_audit.tracking import Run, open_parent
from mlflow import MlflowClient


def _work(folder: StageFolder, run: Run) -> str:
    if not folder.done:
        time.sleep(0.2)
        folder.finish({"output": "done"})
    return str(folder.result()["output"])


def test_a_stage_that_is_reused_says_so_and_keeps_its_seconds(tmp_path: Path) -> None:
    with tracking_in(tmp_path):
        parent = open_parent("stages", "an audit")
        config = AuditConfig(work_dir=str(tmp_path / "work"), seed=1)

        def stage(config: AuditConfig = config, **inputs: str) -> StageRun[str]:
            return run_stage(parent, config, "retrain", inputs, _work)

        first, again = stage(store="a"), stage(store="a")
        assert (first.result, first.cached, again.result, again.cached) == ("done", False, "done", True)
        assert again.seconds == first.seconds >= 0.2, "a reused stage counts what it took when it ran"
        assert again.digest == first.digest
        others = [stage(store="b"), stage(store="a", features="x"), stage(config.model_copy(update={"seed": 2}))]
        assert not any(one.cached for one in others)
        assert len({one.digest for one in (first, *others)}) == 4
        unread = stage(config.model_copy(update={"margin": 0.5}), store="a")
        assert unread.cached, "retrain does not read the margin"
        client = MlflowClient()
        children = client.search_runs([client.get_run(parent.id).info.experiment_id], "tags.audit.stage = 'retrain'")
        assert sorted(run.data.tags["audit.cached"] for run in children) == ["False"] * 4 + ["True"] * 2
        assert all(run.data.metrics["cost/seconds"] > 0 and run.info.status == "FINISHED" for run in children)


@pytest.mark.parametrize(("cached", "detail"), [(False, "3 trials"), (True, "3 trials; reused from an earlier run")])
def test_the_table_of_costs_says_what_was_reused(cached: bool, detail: str) -> None:
    run = StageRun("select", None, "digest", 12.0, cached, Path())
    cost = run.cost(0.5, "3 trials")
    assert (cost.stage, cost.full_trainings, cost.seconds, cost.detail) == ("select", 0.5, 12.0, detail)
    assert run.cost(0.5, "", seconds=3.0).seconds == 3.0

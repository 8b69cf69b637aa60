"""`parity --audit RUN`: an audit with a verdict is read-only; another question is another run."""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click_log import make_log
from command_line import artifact, feature_audit, parents, tracking_in
from mlflow import MlflowClient
from mlflow.entities import Run

pytestmark = pytest.mark.slow

WORDS = [
    "--target", "clicked", "--row_id", "impression", "--time", "ts", "--group", "user_id", "--margin", "0.2",
    "--k", "5", "--k_min", "5", "--trials", "1", "--seeds", "3", "--model", "mlp", "--profile", "quick",
    "--threads", "1", "--selector", "random",
]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("earlier")
    make_log(1_000, users=150, seed=3).select(pl.exclude("^noise_.*$")).write_parquet(folder / "log.parquet")
    with tracking_in(folder):
        yield folder


@pytest.fixture(scope="module")
def passed(home: Path) -> Run:
    """An audit that passed and whose model is in production."""
    assert feature_audit("run", "--data", str(home / "log.parquet"), *WORDS) == 0
    assert feature_audit("promote") == 0
    run = parents()[0]
    assert run.data.tags["audit.verdict"] == "pass"
    return run


@pytest.fixture(scope="module")
def undecided(passed: Run) -> Run:
    """The same audit with a margin that 200 test rows cannot prove."""
    assert feature_audit("parity", "--audit", passed.info.run_id, "--margin", "0.0001") == 0
    run = parents()[0]
    assert run.data.tags["audit.verdict"] == "inconclusive"
    return run


def everything(run_id: str) -> dict[str, Any]:
    """Everything that a tracking store contains about a run, and the registered models."""
    client = MlflowClient()
    run = client.get_run(run_id)
    folder = Path(client.download_artifacts(run_id, ""))
    files = {path: hashlib.md5(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}
    children = client.search_runs([run.info.experiment_id], f"tags.mlflow.parentRunId = '{run_id}'")
    return {
        **run.to_dictionary(),
        "files": files,
        "children": sorted(child.info.run_id for child in children),
        "versions": [vars(version) for version in client.search_model_versions()],
    }


def report(run: Run) -> dict[str, Any]:
    return dict(json.loads(artifact(run, "report/report.json").read_text()))


def test_another_question_is_another_run_and_leaves_the_first_as_it_was(passed: Run, undecided: Run) -> None:
    assert undecided.info.run_id != passed.info.run_id
    assert undecided.data.tags["audit.continues"] == passed.info.run_id
    assert undecided.data.params["cfg.margin"] == "0.0001"
    assert undecided.info.status == "FINISHED"
    before = everything(passed.info.run_id)
    assert before["data"]["tags"]["audit.verdict"] == "pass"
    assert feature_audit("parity", "--audit", passed.info.run_id, "--margin", "0.0002") == 0
    assert everything(passed.info.run_id) == before
    client = MlflowClient()
    version = client.get_model_version_by_alias("feature-audit", "production")
    assert version.tags["audit.verdict"] == "pass", "what production serves is not withdrawn"
    assert "prune-candidate" in client.get_registered_model("feature-audit").aliases


@pytest.mark.parametrize(
    "words", [[], ["--margin", "0.2"], ["--gate", "true", "--threads", "2", "--work_dir", "other"]]
)
def test_the_same_question_again_changes_nothing_and_says_the_verdict(
    passed: Run, undecided: Run, words: list[str], capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    runs, before = len(parents()), everything(passed.info.run_id)
    assert feature_audit("parity", "--audit", passed.info.run_id, *words) == 0
    assert (len(parents()), everything(passed.info.run_id)) == (runs, before)
    output = capsys.readouterr().out
    assert output.startswith(f"pass: {report(passed)['sentence'].removeprefix('Pass: ')[0].upper()}")
    assert "promote it with: feature-audit promote --model_name feature-audit --version 1" in output
    assert not (home / "other").exists()
    if "--gate" not in words:
        assert feature_audit("select", "--audit", undecided.info.run_id) == 0, "nor does an earlier stage"
        assert capsys.readouterr().out.startswith("inconclusive: ")
        assert feature_audit("parity", "--audit", undecided.info.run_id, "--gate", "true") == 4


def test_a_mistake_in_the_new_question_opens_no_run(passed: Run, capsys: pytest.CaptureFixture[str]) -> None:
    runs, before = len(parents()), everything(passed.info.run_id)
    for words, code in ((["--selector", "ip_ca"], 2), (["--data", "nowhere.parquet"], 1), (["--margin", "-1"], 2)):
        assert feature_audit("parity", "--audit", passed.info.run_id, *words) == code
        assert len([line for line in capsys.readouterr().err.splitlines() if "error:" in line]) == 1
    assert (len(parents()), everything(passed.info.run_id)) == (runs, before)


def test_every_question_at_the_same_rows_is_judged_more_strictly(passed: Run, undecided: Run, home: Path) -> None:
    """From any folder, also with another seed; the first question again is not another look."""
    tags = [run.data.tags for run in (passed, undecided)]
    assert [tag["audit.look"] for tag in tags] == ["1", "2"]
    assert [float(tag["audit.judged_at"]) for tag in tags] == pytest.approx([0.95, 0.9975])
    assert report(undecided)["judged_at"] == pytest.approx(0.9975)
    assert "(99.75% interval" in report(undecided)["sentence"]
    for name in ("report/index.html", "report/report.md"):
        output, first = (html.unescape(artifact(run, name).read_text()) for run in (undecided, passed))
        assert "look 2 at these test rows. It is judged at 99.75" in output
        assert "look 1" not in first
    looks = len({run.data.tags["audit.look"] for run in parents() if "audit.look" in run.data.tags})
    words = ["run", "--data", str(home / "log.parquet"), *WORDS, "--work_dir", str(home / "another")]
    assert feature_audit(*words, "--seed", "7") == 0
    other = parents()[0].data.tags
    assert other["audit.test_family"] == tags[0]["audit.test_family"]
    assert int(other["audit.look"]) == looks + 1
    assert feature_audit(*words) == 0
    again = parents()[0]
    assert again.data.tags["audit.look"] == "1"
    assert again.data.metrics["parity/auc.ci_low"] == passed.data.metrics["parity/auc.ci_low"]


def test_the_plan_in_the_report_says_the_chance_and_what_it_came_to(undecided: Run) -> None:
    found = report(undecided)
    assert found["plan"]["chance"] == found["power"]["chance"] < 0.8
    assert found["plan"]["trainings"] == pytest.approx(sum(cost["full_trainings"] for cost in found["costs"]))
    assert found["plan"]["seconds"] == pytest.approx(sum(cost["seconds"] for cost in found["costs"]))


def test_planned_numbers_stay_as_they_are_when_the_audit_is_repeated(undecided: Run, home: Path) -> None:
    """A plan is made for the look that its verdict takes; a repeated question takes the same look as before."""
    words = ["run", "--data", str(home / "log.parquet"), *WORDS, "--profile", "default", "--seeds", "auto"]
    plans = []
    for margin in ("0.03", "0.031", "0.03"):
        assert feature_audit(*words, "--margin", margin, "--work_dir", str(home / f"plans_{len(plans)}")) == 0
        plans.append((parents()[0].data.tags["audit.look"], report(parents()[0])["power"]))
    assert plans[0] == plans[2]
    assert int(plans[1][0]) == int(plans[0][0]) + 1
    assert plans[1][1]["chance"] < plans[0][1]["chance"], "in spite of the wider margin: the level of a later look"


def test_more_seeds_reuse_every_training_in_a_new_run(undecided: Run) -> None:
    assert feature_audit("parity", "--audit", undecided.info.run_id, "--seeds", "4", "--baseline_seeds", "3") == 0
    run = parents()[0]
    assert run.data.tags["audit.continues"] == undecided.info.run_id
    children = MlflowClient().search_runs(
        [run.info.experiment_id], f"tags.mlflow.parentRunId = '{run.info.run_id}' and tags.audit.cached = 'True'"
    )
    assert {child.data.tags["audit.stage"] for child in children} == {"load", "baseline", "select", "retrain"}
    old, new = (pl.read_parquet(artifact(one, "parity/predictions.parquet")) for one in (undecided, run))
    assert new.columns == [*old.columns[:5], "baseline_2", *old.columns[5:], "pruned_3"]
    assert new.select(old.columns).equals(old)


def test_under_mlflow_run_the_drivers_run_is_the_new_one_or_points_to_the_old_one(passed: Run) -> None:
    client = MlflowClient()
    for words, tag in ((["--margin", "0.19"], "audit.continues"), ([], "audit.parent")):
        driver = client.create_run(passed.info.experiment_id).info.run_id
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_RUN_ID", driver)
            assert feature_audit("parity", "--audit", passed.info.run_id, *words) == 0
        tags = client.get_run(driver).data.tags
        assert tags[tag] == passed.info.run_id
        assert tags["audit.verdict"] in ("pass", "inconclusive")
        assert ("audit.look" in tags) == (tag == "audit.continues")


def test_new_rows_are_a_new_table(passed: Run, home: Path) -> None:
    log = pl.read_parquet(home / "log.parquet")
    newer = log.tail(100).with_columns(pl.col("ts") + pl.duration(days=9), pl.col("impression") + 1_000)
    pl.concat([log, newer]).write_parquet(home / "newer.parquet")
    assert feature_audit("parity", "--audit", passed.info.run_id, "--data", str(home / "newer.parquet")) == 0
    tags = parents()[0].data.tags
    assert tags["audit.look"] == "1"
    assert re.fullmatch("[0-9a-f]{32}", tags["audit.test_family"])
    assert tags["audit.test_family"] != passed.data.tags["audit.test_family"]

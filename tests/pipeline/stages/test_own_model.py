"""A team's own model: an edit trains again, and what is registered loads where the project is not installed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from click_log import make_log
from command_line import artifact, feature_audit, newest_audit, tracking_in
from mlflow import MlflowClient

MODEL = """
from feature_audit.models import build_model


def build(schema):
    return build_model("mlp", schema, embedding_dim=4, params={"hidden": [16]})
"""
KEYS = [
    "--data",
    "log.parquet",
    "--target",
    "clicked",
    "--row_id",
    "impression",
    "--time",
    "ts",
    "--k",
    "12",
    "--k_min",
    "12",
]
REST = [
    "--margin",
    "0.05",
    "--trials",
    "1",
    "--seeds",
    "2",
    "--profile",
    "quick",
    "--threads",
    "1",
    "--model",
    "team_model:build",
]
#: Hides an editable installation of the project; prints scores and where the code came from.
LOAD = """
import sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in getattr(finder, "__module__", "")]
import mlflow, polars
scores = mlflow.pyfunc.load_model(sys.argv[1]).predict(polars.read_parquet(sys.argv[2]).to_pandas())
import concrete_selectors, feature_audit, team_model
print(*scores)
print(*(module.__file__ for module in (concrete_selectors, feature_audit, team_model)))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a log and a team's model, audited."""
    with tracking_in(tmp_path_factory.mktemp("own_model")) as folder:
        make_log(2_500).write_parquet(folder / "log.parquet")
        (folder / "team_model.py").write_text(MODEL, encoding="utf-8")
        assert feature_audit("run", *KEYS, *REST) == 0
        yield folder
    sys.modules.pop("team_model", None)


def test_a_registered_model_takes_its_code_along(home: Path, tmp_path: Path) -> None:
    audit = newest_audit()
    kept = artifact(audit, "recommendation/kept_features.txt").read_text().split()
    predictions = pl.read_parquet(artifact(audit, "parity/predictions.parquet")).head(5)
    rows = pl.read_parquet(home / "log.parquet").join(predictions, left_on="impression", right_on="row_id")
    rows.select(kept).write_parquet(tmp_path / "rows.parquet")
    model = audit.data.tags["audit.recommendation"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, model, "rows.parquet"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    scores, places = done.stdout.splitlines()[-2:]
    seeds = [rows[f"pruned_{number}"].to_list() for number in range(2)]
    assert any([float(score) for score in scores.split()] == pytest.approx(seed, abs=1e-5) for seed in seeds)
    assert all(Path(place).parents[1].name == "code" or Path(place).parent.name == "code" for place in places.split())


def test_an_edited_model_is_trained_again(home: Path) -> None:
    def baseline_was_cached() -> bool:
        sys.modules.pop("team_model", None)
        assert feature_audit("baseline", *KEYS, *REST) == 0
        runs = MlflowClient().search_runs(
            [newest_audit().info.experiment_id], filter_string="tags.`audit.stage` = 'baseline'", max_results=1
        )
        return runs[0].data.tags["audit.cached"] == "True"

    assert baseline_was_cached()
    (home / "team_model.py").write_text(MODEL.replace("16", "24"), encoding="utf-8")
    assert not baseline_was_cached()
    (home / "team_model.py").write_text(MODEL, encoding="utf-8")
    assert baseline_was_cached()

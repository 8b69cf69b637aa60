"""The savings of an audit: in its report, metrics, artifacts and the registry."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from command_line import artifact, feature_audit, newest_audit, newest_run, tracking_in
from feature_audit.report import read_json, render_html, render_json, render_markdown
from feature_audit.results import AuditReport
from mlflow import MlflowClient
from mlflow.entities import Run

pytestmark = pytest.mark.slow
TABLES = "{user: [a, b, dim], item: [c, d], feed: [e, f, words]}"


def log(rows: int = 3_000, seed: int = 0) -> pl.DataFrame:
    """``a`` and ``b`` determine the label; no column of the tables ``item`` and ``feed`` is needed."""
    rng = np.random.default_rng(seed)
    values = {name: rng.normal(size=rows) for name in "abcdef"}
    y = (2 * values["a"] - 2 * values["b"] + rng.normal(size=rows) > 0).astype(np.int8)
    words = [" ".join(map(str, row)) for row in rng.integers(0, 9, (rows, 12))]
    return pl.DataFrame({**values, "dim": ["one"] * rows, "words": words, "user": rng.integers(0, 300, rows), "y": y})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("savings")
    log().write_parquet(folder / "log.parquet")
    with tracking_in(folder):
        yield folder


@pytest.fixture(scope="module")
def run(home: Path) -> Run:
    (home / "consumers.yaml").write_text("churn: [c, 'elsewhere:x']\nfeature-audit: [feed]\n")
    words = ["--data", "log.parquet", "--target", "y", "--group", "user", "--k", "2", "--margin", "0.02"]
    words += ["--profile", "quick", "--threads", "1", "--model", "mlp", "--groups", TABLES, "--kinds", "{words: multi}"]
    words += ["--cost", "{item: 100, feed: 30, c: 5, d: 7}", "--consumers", "consumers.yaml"]
    with pytest.MonkeyPatch.context() as patch:
        # Seconds of the processor, as other programs may slow some of the calls of one model more than the other's.
        patch.setattr("feature_audit.fitting.scoring_speed.time", SimpleNamespace(perf_counter=time.process_time))
        assert feature_audit("run", *words) == 0
    found = newest_audit()
    assert found.data.tags["audit.verdict"] == "pass"
    return found


@pytest.fixture(scope="module")
def report(run: Run) -> AuditReport:
    return read_json(artifact(run, "report/report.json").read_text())


def test_bytes_are_those_of_the_file(report: AuditReport, home: Path) -> None:
    metadata = pq.read_metadata(home / "log.parquet")
    size = {
        metadata.row_group(0).column(at).path_in_schema: metadata.row_group(0).column(at).total_compressed_size / 3_000
        for at in range(metadata.num_columns)
    }
    saved = report.savings
    assert saved is not None
    assert saved.full.bytes_per_row == pytest.approx(sum(size[name] for name in "abcdef") + size["words"])
    assert saved.pruned.bytes_per_row == pytest.approx(size["a"] + size["b"])
    waves = {wave.title: wave for wave in saved.waves}
    assert waves["Table feed"].bytes_per_row == pytest.approx(size["e"] + size["f"] + size["words"])
    assert sum(row.embedding_share or 0 for row in report.decisions) == pytest.approx(1)


def test_both_models_are_measured(report: AuditReport, run: Run) -> None:
    saved, metrics = report.savings, run.data.metrics
    assert saved is not None
    assert (saved.full.features, saved.pruned.features) == (7, 2)
    assert saved.full.model_bytes > 1.2 * saved.pruned.model_bytes
    assert saved.full.rows_per_second < saved.pruned.rows_per_second
    assert 0 < saved.pruned.latency_ms < 1_000
    assert metrics["savings/rows_per_second.full"] == saved.full.rows_per_second
    assert metrics["savings/speedup"] == pytest.approx(saved.pruned.rows_per_second / saved.full.rows_per_second)
    share = 1 - saved.pruned.bytes_per_row / saved.full.bytes_per_row
    assert metrics["savings/bytes_per_row.share_saved"] == pytest.approx(share)
    line = f"2 of 7 features: {100 * share:.0f} % fewer bytes read per row"
    texts = [artifact(run, name).read_text() for name in ("report/index.html", "report/report.md")]
    for text in (*texts, run.data.tags["mlflow.note.content"]):
        assert line in " ".join(text.split())


def test_the_ranking_says_what_a_feature_takes(run: Run) -> None:
    table = pl.read_parquet(artifact(run, "selection/ranking.parquet"))
    assert table.schema["bytes_per_row"] == table.schema["embedding_share"] == pl.Float64
    assert table.filter(feature="words")["bytes_per_row"][0] == table["bytes_per_row"].max()
    assert table.filter(feature="dim")["embedding_share"].to_list() == [None], "a constant is no feature"


def test_a_cut_without_retraining(report: AuditReport, run: Run) -> None:
    saved = report.savings
    assert saved is not None
    assert saved.faded_rows > 300
    assert saved.fading[0].metric == pytest.approx(report.target_quality)
    faded = {point.wave for point in saved.fading} - {0}
    titles = [wave.title for wave in saved.waves]
    assert {titles[wave - 1] for wave in faded} == {"Table feed", "Other single features"}
    assert "Without retraining, a cut changes AUC" in artifact(run, "report/report.md").read_text()


def test_a_table_that_others_read_does_not_retire(report: AuditReport, run: Run) -> None:
    assert report.readers is not None
    assert report.readers.features == {"c": ["churn"]}
    content = json.loads(artifact(run, "recommendation/prune_recommendation.json").read_text())
    assert content["retiring_tables"] == {"feed": 30}
    assert content["saved_cost"] == 37, "feed and d; c and its table go on being computed"
    last = report.savings.waves[-1]  # type: ignore[union-attr]
    assert (last.title, last.features, last.cost) == ("Read by others", ["c"], 0)
    text = artifact(run, "report/report.md").read_text()
    assert "still read by churn" in text
    assert "Not in this log: elsewhere:x." in text
    assert "still read by <bdi" in artifact(run, "report/index.html").read_text()


def test_feast_finds_the_features_of_the_registered_version(run: Run) -> None:
    refs = json.loads(artifact(run, "feast_features.json").read_text())
    assert sorted(refs) == ["user:a", "user:b"]
    version = MlflowClient().get_model_version("feature-audit", run.data.tags["audit.recommendation"].rsplit("/")[-1])
    for tags in (version.tags, run.data.tags):
        assert sorted(tags["feast.feature_refs"].split(",")) == ["user:a", "user:b"]
        assert tags["feast.feature_views"] == "user"


def test_the_run_names_its_data_with_schema_and_profile(run: Run) -> None:
    (one,) = run.inputs.dataset_inputs
    kinds = {column["name"]: column["type"] for column in json.loads(one.dataset.schema)["mlflow_colspec"]}
    assert kinds == {**dict.fromkeys("abcdef", "double"), "dim": "string", "words": "string"}
    profile = json.loads(one.dataset.profile)
    assert (profile["num_rows"], profile["num_features"]) == (3_000, 7)
    assert sum(profile["rows_per_split"].values()) == 3_000
    assert {"cfg.k", "cfg.margin", "cfg.model", "cfg.profile"} <= set(run.data.params)


def test_the_logged_model_has_rows_of_kept_columns_as_its_example(run: Run) -> None:
    model = mlflow.pyfunc.load_model(run.data.tags["audit.recommendation"])
    example = model.input_example
    assert example.shape == (5, 2)
    raw = log().select("a", "b").rows()
    assert all(any(np.allclose(row, one) for one in raw) for row in example[["a", "b"]].to_numpy())
    assert len(model.predict(example)) == 5


def test_a_report_survives_json_and_is_shown_where_nothing_was_measured(report: AuditReport) -> None:
    assert read_json(render_json(report)) == report
    saved = report.savings
    assert saved is not None
    footprint = replace(saved.full, bytes_per_row=None, plain_bytes_per_row=None, rows_per_second=None, latency_ms=None)
    bare = replace(footprint, model_bytes=None)
    waves = [replace(wave, bytes_per_row=None, embedding_share=None) for wave in saved.waves]
    empty = replace(report, savings=replace(saved, full=bare, pruned=bare, waves=waves, fading=[], bytes_from=None))
    for text in (render_html(empty), render_markdown(empty)):
        assert "fewer bytes" not in text
        assert "Without retraining, a cut changes" not in text
        assert "still read by" in text


@pytest.mark.parametrize(("name", "says"), [("nowhere.yaml", "cannot be read"), ("list.yaml", "contains no consumers")])
def test_a_wrong_file_is_refused_before_the_log_is_opened(run: Run, home: Path, name: str, says: str, capsys) -> None:
    (home / "list.yaml").write_text("- a\n")
    assert feature_audit("run", "--data", "gone.parquet", "--target", "y", "--consumers", name) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"consumers={name}: {says}" in error


def test_another_file_of_consumers_is_another_question_and_trains_nothing(run: Run, home: Path, capsys) -> None:
    """``c`` has no other consumer any more, so the table is retired, in a separate run."""
    (home / "consumers.yaml").write_text("churn: [a]\n")
    assert feature_audit("parity", "--audit", run.info.run_id) == 0
    output, again = capsys.readouterr().err, newest_run()
    assert again.data.tags["audit.continues"] == run.info.run_id
    for stage in ("load", "baseline", "select", "retrain", "parity"):
        assert f"{stage}: reused from the cache" in output
    content = json.loads(artifact(again, "recommendation/prune_recommendation.json").read_text())
    assert content["saved_cost"] == 100 + 30 + 5 + 7
    assert again.data.tags["audit.look"] == run.data.tags["audit.look"]

"""The commands of the README as a user types them: `mlflow run . ...` in separate processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from click_log import make_log
from mlflow import MlflowClient
from mlflow.entities import Run
from processes import free_port, wait_for_server, wait_until

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    make_log().write_csv(folder / "log.csv")
    (folder / "audit.yaml").write_text(
        "target: clicked\nrow_id: impression\ntime: ts\ngroup: user_id\n"
        "margin: 0.01\nmodel: mlp\nprofile: quick\nthreads: 1\n"
    )
    return folder


def mlflow_run(home: Path, *words: str, project: str = str(ROOT)) -> subprocess.CompletedProcess[str]:
    scripts = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_TRACKING_URI": f"sqlite:///{home / 'mlflow.db'}",
    }
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"):
        environment.pop(name, None)
    command = [str(scripts / "mlflow"), "run", project, "--env-manager", "local", *words]
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)


def newest(home: Path) -> Run:
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    runs = client.search_runs(["0"], order_by=["attributes.start_time DESC"])
    return next(run for run in runs if "mlflow.parentRunId" not in run.data.tags)


def test_audit_promote_and_rollback(home: Path) -> None:
    data = ["-P", f"data={home / 'log.csv'}", "-P", f"config={home / 'audit.yaml'}", "-P", f"work_dir={home / 'work'}"]
    mapping = "{device: categorical, 'hour_*': numeric}"
    guarded = ("-P", "guards={logloss: {margin: 1.0, mode: not_worse}}", "-P", "slices=[{device: [tv, phone]}]")
    done = mlflow_run(home, *data, "-P", "k=10", "-P", f"kinds={mapping}", "-P", "test_share=0.25", *guarded)
    assert done.returncode == 0, done.stderr[-2000:]
    run = newest(home)
    assert run.info.run_name.startswith("pass: "), "over the name that `mlflow run` drew"
    given = {key: value for key, value in run.data.params.items() if not key.startswith("cfg.")}
    assert given.keys() == {"data", "config", "work_dir", "k", "kinds", "test_share", "guards", "slices"}, (
        "what was given, nothing empty"
    )
    assert json.loads(run.data.params["cfg.kinds"]) == {"device": "categorical", "hour_*": "numeric"}
    assert run.data.params["cfg.test_share"] == "0.25"
    assert json.loads(run.data.params["cfg.guards"]) == {"logloss": {"margin": 1.0, "mode": "not_worse"}}
    assert json.loads(run.data.params["cfg.slices"]) == [{"device": ["tv", "phone"]}]
    assert "parity/auc_at_device:tv.ci_low" in run.data.metrics
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    assert (run.info.status, run.data.tags["audit.verdict"]) == ("FINISHED", "pass")
    assert run.data.params["k"] == "10"
    children = client.search_runs(["0"], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    assert {child.data.tags["audit.stage"] for child in children} == {"load", "baseline", "select", "retrain", "parity"}

    assert mlflow_run(home, "-e", "promote", "-P", "model_name=feature-audit").returncode == 0
    version = client.get_model_version_by_alias("feature-audit", "production").version
    assert newest(home).info.run_name == f"promote v{version}: feature-audit"
    assert run.data.tags["audit.recommendation"] == f"models:/feature-audit/{version}"

    again = mlflow_run(home, "-e", "parity", "-P", f"audit={run.info.run_id}", "-P", "margin=0.02")
    assert again.returncode == 0, again.stderr[-2000:]
    assert "baseline: reused from the cache" in again.stderr
    another = newest(home)
    assert (another.data.tags["audit.margin"], another.data.tags["audit.continues"]) == ("0.02", run.info.run_id)
    assert client.get_run(run.info.run_id).data.tags["audit.margin"] == "0.01", "what was answered stays as it is"

    assert mlflow_run(home, "-e", "rollback", "-P", "model_name=feature-audit").returncode == 0
    assert "production" not in client.get_registered_model("feature-audit").aliases


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("-P", "k=abc"), "k='abc'"),
        (("-P", "data=missing.parquet"), "missing.parquet"),
        (("-P", "colour=red"), "--colour"),
    ],
)
def test_a_mistake_fails_the_run_with_one_line_and_a_tag(home: Path, words: tuple[str, ...], says: str) -> None:
    done = mlflow_run(home, "-P", f"config={home / 'audit.yaml'}", "-P", f"work_dir={home / 'work'}", *words)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("feature-audit: error:")]
    assert len(lines) == 1
    assert says in lines[0]
    assert "Traceback" not in done.stderr
    run = newest(home)
    assert (run.info.status, run.data.tags["audit.verdict"]) == ("FAILED", "error")


def test_the_promoted_model_is_served_and_scores_the_kept_columns(home: Path) -> None:
    import urllib.error
    import urllib.request

    data = ["-P", f"data={home / 'log.csv'}", "-P", f"config={home / 'audit.yaml'}", "-P", f"work_dir={home / 'work'}"]
    assert mlflow_run(home, *data, "-P", "k=10").returncode == 0
    assert mlflow_run(home, "-e", "promote", "-P", "model_name=feature-audit").returncode == 0
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    run = newest_audit(home)
    kept = Path(client.download_artifacts(run.info.run_id, "recommendation/kept_features.txt")).read_text().split()
    predictions = pl.read_parquet(client.download_artifacts(run.info.run_id, "parity/predictions.parquet"))
    rows = pl.read_csv(home / "log.csv").filter(pl.col("impression").is_in(predictions["row_id"].to_list())).head(5)
    scripts = Path(sys.executable).parent
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{home / 'mlflow.db'}",
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
    }
    port = free_port()
    server = subprocess.Popen(
        [str(scripts / "mlflow"), "models", "serve", "-m", "models:/feature-audit@production", "--env-manager", "local",
         "--port", str(port), "--host", "127.0.0.1"],
        env=environment, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for_server(f"{address}/ping", server)
        body = json.dumps({"dataframe_split": rows.select(kept).to_pandas().to_dict(orient="split")}, default=str)
        request = urllib.request.Request(f"{address}/invocations", body.encode(), {"Content-Type": "application/json"})
        scores = json.loads(urllib.request.urlopen(request, timeout=60).read())["predictions"]
        body = json.dumps({"dataframe_split": rows.select(kept[1:]).to_pandas().to_dict(orient="split")}, default=str)
        request = urllib.request.Request(f"{address}/invocations", body.encode(), {"Content-Type": "application/json"})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=60)
        with refused.value as answer:
            error = json.loads(answer.read())
    finally:
        server.terminate()
        server.wait(30)
    assert f"missing inputs ['{kept[0]}']" in error["message"]
    assert "stack_trace" not in error
    expected = [predictions[name].head(5).to_list() for name in predictions.columns if name.startswith("pruned_")]
    assert min(max(abs(a - b) for a, b in zip(scores, seed, strict=True)) for seed in expected) < 1e-4


def test_a_tag_of_a_repository_is_run_without_a_checkout(home: Path, tmp_path: Path) -> None:
    daemon = Path(subprocess.check_output(["git", "--exec-path"], text=True).strip()) / "git-daemon"
    if not daemon.exists():
        pytest.skip("this git has no daemon")
    repository = tmp_path / "feature-audit"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(repository)], check=True)
    subprocess.run(["git", "-C", str(repository), "tag", "v9.9.9"], check=True)
    port = free_port()
    address = f"git://127.0.0.1:{port}/feature-audit"
    served = [str(daemon), "--export-all", f"--base-path={tmp_path}", "--listen=127.0.0.1", f"--port={port}"]
    server = subprocess.Popen([*served, str(tmp_path)], stderr=subprocess.DEVNULL)
    try:
        answers = ["git", "ls-remote", "--quiet", address]
        wait_until(lambda: subprocess.run(answers, capture_output=True, check=False).returncode == 0, process=server)
        data = [
            "-P",
            f"data={home / 'log.csv'}",
            "-P",
            f"config={home / 'audit.yaml'}",
            "-P",
            f"work_dir={home / 'git'}",
        ]
        done = mlflow_run(home, "-v", "v9.9.9", "-e", "load", *data, project=address)
    finally:
        server.terminate()
        server.wait(30)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "load: 8,000 rows" in done.stderr
    tags = newest(home).data.tags
    assert tags["mlflow.source.name"] == address
    head = subprocess.check_output(["git", "-C", str(ROOT), "rev-parse", "HEAD"], text=True).strip()
    assert tags["mlflow.source.git.commit"] == head


def newest_audit(home: Path) -> Run:
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    return client.search_runs(["0"], "tags.audit.k LIKE '%'", order_by=["attributes.start_time DESC"])[0]

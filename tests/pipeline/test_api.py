"""Audits and verdicts from Python."""

from __future__ import annotations

import doctest
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import feature_audit
import mlflow
import numpy as np
import polars as pl
import pytest
from feature_audit import api
from feature_audit.errors import AuditError, UsageError


def log(rows: int = 2_500, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 6))
    y = (2 * x[:, 0] - 2 * x[:, 1] + rng.normal(size=rows) > 0).astype(np.int8)
    return pl.DataFrame({f"x{i}": x[:, i] for i in range(6)}).with_columns(
        y=pl.Series(y), user=rng.integers(0, 300, rows)
    )


QUICK = {"target": "y", "group": "user", "profile": "quick", "k": 2, "margin": 0.02, "threads": 1}
QUICK |= {"training": {"max_epochs": 1}}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def found(home: Path) -> Iterator[api.Audit]:
    """An audit that uses the tracking store set by the notebook."""
    before = mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        mlflow.set_tracking_uri(f"sqlite:///{home / 'named.db'}")
        try:
            yield feature_audit.audit(log(), **QUICK)
        finally:
            mlflow.set_tracking_uri(before)


def test_an_audit_of_a_frame(found: api.Audit, home: Path) -> None:
    assert found.verdict == "pass"
    assert found.k == 2
    assert set(found.kept) == {"x0", "x1"}
    assert found.sentence.startswith("The pruned model's AUC")
    assert found.ranking.height == 6
    assert found.ranking.filter(decision="keep")["feature"].to_list() == found.kept
    assert 2 in found.curve["k"].to_list()
    assert "<title>" in found.html
    assert found._repr_html_().startswith("<iframe srcdoc=")
    assert "fewer bytes read per row" in found.html
    saved = found.report.savings
    assert saved.pruned.bytes_per_row == pytest.approx(saved.full.bytes_per_row / 3, rel=0.05)
    assert saved.full.rows_per_second > 0
    assert [point.coverage for point in saved.fading] == [1.0, 0.75, 0.5, 0.25, 0.0]
    run = mlflow.MlflowClient(f"sqlite:///{home / 'named.db'}").get_run(found.run_id)
    assert run.data.metrics["savings/model_bytes.full"] == saved.full.model_bytes
    assert run.data.tags["audit.verdict"] == "pass"
    assert not (home / "mlflow.db").exists()
    assert len(list((home / ".audit" / "frames").iterdir())) == 1


def test_the_same_frame_from_pandas_is_the_same_audit(found: api.Audit, home: Path, monkeypatch, caplog) -> None:
    monkeypatch.chdir(home)
    with caplog.at_level("INFO"):
        again = feature_audit.audit(log().to_pandas(), **QUICK)
    assert again.kept == found.kept
    assert "baseline: reused from the cache; same code, configuration and data" in caplog.text
    assert again.promote().startswith("production of feature-audit is now version")


@pytest.mark.parametrize(
    ("keys", "kind", "line"),
    [
        ({"target": "y", "kk": 3}, UsageError, "kk: unknown key; did you mean k"),
        ({"target": "z"}, AuditError, "target=z: no such column"),
        ({"target": "y", "model": lambda schema: None}, UsageError, "model=.*it must be importable"),
        ({"target": "y", "k": 0}, UsageError, "k=0: give a whole number"),
    ],
)
def test_mistakes(keys, kind, line, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=line):
        feature_audit.audit(log(200), **keys)


def test_parity_of_score_arrays() -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 8_000)
    full = [y + rng.normal(size=8_000) * 0.01 + (truth := rng.normal(size=8_000)) for _ in range(3)]
    same = [one + 0.01 * rng.normal(size=8_000) for one in full]
    assert truth is not None
    worse = [one + rng.normal(size=8_000) for one in full]
    assert feature_audit.parity(y, full, same, margin=0.02).verdict == "pass"
    assert feature_audit.parity(y, full, worse, margin=0.02).verdict == "fail"
    unit = rng.integers(0, 400, 8_000).astype(str)
    result = feature_audit.parity(pl.Series(y), full[0], same[0], unit=unit, margin=0.02, guards={"gauc": 0.5})
    assert {row.metric for row in result.deltas} == {"auc", "gauc"}
    assert result.verdict == "pass"


@pytest.mark.parametrize(
    ("metric", "shown"),
    [("logloss", "log loss"), ("normalised_entropy", "normalised entropy"), ("ndcg", "NDCG@10"), ("ndcg@5", "NDCG@5")],
)
def test_the_sentence_shows_metrics_as_the_report_does(metric: str, shown: str) -> None:
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, 2_000)
    score = np.clip(0.3 + 0.4 * y + 0.1 * rng.normal(size=2_000), 0.01, 0.99)
    found = feature_audit.parity(y, score, score, unit=rng.integers(0, 200, 2_000), metric=metric, margin=0.02)
    assert f"the pruned model's {shown} is" in found.sentence


def test_parity_of_values_and_classes() -> None:
    rng = np.random.default_rng(2)
    value = rng.normal(size=5_000)
    with pytest.raises(UsageError, match="margin: rmse is in the units of the target"):
        feature_audit.parity(value, value, value, metric="rmse")
    assert feature_audit.parity(value, value + 0.1, value + 0.1 + 1e-3, metric="rmse", margin=0.05).verdict == "pass"
    label = rng.integers(0, 3, 5_000)
    scores = np.eye(3)[label] + rng.normal(size=(5_000, 3)) * 0.3
    assert (
        feature_audit.parity(label, scores, [scores, scores + 1e-3], task="multiclass", margin=0.02).verdict == "pass"
    )


def test_a_failed_audit_promotes_nothing(found: api.Audit) -> None:
    report = replace(found.report, verdict="fail", recommendation=None)
    with pytest.raises(UsageError, match="verdict=fail: no version was registered, so there is nothing to promote"):
        api.Audit("fail", report, found.run_id).promote()


def test_the_example_in_the_docstring_runs() -> None:
    assert doctest.testmod(api).failed == 0

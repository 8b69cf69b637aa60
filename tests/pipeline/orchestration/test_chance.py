"""A full model that learned nothing is reported after baseline, and its audit does not pass."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from command_line import artifact, feature_audit, newest_audit, tracking_in


def write(path: Path, *, rows: int, skill: float) -> str:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 8))
    y = rng.random(rows) < 1 / (1 + np.exp(-skill * (x[:, 0] + x[:, 1])))
    words = np.where(y, "click", "skip")  # the positive word is first in alphabetical order
    pl.DataFrame({"y": words, **{f"x{i}": x[:, i] for i in range(8)}}).write_parquet(path)
    return str(path)


def test_one_line_after_baseline_says_how_far_from_chance_it_is(tmp_path, capsys) -> None:
    shown = {}
    with tracking_in(tmp_path):
        for skill in (0.0, 2.0, 0.0):  # the last from the cache
            data = write(tmp_path / f"{skill}.parquet", rows=2000, skill=skill)
            assert feature_audit("baseline", "--data", data, "--target", "y", "--profile", "quick") == 0
            text = capsys.readouterr().err
            (shown[skill],) = (one for one in text.splitlines() if "full model: validation auc" in one)
    assert all("], chance 0.5000; quick gradient boosting: auc " in line for line in shown.values())
    advice = "not better than chance; check target, positive, time, split and kinds"
    assert [skill for skill, line in shown.items() if advice in line] == [0.0]


@pytest.mark.slow
def test_an_audit_of_noise_does_not_pass(tmp_path) -> None:
    with tracking_in(tmp_path):
        data = write(tmp_path / "log.parquet", rows=20_000, skill=0.0)
        words = ("--data", data, "--target", "y", "--profile", "quick", "--margin", "0.1")
        assert feature_audit("run", *words) == 0
        run = newest_audit()
        assert run.data.tags["audit.verdict"] == "inconclusive"
        assert "audit.recommendation" not in run.data.tags
        assert run.data.metrics["parity/auc.ci_low"] > -0.1
        report = artifact(run, "report/report.md").read_text(encoding="utf-8")
    assert "parity with it proves nothing" in report
    assert "not better than chance; check target, positive, time, split and kinds" in report


@pytest.mark.slow
def test_a_full_model_that_its_own_features_harm_does_not_prevent_a_pass(tmp_path) -> None:
    """Boosting and production are clearly better than the full model of 404 columns, not than that of the signals."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5_000, 4))
    logit = 2.4 * np.abs(x[:, 0]) + 2.4 * x[:, 1] + 1.6 * x[:, 2] * (x[:, 3] > 0) - 2
    columns = {"y": rng.random(5_000) < 1 / (1 + np.exp(-logit)), **{f"signal_{i}": x[:, i] for i in range(4)}}
    columns |= {f"noise_{i}": rng.normal(size=5_000) for i in range(400)}
    columns["production"] = logit + 0.8 * rng.normal(size=5_000)
    pl.DataFrame(columns).write_parquet(tmp_path / "log.parquet")
    with tracking_in(tmp_path):
        data = str(tmp_path / "log.parquet")
        words = ("--target", "y", "--production_score", "production", "--profile", "quick", "--margin", "0.01")
        assert feature_audit("run", "--data", data, *words, "--threads", "1") == 0
        run = newest_audit()
        report = json.loads(artifact(run, "report/report.json").read_text(encoding="utf-8"))
    assert report["verdict"] == "pass"
    assert "test rows, the full model is clearly worse: AUC" in report["production"]
    assert "the pruned model is clearly worse" not in report["production"]
    (warned,) = [line for line in report["warnings"] if "gradient boosting is clearly better" in line]
    assert "The verdict does not depend on it, because the pruned model (auc 0." in warned


def test_what_a_label_cannot_decide_is_refused_before_anything_is_trained(tmp_path, capsys) -> None:
    rng = np.random.default_rng(0)
    rare = pl.DataFrame({"y": (np.arange(4000) % 100 == 0).astype(int), "x": rng.normal(size=4000)})  # 40 positives
    rare.write_parquet(tmp_path / "rare.parquet")
    with tracking_in(tmp_path):
        assert feature_audit("load", "--data", str(tmp_path / "rare.parquet"), "--target", "y") == 1
        line = capsys.readouterr().err.splitlines()[-1]
        assert "validation rows are '1', and at least 10 are needed for a verdict" in line
        assert "a larger validation_share or another split" in line
        data = write(tmp_path / "log.parquet", rows=400, skill=1.0)
        assert feature_audit("load", "--data", data, "--target", "y", "--positive", "clicked") == 1
    assert "positive=clicked: target=y has the values click and skip; give one of them" in capsys.readouterr().err

"""Margins, guards and production scores through the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from command_line import artifact, feature_audit, newest_audit, newest_run, tracking_in
from feature_audit.report import read_json

QUICK = ["--profile", "quick", "--model", "mlp", "--threads", "1", "--training", "{max_epochs: 2}"]


def log(rows: int, seed: int = 0) -> pl.DataFrame:
    """Two signals, noise, a binary and a numeric label, and the scores of a better and a worse model."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 5))
    signal = 1.5 * x[:, 0] + x[:, 1]
    return pl.DataFrame(
        {
            **{f"x{number}": x[:, number] for number in range(5)},
            "user": rng.integers(0, rows // 10, rows),
            "city": np.array(["Rome", "Paris", "Oslo"])[rng.integers(0, 3, rows)],
            "clicked": (rng.random(rows) < 1 / (1 + np.exp(-signal))).astype(int),
            "price": 200 + 30 * (signal + rng.normal(size=rows)),
            "good": 1 / (1 + np.exp(-signal)),
            "poor": x[:, 2],
        }
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with tracking_in(tmp_path_factory.mktemp("margins")) as folder:
        log(1500).write_parquet(folder / "log.parquet")
        yield folder


def baseline(home: Path, target: str, *words: str, drop: str) -> int:
    data = ["--data", str(home / "log.parquet"), "--target", target, "--exclude", drop]
    return feature_audit("baseline", *data, *QUICK, *words)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--guards", "{gauc: 0.1}"], "guards=gauc: is computed within users; name the user column"),
        (["--guards", "{ndcg@5: 0.1}"], "guards=ndcg@5: is computed within users"),
        (["--guards", "{calibration: -1}"], "guards.calibration=-1: give a finite number of 0 or more"),
        (["--guards", "{rmse: 1}", "--metric", "auc"], "guards=rmse: does not fit metric=auc"),
        (["--guards", "{lift: 1}"], "guards=lift: unknown"),
        (["--slice_margin", "0.1"], "slice_margin=0.1: there are no slices"),
        (["--margin", "a lot"], "margin='a lot': give a number in the units of the metric such as 0.002, or a share"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused_before_the_log_is_opened(
    home: Path, capfd: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    assert feature_audit("run", "--data", "no/such/file.parquet", "--target", "y", *words) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if "error:" in line]
    assert len(lines) == 1
    assert says in lines[0]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--guards", "{rmse: 1}"], "guards=rmse: does not fit task=binary"),
        (["--guards", "{auc: 0.1}"], "guards=auc: this is the decision metric"),
        (["--metric", "calibration", "--margin", "1%"], "margin=1%: a no-skill model can be perfectly calibrated"),
        (
            ["--metric", "logloss", "--production_score", "poor"],
            "production_score=poor: ranges from -3.",
        ),
    ],
)
def test_what_only_the_data_can_say_stops_before_a_training(
    home: Path, capfd: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    assert baseline(home, "clicked", *words, drop="good,price") == 1
    written = capfd.readouterr().err
    assert says in written.splitlines()[-1]
    assert "epochs" not in written


@pytest.mark.parametrize(
    ("target", "words", "share", "scale"),
    [
        ("clicked", ["--margin", "2%"], "2%", 0.3),
        pytest.param("clicked", ["--metric", "logloss", "--margin", "2%"], "2%", 0.2, marks=pytest.mark.slow),
        ("price", ["--metric", "rmse"], "1%", 30.0),
        pytest.param("price", ["--metric", "mae"], "1%", 24.0, marks=pytest.mark.slow),
    ],
)
def test_a_share_becomes_a_margin_in_the_metrics_units_once_the_full_model_is_trained(
    home: Path, capfd: pytest.CaptureFixture[str], target: str, words: list[str], share: str, scale: float
) -> None:
    assert (
        baseline(home, target, *words, drop="good,poor,user," + {"clicked": "price", "price": "clicked"}[target]) == 0
    )
    run = newest_run()
    margin = float(run.data.tags["audit.margin"])
    assert 0.2 * scale < margin / (float(share[:-1]) / 100) < 1.2 * scale
    assert run.data.tags["audit.margin_share"] == share
    assert run.data.params["cfg.margin"] == str(margin)
    assert yaml.safe_load(artifact(run, "config/resolved.yaml").read_text())["margin"] == margin
    given = yaml.safe_load(artifact(run, "config/given.yaml").read_text())
    assert given.get("margin") == (share if "--margin" in words else None)
    assert f"margin = {margin:g} ({share} of the gain over a no-skill model" in capfd.readouterr().err


@pytest.mark.parametrize(("words", "margin"), [([], 0.002), (["--margin", "0.01"], 0.01)])
def test_a_margin_without_a_share_stays_what_it_is(home: Path, words: list[str], margin: float) -> None:
    assert baseline(home, "clicked", *words, drop="good,poor,user,price") == 0
    run = newest_run()
    assert (run.data.tags["audit.margin"], run.data.params["cfg.margin"]) == (str(margin), str(margin))
    assert "audit.margin_share" not in run.data.tags


def test_there_is_no_share_of_an_advantage_that_is_not_there(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    noise = pl.DataFrame({"y": rng.integers(0, 2, 300), **{f"x{i}": rng.normal(size=300) for i in range(20)}})
    noise.write_parquet(home / "noise.parquet")
    words = ["--data", str(home / "noise.parquet"), "--target", "y", *QUICK, "--metric", "logloss"]
    words[words.index("{max_epochs: 2}")] = "{max_epochs: 2, learning_rate: 0.05, patience: 1, average_decay: 0}"
    code = feature_audit("baseline", *words, "--margin", "1%")
    line = capfd.readouterr().err.splitlines()[-1]
    assert code == 1, line
    assert "margin=1%: the full model's validation logloss is no better than that of a constant" in line


def test_too_few_units_are_reported_before_any_training(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    few = log(900).with_columns(team=pl.Series(np.arange(900) % 7))
    few.write_parquet(home / "few.parquet")
    words = ["--data", str(home / "few.parquet"), "--target", "clicked", "--threads", "1"]
    assert feature_audit("load", *words, "--group", "team", "--exclude", "user") == 0
    assert "load: the test split has 7 team values, too few to estimate their variance" in capfd.readouterr().err
    assert feature_audit("load", *words, "--group", "user") == 0
    assert "too few" not in capfd.readouterr().err
    few.with_columns(user=pl.when(pl.int_range(900) % 3 == 0).then(0).otherwise("user")).write_parquet(
        home / "few.parquet"
    )
    assert feature_audit("load", *words, "--group", "user") == 0
    assert re.search(r"load: one of the user values has 3\d% of the test rows, too many to", capfd.readouterr().err)


@pytest.mark.slow
def test_guards_slices_and_production_reach_verdict_report_and_metrics(home: Path) -> None:
    log(6000).write_parquet(home / "large.parquet")
    words = [
        "run",
        "--data",
        str(home / "large.parquet"),
        "--target",
        "clicked",
        "--group",
        "user",
        "--exclude",
        "price",
    ]
    words += ["--profile", "quick", "--model", "mlp", "--threads", "1", "--margin", "10%", "--selector", "f_test"]

    def audit(score: str, *more: str) -> tuple[str, str]:
        other = {"good": "poor", "poor": "good"}[score]
        words[words.index("--exclude") + 1] = f"price,{other}"
        assert feature_audit(*words, "--production_score", score, *more) == 0
        return newest_audit().data.tags["audit.verdict"], artifact(newest_audit(), "report/report.md").read_text()

    easy = ["--guards", "{logloss: {margin: 0.1, mode: not_worse}, calibration: 0.2}"]
    easy += ["--slices", "[{city: [Rome, Oslo]}]", "--slice_margin", "20%", "--slice_mode", "not_worse"]
    verdict, text = audit("poor", *easy)
    assert verdict == "pass", text[:900]
    run = newest_audit()
    report = read_json(artifact(run, "report/report.json").read_text())
    modes = {(row.metric, row.slice): row.mode for row in report.deltas if row.role == "guard"}
    assert modes[("logloss", "all")] == modes[("auc", "city = Rome")] == "not_worse"
    assert modes[("calibration", "all")] == "not_shown_worse"
    assert {"parity/auc_at_city:Rome.ci_low", "parity/logloss.ci_low", "production/test/auc"} <= set(run.data.metrics)
    assert "Compared with production (poor) on" in text
    assert "the full model is better" in text
    assert "the pruned model is better" in text
    assert "(10% of the full model's gain over a no-skill model)" in text
    assert "0.1 (guard, must pass)" in text

    verdict, text = audit("poor", "--guards", "{logloss: {margin: 0, mode: not_worse}}")
    assert verdict == "inconclusive", text[:900]
    assert "but a loss beyond the margin is not ruled out on log loss".casefold() in text.casefold()
    assert "audit.recommendation" not in newest_audit().data.tags

    harmed = log(6000).with_columns(x0=pl.col("x0") + 2 * pl.Series(np.random.default_rng(3).normal(size=6000)))
    harmed.write_parquet(home / "large.parquet")
    verdict, text = audit("good")
    assert verdict == "inconclusive", text[:900]
    assert "The pruned model is clearly worse than production" in text
    assert "the full model is clearly worse: AUC" in text

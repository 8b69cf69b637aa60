"""A log with sampled negatives, through the command line: weights restore the results of the whole log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import polars as pl
import pytest
from command_line import artifact, feature_audit, newest_audit, tracking_in
from feature_audit.noninferiority import metric
from feature_audit.noninferiority.metrics import Sample
from mlflow.entities import Run

KEYS = ["--target", "clicked", "--row_id", "row", "--split", "fold", "--threads", "1", "--profile", "quick"]
AUDIT = [
    *KEYS,
    "--model",
    "mlp",
    "--k",
    "4",
    "--k_min",
    "4",
    "--metric",
    "auc",
    "--margin",
    "0.05",
    "--baseline_seeds",
    "1",
]
ROWS = 24_000


def whole_log() -> pl.DataFrame:
    """Four signals and six noise columns, 8 % clicks."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(3, ROWS))
    device = rng.integers(0, 4, ROWS)
    logit = x.T @ [1.0, 0.8, 0.7] + np.array([-0.8, 0.0, 0.8, 0.3])[device] - 3.4
    fold = np.array(["train", "validation", "test"])[np.digitize(rng.random(ROWS), [0.6, 0.75])]
    return pl.DataFrame(
        {
            "row": np.arange(ROWS),
            **dict(zip("abc", x, strict=True)),
            "device": device.astype(str),
            **{f"noise_{number}": rng.normal(size=ROWS) for number in range(6)},
            "fold": fold,
            "clicked": (rng.random(ROWS) < 1 / (1 + np.exp(-logit))).astype(int),
        }
    )


def sampled_log() -> pl.DataFrame:
    """The same with a tenth of the negatives, each of weight 10."""
    kept = (pl.col("clicked") == 1) | (pl.col("row").hash(3) % 10 == 0)
    return whole_log().filter(kept).with_columns(w=pl.when(pl.col("clicked") == 1).then(1).otherwise(10))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with tracking_in(tmp_path_factory.mktemp("weights")) as folder:
        whole_log().write_parquet("whole.parquet")
        sampled_log().write_parquet("sampled.parquet")
        yield folder


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["--weight", "W"], 1, "weight=W: no such column; did you mean w?"),
        (["--weight", "clicked"], 1, "weight=clicked: the column has another role; name the column of the weight"),
        (["--weight", "device_name"], 1, "weight=device_name: no such column; did you mean device?"),
        (["--weight", "w", "--never_drop", "w,a"], 1, "never_drop=w: the column is not a feature"),
        (
            ["--weight", "w", "--negative_sampling", "0.1"],
            2,
            "negative_sampling=0.1: weight=w already weights the rows",
        ),
        (["--negative_sampling", "0"], 2, "negative_sampling='0': input should be greater than 0"),
        (["--negative_sampling", "0.1", "--task", "regression"], 2, "negative_sampling=0.1: task=regression has no"),
        (["--negative_sampling", "0.1", "--target", "a"], 1, "negative_sampling=0.1: a regression target has no"),
        (["--weight", "w", "--selector", "f_test"], 2, "selector=f_test: does not support row weights"),
    ],
)
def test_mistakes_are_one_line(
    home: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, line: str
) -> None:
    assert feature_audit("load", "--data", "sampled.parquet", *KEYS, *words) == code
    errors = [output for output in capsys.readouterr().err.splitlines() if "error: " in output]
    assert len(errors) == 1
    assert line in errors[0]


def test_the_log_says_what_weights_make_of_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = sampled_log()
    rate = log["clicked"].mean()
    by_weight = float(np.average(log["clicked"], weights=log["w"]))
    for words in (["--weight", "w"], ["--negative_sampling", "0.1", "--exclude", "w"]):
        assert feature_audit("load", "--data", "sampled.parquet", *KEYS, *words) == 0
        output = capsys.readouterr().err
        assert f"{100 * rate:.3g} % positive, {100 * by_weight:.3g} % by weight" in output
        assert "effective sample size: train " in output
    log.rename({"w": "sample_weight"}).write_parquet("named.parquet")
    assert feature_audit("load", "--data", "named.parquet", *KEYS) == 0
    assert "`sample_weight` looks like a weight (weight=sample_weight unless it is" in capsys.readouterr().err


def audited(data: str, *words: str) -> Run:
    assert feature_audit("run", "--data", data, *AUDIT, *words) == 0
    return newest_audit()


@pytest.fixture(scope="module")
def audits(home: Path) -> dict[str, Run]:
    return {
        "whole": audited("whole.parquet"),
        "weight": audited("sampled.parquet", "--weight", "w"),
        "rate": audited("sampled.parquet", "--negative_sampling", "0.1", "--exclude", "w"),
    }


def measured(run: Run, name: str, arm: str) -> tuple[float, float]:
    """A metric of the run's own predictions and its standard error."""
    table = pl.read_parquet(artifact(run, "parity/predictions.parquet"))
    weight = table["weight"].to_numpy() if "weight" in table.columns else None
    y, score = table["y"].to_numpy(), table[arm].to_numpy().astype(np.float64)
    found = metric(name).statistics(Sample(y, score, None, len(y), weight))
    return found.value, float(np.sqrt((found.influence**2).sum()))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["calibration", "logloss", "auc"])
@pytest.mark.parametrize("arm", ["baseline", "pruned_0"])
@pytest.mark.parametrize("how", ["weight", "rate"])
def test_weights_give_the_metrics_of_the_whole_log_within_their_interval(
    audits: dict[str, Run], how: str, arm: str, name: str
) -> None:
    (value, error), (truth, its_error) = measured(audits[how], name, arm), measured(audits["whole"], name, arm)
    assert abs(value - truth) < 3 * np.hypot(error, its_error)
    reported = audits[how].data.metrics[f"baseline/test/{name}"]
    assert reported == pytest.approx(measured(audits[how], name, "baseline")[0], abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["weight", "rate"])
def test_the_registered_model_is_calibrated_on_the_whole_log(audits: dict[str, Run], how: str) -> None:
    """It needs only the kept columns, no weight, and predicts clicks at their rate in production."""
    model = mlflow.pyfunc.load_model(audits[how].data.tags["audit.recommendation"])
    test = whole_log().filter(pl.col("fold") == "test")
    kept = model.metadata.get_input_schema().input_names()
    assert set(kept) == {"a", "b", "c", "device"}
    scores = model.predict(test.select(kept).to_pandas())
    assert np.mean(scores) == pytest.approx(test["clicked"].mean(), rel=0.15)  # without weights it is five times that


@pytest.mark.slow
def test_the_report_says_first_what_the_rows_are_weighted_by(audits: dict[str, Run]) -> None:
    output = "Rows are weighted by w, in training and in every metric. Effective sample size of the "
    page = artifact(audits["weight"], "report/index.html").read_text()
    assert output in page[: page.index("</header>")]
    assert output in artifact(audits["weight"], "report/report.md").read_text()[:2_000]
    assert output in audits["weight"].data.tags["mlflow.note.content"]
    assert json.loads(artifact(audits["weight"], "report/report.json").read_text())["weighting"].startswith(output)
    assert (
        "Every negative counts as 10 rows (negative_sampling=0.1)"
        in artifact(audits["rate"], "report/index.html").read_text()
    )
    assert json.loads(artifact(audits["whole"], "report/report.json").read_text())["weighting"] is None
    assert audits["weight"].data.params["cfg.weight"] == "w"


@pytest.mark.slow
def test_other_weights_train_everything_anew(
    audits: dict[str, Run], capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    audited("sampled.parquet", "--weight", "w")
    assert "baseline: reused from the cache" in capsys.readouterr().err
    audited("sampled.parquet", "--negative_sampling", "0.2", "--exclude", "w")
    output = capsys.readouterr().err
    for stage in ("baseline", "select", "retrain"):
        assert f"{stage}: running again, changed since an earlier run: " in output

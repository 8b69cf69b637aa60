"""The meaning of a label: the same in the pipeline and in the MLflow evaluator, for any type and words."""

from __future__ import annotations

from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import polars as pl
import pytest
from feature_audit.config import AuditConfig
from feature_audit.data import prepare
from feature_audit.errors import AuditError
from feature_audit.labels import read_label
from feature_audit.tracking.evaluator import ParityEvaluator
from mlflow.models.evaluation.evaluator_registry import _model_evaluation_registry
from stores import store_in

ROWS = 800


@pytest.fixture(scope="module", autouse=True)
def tracking(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    with store_in(folder):
        mlflow.create_experiment("labels", artifact_location=str(folder / "artifacts"))
        mlflow.set_experiment("labels")
        _model_evaluation_registry.register("parity", ParityEvaluator)
        yield


def scored(label: pd.Series | list, ones: np.ndarray, sign: float = 1.0) -> pd.DataFrame:
    """Labels with the scores of a good and a bad model: probabilities that a row is positive (marked by ``ones``)."""
    rng = np.random.default_rng(1)
    logit = sign * (2.0 * ones - 1)
    full, pruned = (1 / (1 + np.exp(-spread * logit - rng.normal(size=len(ones)))) for spread in (1.5, 0.5))
    return pd.DataFrame({"label": label, "full": full, "pruned": pruned})


def evaluate(frame: pd.DataFrame, **config: object) -> mlflow.entities.Run:
    with mlflow.start_run() as run:
        mlflow.models.evaluate(
            data=frame, targets="label", predictions=config.pop("predictions", "pruned"), model_type="classifier",
            evaluators="parity", evaluator_config={"baseline": "full", "margin": 0.01, "draws": 0, **config},
        )  # fmt: skip
    return mlflow.get_run(run.info.run_id)


def positives(seed: int = 0, share: float = 0.4) -> np.ndarray:
    return (np.random.default_rng(seed).random(ROWS) < share).astype(int)


def worded(negative: object, positive: object, ones: np.ndarray) -> list:
    return [positive if one else negative for one in ones]


#: negative, positive, share of positives: rarity must not decide if words or numbers do.
PAIRS = [
    ("skip", "click", 0.6), ("none", "buy", 0.6), ("no", "yes", 0.6), (-1, 1, 0.6), (1, 2, 0.6), (False, True, 0.6),
    (0.0, 1.0, 0.6), ("0", "1", 0.6), ("1", "2", 0.6), ("-1", "1", 0.6), ("no click", "click", 0.6),
    ("irrelevant", "relevant", 0.6), ("not_bought", "bought", 0.6), ("impression", "conversion", 0.6),
    ("blue", "amber", 0.3), ("amber", "blue", 0.3),
]  # fmt: skip


@pytest.mark.parametrize(("negative", "positive", "share"), PAIRS)
def test_pipeline_and_evaluator_take_the_same_value_for_positive(negative, positive, share, tmp_path) -> None:
    ones = positives(share=share)
    label = worded(negative, positive, ones)
    frame = pl.DataFrame({"label": label, "x": np.random.default_rng(0).normal(size=ROWS)})
    frame.write_parquet(tmp_path / "log.parquet")
    prepared = prepare(AuditConfig(data=str(tmp_path / "log.parquet"), target="label"), tmp_path / "store")
    assert prepared.summary["classes"] == [str(negative), str(positive)]
    assert prepared.summary["positives_share"] == pytest.approx(ones.mean())
    run = evaluate(scored(label, ones))
    assert run.data.tags["audit.positive"] == str(positive)
    assert run.data.metrics["parity/auc.baseline"] > run.data.metrics["parity/auc.pruned"] > 0.5
    assert run.data.metrics["parity/passed"] == 0.0
    guessed = any("positive class" in finding.detail for finding in prepared.findings)
    assert guessed is ({negative, positive} in ({"blue", "amber"}, {1, 2}, {"1", "2"}))


@pytest.mark.parametrize(
    "typed",
    [
        lambda ones: pd.Categorical(worded("skip", "click", ones), categories=["skip", "click"]),
        lambda ones: pd.Series(worded("skip", "click", ones), dtype="string"),
        lambda ones: pd.Series(ones, dtype="Int64"),
        lambda ones: pd.Series(ones, dtype="boolean"),
        lambda ones: pd.Series(ones, dtype="Float32"),
    ],
)
def test_pandas_types_of_a_label_make_no_difference(typed) -> None:
    ones = positives(share=0.6)
    run = evaluate(scored(typed(ones), ones))
    assert run.data.metrics["parity/auc.baseline"] > 0.8


def test_two_probabilities_a_row_are_read_by_the_place_of_the_positive_class() -> None:
    """`buy` sorts before `none`, so a classifier's second column is that of the negatives."""
    ones = positives()
    frame = scored(worded("none", "buy", ones), ones)
    for name in ("full", "pruned"):
        frame[name] = list(np.stack([frame[name], 1 - frame[name]], axis=1))
    assert evaluate(frame).data.metrics["parity/auc.baseline"] > 0.8


@pytest.mark.parametrize("missing", [np.nan, None])
@pytest.mark.parametrize("words", [("skip", "click"), (0, 1), (False, True)])
def test_a_missing_label_is_refused_in_the_same_line(words, missing, tmp_path) -> None:
    ones = positives()
    label = pd.Series(worded(*words, ones), dtype=object)
    label[7] = missing
    with pytest.raises(AuditError) as evaluated:
        evaluate(scored(label, ones))
    cells = [None if pd.isna(cell) else cell for cell in label]
    pl.DataFrame({"label": cells, "x": np.arange(ROWS) % 7}).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(AuditError) as prepared:
        prepare(AuditConfig(data=str(tmp_path / "log.parquet"), target="label"), tmp_path / "store")
    assert str(evaluated.value) == str(prepared.value)
    assert str(evaluated.value).startswith("target=label: 1 of 800 rows have no label (first: row 7)")


def test_both_models_below_chance_is_a_question_that_positive_answers() -> None:
    ones = positives(share=0.6)
    frame = scored(worded("shown", "tapped", ones), ones)  # no known word, and the positive class is not the rarer
    with pytest.raises(AuditError, match=r"both models rank the positive class 'shown' below chance .*positive=tapped"):
        evaluate(frame)
    run = evaluate(frame, positive="tapped")
    assert run.data.metrics["parity/auc.baseline"] > 0.8
    assert run.data.metrics["parity/passed"] == 0.0
    assert evaluate(frame, positive="shown").data.tags["audit.verdict"] == "inconclusive"  # evaluated as given


@pytest.mark.parametrize(
    ("values", "given", "found"),
    [
        (["a", "b"], "A ", "a"), ([1, 2], 1, "1"), ([1, 2], "1.0", "1"), (["1", "2"], 1, "1"), ([0.0, 1.0], 0, "0.0"),
        ([False, True], "false", "False"), ([False, True], False, "False"), (["no", "yes"], False, "no"),
        (["no", "yes"], "no", "no"), ([0, 1], True, "1"),
    ],
)  # fmt: skip
def test_positive_is_a_value_as_text_or_number(values, given, found) -> None:
    label = pl.Series(values * 20)
    assert read_label(label, shown="y", task=None, positive=given).classes[1] == found


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a", "b"], "positive=c: target=y has the values a and b; give one of them"),
        (["a", "b", "d"], "positive=c: target=y is read as task=multiclass; give a target of two values"),
        ([0.5, 0.25, 0.1], "positive=c: target=y is read as task=regression"),
    ],
)
def test_a_positive_that_is_not_there_is_one_line(values, message) -> None:
    with pytest.raises(AuditError, match=message):
        read_label(pl.Series(values * 20), shown="y", task=None, positive="c")


def test_labels_of_mixed_types_are_one_line() -> None:
    ones = positives()
    with pytest.raises(AuditError, match="target=label: its values have different types"):
        evaluate(scored(pd.Series(["click" if one else 0 for one in ones], dtype=object), ones))


def test_a_column_that_is_the_label_is_no_group(tmp_path: Path) -> None:
    ones = positives()
    frame = pl.DataFrame({"label": ones, "x": np.random.default_rng(0).normal(size=ROWS)}).with_columns(
        bucket=pl.when(pl.col("label") == 1).then(pl.lit("a")).otherwise(pl.lit("b")),
        user=pl.col("label") * 100 + pl.int_range(ROWS) % 60,  # always the same label, but many of each
    )
    frame.write_parquet(tmp_path / "log.parquet")
    for group, reason in (("label", "is the target itself"), ("bucket", "determines the label")):
        with pytest.raises(AuditError, match=f"group={group}: it {reason}"):
            prepare(AuditConfig(data=str(tmp_path / "log.parquet"), target="label", group=group), tmp_path / "store")
    prepare(AuditConfig(data=str(tmp_path / "log.parquet"), target="label", group="user"), tmp_path / "store")
    with pytest.raises(AuditError, match="group=x: it is the target itself"):
        prepare(AuditConfig(data=str(tmp_path / "log.parquet"), target="x", group="x"), tmp_path / "store")

"""Labels of several targets: how they are stored, what is refused, what leaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from data_helpers import prepared_of
from feature_audit.data.overview import overview
from feature_audit.errors import AuditError
from two_labels import two_labels

pytestmark = pytest.mark.usefixtures("without_expectations")


def prepared(folder: Path, log: pl.DataFrame | None = None, **keys: Any):
    given = {"target": None, "targets": "click,convert", "row_id": "row", "exclude": ["all"]}
    return prepared_of(two_labels() if log is None else log, folder, **{**given, **keys})


def test_a_missing_label_is_stored_as_such_and_the_decision_target_as_ever(tmp_path: Path) -> None:
    log = two_labels()
    made, store = prepared(tmp_path)
    (tmp_path / "one").mkdir()
    alone, single = prepared(tmp_path / "one", log.drop("convert"), target="click", targets={})
    assert made.schema.names == alone.schema.names
    for split in ("train", "validation", "test"):
        rows = store.row_id(split)
        wanted = log["convert"].cast(pl.Float32).fill_null(float("nan")).to_numpy()[rows]
        np.testing.assert_array_equal(store.targets(split), np.stack([log["click"].to_numpy()[rows], wanted], axis=1))
        np.testing.assert_array_equal(store.target(split), single.target(split))
    batch = next(iter(store.batches("train", 256, seed=3)))
    np.testing.assert_array_equal(batch.target.numpy(), store.targets("train")[batch.row.numpy()])


def test_one_target_in_a_list_is_that_target(tmp_path: Path) -> None:
    """The same digests and files, so that audits of one target reuse all results."""
    for name, keys in (("a", {"target": "click", "targets": {}}), ("b", {"targets": ["click"]})):
        (tmp_path / name).mkdir()
        prepared(tmp_path / name, **keys)
    one, other = (sorted((tmp_path / name / "store").rglob("*.*")) for name in "ab")
    assert [file.name for file in one] == [file.name for file in other]
    assert not any("target_1" in file.name for file in one)
    layout = [(tmp_path / name / "store" / "layout.json").read_text() for name in "ab"]
    assert layout[0] == layout[1]
    assert "outputs" not in layout[0]


def test_a_targets_weight_is_the_square_root_of_its_entropy(tmp_path: Path) -> None:
    """Entropy in nats per row, for a number that of a normal distribution, so that unit and origin do not matter."""
    dwell = pl.when(pl.col("click") == 1).then(20 + 10 * pl.col("v0"))
    log = two_labels().with_columns(dwell=dwell, minutes=dwell / 60 - 5, w=pl.col("row") % 3 + 1)
    targets = dict.fromkeys(["click", "convert"]) | dict.fromkeys(["dwell", "minutes"], "rmse")
    made, store = prepared(tmp_path, log, targets=targets, weight="w")
    labels, weight = store.targets("train").astype(np.float64), store.weight("train")
    assert weight is not None
    for place, output in enumerate(made.schema.outputs):
        held = ~np.isnan(labels[:, place])
        y, w = labels[held, place], weight[held]
        mean = np.average(y, weights=w)
        variance = np.average(np.square(y - mean), weights=w)
        binary = output.task == "binary"
        losses = -np.where(y > 0, np.log(mean), np.log(1 - mean)) if binary else np.square(y - mean) / (2 * variance)
        nats = (losses * w).sum() / weight.sum()
        constant = nats if binary else (np.square(y - mean) * w).sum() / weight.sum()
        assert constant / output.unit == pytest.approx(np.sqrt(nats), rel=1e-4)
    assert [output.task for output in made.schema.outputs] == ["binary", "binary", "regression", "regression"]


def test_no_target_is_a_feature_and_what_leaks_any_of_them_goes(tmp_path: Path) -> None:
    leaking = two_labels().with_columns(
        paid=pl.when(pl.col("all") == 1).then(pl.col("v0") + 100).otherwise(pl.col("v1")), basket=pl.col("all") * 7.0
    )
    made, _ = prepared(tmp_path, leaking, targets=["click", "all", "basket > 3 AND row > 100"], exclude=["convert"])
    assert "all" not in made.schema.names
    assert "basket" not in made.schema.names
    assert "paid" not in made.schema.names
    found = next(one for one in made.findings if one.column == "paid")
    assert found.detail.startswith("of target all: ")


def test_the_overview_counts_the_labels(tmp_path: Path) -> None:
    made, _ = prepared(tmp_path)
    line = overview(made.summary, "random", {"numeric": 10})[0]
    held = two_labels()["convert"].drop_nulls()
    assert f"convert: {100 * held.mean():.3g} % positive of {len(held):,} labelled rows" in line


BAD = {
    "click,nope": "targets=nope: no such column",
    "click,constant": "targets=constant: every row is 1; give a label with at least two",
    "click,empty": "targets=empty: no row has a label",
    "click,text": "targets=text: 4000 different values; with several targets, each must be binary or numeric",
    "click,stars": "targets=stars: 5 different values; with several targets, each must be binary or numeric",
    "click,words": "targets=words: its values are left and right, and it is unclear which one is positive",
    "click,again": "targets=again: every row has the same label as click",
    "click,few": "targets=few: the train split has ",
    "click,when": "targets=when: its type Date cannot be a label",
    "stars,click": "target=stars: 5 classes; with several targets, each must be binary or numeric",
    "click,sum(": "targets=sum(: neither a column nor an expression",
}


@pytest.mark.parametrize("targets", BAD)
def test_a_bad_target_is_one_line(tmp_path: Path, targets: str) -> None:
    row = pl.col("row")
    log = two_labels().with_columns(
        constant=pl.lit(1),
        empty=pl.lit(None, dtype=pl.Float64),
        text="t" + row.cast(pl.String),
        stars=row % 5,
        words=pl.when(row % 2 == 0).then(pl.lit("left")).otherwise(pl.lit("right")),
        again=pl.col("click"),
        few=pl.when(row < 12).then(row % 2),
        when=pl.date(2024, 1, 1) + pl.duration(days=row % 9),
    )
    with pytest.raises(AuditError) as caught:
        prepared(tmp_path, log, targets=targets)
    assert str(caught.value).startswith(BAD[targets])
    assert "\n" not in str(caught.value)

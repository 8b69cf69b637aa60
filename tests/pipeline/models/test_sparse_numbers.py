"""Numbers that are equal on nearly every row: the trained network uses their values on the other rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from feature_audit.config import AuditConfig
from feature_audit.config.sections import TrainingConfig
from feature_audit.data import Store, prepare
from feature_audit.models import boosting_scores, build_model, predict, train
from feature_audit.schema import ModelSchema
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

Make = Callable[[np.random.Generator, float], np.ndarray]

ROWS, SIGNALS, NOISE = 16_000, 12, 24


def _signs(draw: np.random.Generator, rare: float) -> np.ndarray:
    """-1 and 1 on 1 % of the rows, else ``rare``."""
    return np.where(draw.random(ROWS) < 0.01, draw.choice([-1.0, 1.0], ROWS), rare)


def _counts(draw: np.random.Generator, _: float) -> np.ndarray:
    """A long tail on 1 % of the rows, else 0."""
    return np.where(draw.random(ROWS) < 0.01, draw.lognormal(1, 1, ROWS), 0.0)


def _prepared(folder: Path, make: Make, common: float) -> tuple[Store, ModelSchema]:
    draw = np.random.default_rng(0)
    columns = {f"rare_{n}": make(draw, common) for n in range(SIGNALS + NOISE)}
    columns |= {f"dense_{n}": draw.normal(size=ROWS) for n in range(NOISE)}
    logit = -1.2 + sum(3 * np.sign(np.nan_to_num(columns[f"rare_{n}"])) * (-1) ** n for n in range(SIGNALS))
    clicked = (draw.random(ROWS) < 1 / (1 + np.exp(-logit))).astype(int)
    frame = pl.DataFrame(columns, nan_to_null=True).with_columns(pl.Series("clicked", clicked))
    frame.write_parquet(folder / "log.parquet")
    shares = {"test_share": 0.1, "validation_share": 0.4}
    config = AuditConfig(data=str(folder / "log.parquet"), target="clicked", task="binary", split="random", **shares)
    made = prepare(config, folder / "store")
    return Store.open(made.directory), made.schema


def _one_hot(positions: np.ndarray) -> np.ndarray:
    """Columns of at most three values as indicators, so that MISSING is not a number; others unchanged."""
    columns = []
    for column in np.nan_to_num(positions).T:
        few = column.max() <= 3
        columns += [column == value for value in (1, 2, 3)] if few else [column / 48]
    return np.stack(columns, axis=1).astype(np.float64)


@pytest.mark.parametrize(
    ("make", "common", "short"),
    [
        pytest.param(_signs, 0.0, 0.01, marks=pytest.mark.slow, id="signs"),
        pytest.param(_counts, 0.0, 0.01, id="counts"),
        pytest.param(_signs, np.nan, 0.025, marks=pytest.mark.slow, id="nulls"),
    ],
)
def test_rare_values_are_seen_as_well_as_by_logistic_regression(
    tmp_path: Path, make: Make, common: float, short: float
) -> None:
    store, schema = _prepared(tmp_path, make, common)
    fitted, held_out = (_one_hot(store.matrix(split, schema)) for split in ("train", "validation"))
    target, judged = store.target("train"), store.target("validation")
    linear = LogisticRegression(max_iter=300, C=0.3).fit(fitted, target)
    reference = roc_auc_score(judged, linear.decision_function(held_out))
    model = build_model("dcn_v2", schema, embedding_dim=4, params={}, seed=0)
    train(model, store, schema, config=TrainingConfig(), task="binary", seed=0, device="cpu")
    ours = roc_auc_score(judged, predict(model, store, "validation", schema, task="binary", device="cpu"))
    assert reference > 0.55  # the table contains a signal
    assert ours > reference - short
    boosted = roc_auc_score(judged, boosting_scores(store, schema))
    assert boosted > 0.5 + (reference - 0.5) / 2

"""The boosting reference: works on what audits have, and sees the signal."""

from __future__ import annotations

import numpy as np
import pytest
from feature_audit.models import boosting_scores
from sklearn.metrics import r2_score, roc_auc_score


def _table(rows: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    values = draw.normal(size=(rows, 6)).astype(np.float32)
    values[:, 5] = draw.zipf(1.4, rows).clip(max=400)
    signal = values[:, 0] + np.where(values[:, 5] % 3 == 0, 1.5, -1.5)
    values[draw.random(rows) < 0.1, 1] = np.nan
    return values, signal


def test_binary_with_missing_cells_and_many_categories() -> None:
    values, signal = _table()
    target = (signal + np.random.default_rng(1).normal(size=len(signal)) > 0).astype(int)
    categorical = np.arange(6) == 5
    made = boosting_scores(values[:2000], target[:2000], values[2000:], task="binary", categorical=categorical)
    assert made.shape == (1000,)
    assert roc_auc_score(target[2000:], made) > 0.8


def test_regression_and_multiclass() -> None:
    values, signal = _table()
    made = boosting_scores(
        values[:2000], signal[:2000], values[2000:], task="regression", categorical=np.arange(6) == 5
    )
    assert r2_score(signal[2000:], made) > 0.6
    classes = np.digitize(signal, [-1, 1])
    made = boosting_scores(values[:2000], classes[:2000], values[2000:], task="multiclass")
    assert made.shape == (1000, 3)


@pytest.mark.parametrize(("rows", "columns"), [(500, 6), (3000, 2)])
def test_sampling_keeps_it_quick_and_useful(rows: int, columns: int) -> None:
    values, _ = _table()
    target = (values[:, 0] > 0).astype(int)
    made = boosting_scores(
        values[:2000], target[:2000], values[2000:], task="binary", max_rows=rows, max_columns=columns
    )
    assert roc_auc_score(target[2000:], made) > 0.95

"""The group as a feature: the full model of a recommender has an embedding of its user."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from data_helpers import prepared_of
from feature_audit.config import AuditConfig
from pydantic import ValidationError


def log(rows: int = 3_000) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    user = rng.integers(0, 120, rows) * 7 + 1_000  # whole numbers with an uninformative name
    taste = rng.normal(0, 0.5, 2_000)
    return pl.DataFrame(
        {
            "who": user,
            "at": [datetime(2024, 1, 1) + timedelta(minutes=minute) for minute in range(rows)],
            "x": rng.normal(size=rows),
            "y": (taste[user] + rng.normal(size=rows) > 0).astype(np.int8),
        }
    )


def test_it_is_a_category_and_still_the_unit(tmp_path: Path) -> None:
    made, _ = prepared_of(log(), tmp_path, group="who")
    assert "who" not in made.schema.names
    made, store = prepared_of(log(), tmp_path, group="who", time="at", group_is_feature=True)
    assert {one.name: one.kind for one in made.columns}["who"] == "categorical"
    assert "who" in made.schema.names
    assert made.split_info["kind"] == "time"
    assert len(store.group_labels) == 120
    by_group = store.group("train")
    codes = store.cells(
        "train", next(one for one in store.schema.fields if one.name == "who"), np.arange(len(by_group))
    )
    assert len(np.unique(np.stack([by_group, codes[:, 0]]), axis=1).T) == 120, "one code for each group"


def test_rules_and_kinds_of_it_are_the_users(tmp_path: Path) -> None:
    keys = {"group": "who", "group_is_feature": True}
    made, _ = prepared_of(log(), tmp_path, **keys, kinds={"who": "numeric"}, never_drop="who")
    column = next(one for one in made.columns if one.name == "who")
    assert (column.kind, column.protected) == ("numeric", True)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({}, "group_is_feature=true: there is no group; give group=<column>"),
        ({"group": "who", "split": "group"}, "with split=group the groups of the test rows do not occur in train"),
    ],
)
def test_mistakes(keys: dict[str, str], line: str) -> None:
    with pytest.raises(ValidationError, match=line):
        AuditConfig.model_validate({"target": "y", "group_is_feature": True, **keys})

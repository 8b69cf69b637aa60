"""How a trial of the search goes through its rows."""

from __future__ import annotations

import math

import pytest
from concrete_selectors import PathSettings
from feature_audit.config_files import load_config
from feature_audit.models.training import Pace
from feature_audit.schema import Field, ModelSchema
from feature_audit.stages.trial import selection_batch
from hypothesis import given
from hypothesis import strategies as st

SCHEMA = ModelSchema((Field("f", "numeric", 9),), "binary")


@given(st.integers(50, 3_000_000), st.sampled_from([0.5, 1.0, 3.0]))
def test_a_selection_passes_over_its_rows_about_as_often_as_it_was_asked_to(rows: int, epochs: float) -> None:
    config = load_config(None, {})
    config = config.model_copy(update={"selection": config.selection.model_copy(update={"epochs": epochs})})
    size = selection_batch(config, rows, SCHEMA)
    full = Pace.plan(rows, config.training, SCHEMA).batch_size
    steps = max(PathSettings.fewest_steps, round(epochs * math.ceil(rows / size)))
    assert size <= full
    if size > 32:
        assert steps * size / rows < 1.5 * epochs + size / rows
    if size < full:
        assert steps < 1.5 * PathSettings.fewest_steps + 1, "and no more often than it needs to"


@pytest.mark.parametrize(("rows", "size"), [(1_000_000, 1024), (54_400, 512), (7_000, 64), (1_400, 32)])
def test_few_rows_take_small_batches(rows: int, size: int) -> None:
    assert selection_batch(load_config(None, {}), rows, SCHEMA) == size

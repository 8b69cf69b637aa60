"""How a trial of the search goes through its rows, and how many slots it has."""

from __future__ import annotations

import math
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pytest
from concrete_selectors import PathSettings
from feature_audit.config_files import load_config
from feature_audit.models.training import Pace
from feature_audit.schema import Field, ModelSchema
from feature_audit.search import KPoint
from feature_audit.stages.choice import still_rising
from feature_audit.stages.select import search_space
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


@pytest.mark.parametrize(
    ("low", "high", "first"),
    [(1, 30, 30), (1, 100, 100), (1, 200, 100), (1, 500, 250), (150, 200, 150), (50, 50, 50)],
)
def test_the_first_trial_has_plenty_of_slots_but_not_all_of_a_large_budget(low: int, high: int, first: int) -> None:
    space = search_space(load_config(None, {}), low, high)
    assert space.defaults()["slots"] == first
    assert space.slots[0] <= first <= space.slots[1] == high


def test_a_peer_ranks_the_whole_budget_for_it_has_one_trial() -> None:
    assert search_space(load_config(None, {"selector": "gradient_shap"}), 1, 200).defaults()["slots"] == 200


@pytest.mark.parametrize(
    ("deltas", "rising"),
    [
        ((-0.05, -0.03, -0.01), True),
        ((-0.05, -0.03, 0.0), False),  # within the margin: that many are enough
        ((-0.05, -0.01, -0.01), False),  # more features no longer help
        ((-0.05, -0.01, -0.02), False),
    ],
)
def test_more_slots_are_wanted_where_quality_still_rises_at_the_last(deltas: tuple[float, ...], rising: bool) -> None:
    config = load_config(None, {"metric": "auc", "margin": 0.002})
    prepared: Any = SimpleNamespace(rows={"validation": 1_000, "test": 1_000})
    points = [asdict(KPoint(k, 0.8 + d, d, 0.001)) for k, d in zip((10, 50, 100), deltas, strict=True)]
    assert still_rising(config, prepared, points) is rising

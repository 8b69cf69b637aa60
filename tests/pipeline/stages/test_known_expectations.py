"""Teacher that are asked once are those that would be asked anew, and each row is asked about once."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from concrete_selectors import Teacher
from feature_audit.data import Store
from feature_audit.models import OpenFields, build_model, predict, to_scores
from feature_audit.stages.expectations import KnownExpectations

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from data_helpers import every_kind, prepared_of

sys.path.pop(0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return prepared_of(every_kind(), tmp_path_factory.mktemp("store"), row_id="row", time="at", group="user")[1]


@pytest.mark.parametrize("shut", [False, True])
def test_they_are_those_of_the_model(store: Store, shut: bool) -> None:
    schema = store.schema
    model: torch.nn.Module = build_model("mlp", schema, embedding_dim=3, params={}).eval()
    scored = predict(model, store, "validation", schema, task=schema.task, device="cpu")
    if shut:
        model = OpenFields(model, [0, 2], store.batches("train", 256)).eval()
    known = KnownExpectations(model, store, schema, None if shut else scored)
    anew = Teacher(model, partial(to_scores, task=schema.task))
    assert known.rows_asked == 0, "a search that runs no further trial asks nothing"
    index = torch.tensor([5, 1, 8])
    for split in ("train", "validation"):
        for batch in store.batches(split, 64, seed=3):
            torch.testing.assert_close(known(batch, None), anew(batch), rtol=1e-5, atol=1e-6)
        first = next(iter(store.batches(split, 64, seed=3)))
        torch.testing.assert_close(known(first, index), anew(first, index), rtol=1e-5, atol=1e-6)
    asked = store.rows("train") + (store.rows("validation") if shut else 0)
    assert known.rows_asked == asked, "each row once, and none whose scores were known"
    assert anew.rows_asked == store.rows("train") + store.rows("validation") + 6
